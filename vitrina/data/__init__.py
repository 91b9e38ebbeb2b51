"""The catalogue: readers, text cleaning, image sources, splits, the built-in sample."""
