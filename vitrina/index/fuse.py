"""Fusion of one or two modalities into one vector per product, for inner product search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vitrina.store.rows import Rows
from vitrina.types import Codes, Floats, Mask, Vectors


def fuse(vectors: Sequence[Floats], present: Sequence[Mask], weights: Sequence[float]) -> Vectors:
    """Concatenate `sqrt(weight) * vector` over the modalities and scale to unit length.

    The inner product of two products that have every modality is then the weighted mean of
    their cosines. A product that lacks a modality keeps its full length in the others, so two
    products without images are compared by text alone.

    Args:
        vectors: per modality (n, dim_m) float32, L2-normalised; rows not `present` count as zero.
        present: per modality (n,) bool.
        weights: one positive number per modality; only their ratios matter.

    Returns (n, sum of dim_m) float32, each row L2-normalised, or zero if every modality is missing.
    Raises ValueError if the arguments disagree in number or rows, or a weight is not positive.
    """
    if not vectors or not len(vectors) == len(present) == len(weights):
        raise ValueError(
            f"fuse needs vectors, masks and weights of the same modalities, "
            f"not {len(vectors)}, {len(present)} and {len(weights)}"
        )
    if not all(0 < weight < np.inf for weight in weights):
        raise ValueError(f"the weights of modalities must be positive, not {tuple(weights)}")
    rows = {len(part) for part in (*vectors, *present)}
    if len(rows) != 1:
        raise ValueError(f"vectors and masks to fuse differ in rows: {sorted(rows)}")
    dims = [matrix.shape[1] for matrix in vectors]
    fused = np.zeros((rows.pop(), sum(dims)), dtype=np.float32)
    stops = np.cumsum(dims)
    for matrix, mask, weight, dim, stop in zip(vectors, present, weights, dims, stops, strict=True):
        fused[mask, stop - dim : stop] = matrix[mask] * np.float32(np.sqrt(weight / sum(weights)))
    # Computed, not derived from the weights: float16 vectors are not exactly of unit length.
    lengths = np.linalg.norm(fused, axis=1, keepdims=True)
    np.divide(fused, lengths, out=fused, where=lengths > 0)
    return fused


def read_fused(rows: Rows, at: Codes, weights: Sequence[float]) -> Vectors:
    """Read some rows and fuse them: (len(at), dim) float32, L2-normalised or zero."""
    return fuse(*rows.read(at), weights)
