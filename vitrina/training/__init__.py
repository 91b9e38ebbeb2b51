"""Training a network: one loop, one optimiser, the losses; for encoders and baselines alike."""
