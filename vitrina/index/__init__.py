"""FAISS indexes over the vectors of a store: build, search, measure recall; the vote."""
