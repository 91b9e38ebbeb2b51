"""Engines: where the orders of a space's plan are computed."""
