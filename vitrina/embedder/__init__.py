"""Encoders: models that map a text or an image to a vector."""
