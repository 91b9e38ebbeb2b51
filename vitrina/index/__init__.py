"""FAISS indexes over a store's vectors: building, search, recall measurement, neighbour voting."""
