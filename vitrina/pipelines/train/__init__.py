"""Training of heads: base models, fusion, calibration, report."""
