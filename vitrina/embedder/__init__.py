"""Encoders: what turns a text or an image into a vector."""
