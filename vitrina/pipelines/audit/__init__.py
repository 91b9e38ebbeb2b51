"""Label audit: out-of-fold predictions, suspects, explanations and reports."""
