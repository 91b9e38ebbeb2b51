"""Network training: one loop, one optimiser and the losses, for encoders and baselines."""
