"""Products whose text or photo looks foreign to their category."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vitrina.types import Codes, Floats, Mask

FEWEST = 20
"""Products of a category from which on it can be told what is usual there."""
FAR = 4.0
"""Robust standard deviations below the usual, from which on a product is foreign."""
ROBUST = 1.4826
"""The median absolute deviation times this is the standard deviation of a normal distribution."""

Blocks = Iterator[tuple[Codes, npt.NDArray[np.floating]]]


def centres(blocks: Blocks, codes: Codes, classes: int, dim: int) -> Floats:
    """The mean direction of each category: (classes, dim) float32, of length 1.

    blocks: rows and their vectors, (m, dim). codes: (n,) int64 labels, -1 for none.
    """
    sums = np.zeros((classes, dim), dtype=np.float64)
    for rows, vectors in blocks:
        there = codes[rows] >= 0
        np.add.at(sums, codes[rows[there]], vectors[there].astype(np.float64))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    found: Floats = (sums / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found


def likeness(blocks: Blocks, codes: Codes, centre: Floats) -> Floats:
    """(n,) float32: the cosine of every product with its category's centre, NaN for one that has
    no vector or no label."""
    found = np.full(len(codes), np.nan, dtype=np.float32)
    for rows, vectors in blocks:
        there = codes[rows] >= 0
        rows, vectors = rows[there], vectors[there].astype(np.float32)
        found[rows] = np.einsum("nd,nd->n", vectors, centre[codes[rows]])
    return found


def strangeness(like: Floats, codes: Codes, classes: int) -> Floats:
    """(n,) float32: how many robust standard deviations below its category's median a product's
    likeness lies; 0 where that can't be told.

    The median and the median absolute deviation bear that a part of the category is mislabelled.
    """
    out = np.zeros(len(like), dtype=np.float32)
    rows = np.flatnonzero(np.isfinite(like) & (codes >= 0))
    order = rows[np.argsort(codes[rows], kind="stable")]
    sizes = np.bincount(codes[rows], minlength=classes)
    start = 0
    for size in sizes.tolist():
        some = order[start : start + size]
        start += size
        if size < FEWEST:
            continue
        middle = np.median(like[some])
        spread = ROBUST * np.median(np.abs(like[some] - middle))
        out[some] = (middle - like[some]) / max(spread, 1e-3)
    return out


def is_foreign(strange: Floats) -> Mask:
    """(n,) bool."""
    found: Mask = strange >= FAR
    return found
