"""Baselines for a classifier over vectors: known, well-tuned methods over text alone."""
