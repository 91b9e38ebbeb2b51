"""Product classification over vectors: heads, fusion, calibration and metrics."""
