"""The audit job: out-of-fold predictions, suspects, explanations and reports."""
