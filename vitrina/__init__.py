"""Vitrina keeps the embeddings of a product catalogue and decides each product's category."""

__version__ = "0.1.0"
