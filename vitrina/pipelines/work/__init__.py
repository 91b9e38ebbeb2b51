"""Computation of published orders, by part."""
