"""Outliers: products whose text or photo is unlike the rest of their category."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vitrina.types import Codes, Floats, Mask

FEWEST = 20
"""Lower limit of a category's products for outlier detection."""
FAR = 4.0
"""Robust standard deviations below the median from which a product is an outlier."""
ROBUST = 1.4826
"""Ratio of standard deviation to median absolute deviation in a normal distribution."""

Blocks = Iterator[tuple[Codes, npt.NDArray[np.floating]]]


def centres(blocks: Blocks, codes: Codes, classes: int, dim: int) -> Floats:
    """The mean direction of each category: (classes, dim) float32, L2-normalised; 0 for no product.

    blocks: rows and their vectors, (m, dim). codes: (n,) int64 labels, -1 for none.
    """
    sums = np.zeros((classes, dim), dtype=np.float64)
    for rows, vectors in blocks:
        labelled = codes[rows] >= 0
        np.add.at(sums, codes[rows[labelled]], vectors[labelled].astype(np.float64))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    found: Floats = (sums / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found


def likeness(blocks: Blocks, codes: Codes, centre: Floats) -> Floats:
    """Cosine of every product with its category's centre: (n,) float32, NaN for a product without
    a vector or label.

    blocks, codes: as of `centres`. centre: its result.
    """
    found = np.full(len(codes), np.nan, dtype=np.float32)
    for rows, vectors in blocks:
        labelled = codes[rows] >= 0
        rows, vectors = rows[labelled], vectors[labelled].astype(np.float32)
        found[rows] = np.einsum("nd,nd->n", vectors, centre[codes[rows]])
    return found


def strangeness(like: Floats, codes: Codes, classes: int) -> Floats:
    """Outlier scores, (n,) float32: robust standard deviations by which a product's likeness lies
    below its category's median; 0 for products without likeness and in categories below `FEWEST`.

    The median and the median absolute deviation are robust to some wrong labels in the category.
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


def is_outlier(outliers: Floats) -> Mask:
    """Mask of outliers, (n,) bool. strange: see `strangeness`."""
    found: Mask = outliers >= FAR
    return found
