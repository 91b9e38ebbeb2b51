"""Text baselines for comparison with classifiers over vectors."""
