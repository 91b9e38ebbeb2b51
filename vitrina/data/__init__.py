"""Catalogue reading: file formats, text cleaning, photo sources, splits."""
