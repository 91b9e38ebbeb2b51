"""Heads, fusion, calibration and metrics: which category each product belongs to."""
