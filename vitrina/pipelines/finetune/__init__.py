"""Training of encoders: fine-tuning, self-training, pre-training."""
