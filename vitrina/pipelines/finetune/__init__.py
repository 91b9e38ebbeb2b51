"""Encoder training: fine-tuning, self-training, pre-training."""
