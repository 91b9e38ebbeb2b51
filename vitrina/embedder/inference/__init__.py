"""Inference of transformer encoders: layers as plain data, and runners over packed sequences."""
