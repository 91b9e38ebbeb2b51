"""Classification of new products."""
