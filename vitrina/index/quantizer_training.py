"""Quantizer training on a sample, before rows are added: OPQ rotation and list centres.

FAISS can do both, but its search for the nearest of thousands of centres reaches a third of the
speed of a plain matrix product, and its OPQ takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vitrina.types import Codes, Floats

ROUNDS = 8
"""Rounds of k-means; recall no longer changes after about six."""
BLOCK_ROWS = 4096


def rotation(sample: Floats, size: int, parts: int) -> Floats:
    """Compute the parametric solution of optimised product quantisation.

    Principal components are allocated so that the product of variances is about equal in all parts
    of a code: each goes, largest first, to the part with the smallest product that has room
    (eigenvalue allocation; Ge, He, Ke & Sun, "Optimized Product Quantization for Approximate
    Nearest Neighbor Search", CVPR 2013, section 3.3).

    Args:
        sample: (n, dim) float32.
        size: dimensions to keep, a multiple of `parts`, at most `dim`.
        parts: number of parts of a code.

    Returns (dim, size) float32; a vector v becomes v @ rotation. Raises ValueError for a size
    that does not fit.
    """
    if size % parts or not 0 < size <= sample.shape[1]:
        raise ValueError(f"{sample.shape[1]} dimensions can't become {size} in {parts} parts")
    centred = sample - sample.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(sample))
    order = np.argsort(-variances, kind="stable")[:size]
    variances = np.maximum(variances[order], variances.max() * 1e-7)
    products = np.zeros(parts)
    allocated: list[list[int]] = [[] for _ in range(parts)]
    # Shifted to be positive, so that a part with more components counts as fuller.
    worth = np.log(variances) - np.log(variances.min()) + 1
    for component, value in enumerate(worth):
        room = [part for part in range(parts) if len(allocated[part]) < size // parts]
        part = min(room, key=lambda part: (products[part], part))
        allocated[part].append(component)
        products[part] += value
    chosen = order[[component for part in allocated for component in part]]
    return np.ascontiguousarray(axes[:, chosen], dtype=np.float32)


def centres(sample: Floats, lists: int, seed: int) -> Floats:
    """Compute k-means centres (Lloyd), (lists, dim) float32, of a sample, (n, dim) float32.

    An empty centre is moved next to one with many rows, as in FAISS. Raises
    ValueError if the sample is smaller than `lists`.
    """
    if len(sample) < lists:
        raise ValueError(f"{lists} lists need at least as many training rows, not {len(sample)}")
    rng = np.random.default_rng(seed)
    found = sample[np.sort(rng.choice(len(sample), lists, replace=False))].copy()
    for _ in range(ROUNDS):
        nearest = assign(sample, found)
        order = np.argsort(nearest, kind="stable")
        sizes = np.bincount(nearest, minlength=lists)
        used, empty = np.flatnonzero(sizes), np.flatnonzero(sizes == 0)
        starts = (np.cumsum(sizes) - sizes)[used]
        sums = np.add.reduceat(sample[order], starts, axis=0)
        found[used] = sums / sizes[used, None]
        if len(empty):
            crowded = rng.choice(used, len(empty), p=sizes[used] / sizes.sum())
            nudge = 1 + 1e-3 * rng.standard_normal((len(empty), sample.shape[1]))
            found[empty] = found[crowded] * nudge
    return found


def assign(vectors: Floats, centres: Floats) -> Codes:
    """The nearest centre of each vector by Euclidean distance: (n,) int64."""
    return assigner(centres)(vectors)


def assigner(centres: Floats) -> Callable[[Floats], Codes]:
    """A function like `assign` for fixed centres, with its work arrays allocated once."""
    transposed = np.ascontiguousarray(centres.T)
    half = np.einsum("cd,cd->c", centres, centres) / 2
    work = np.empty((BLOCK_ROWS, len(centres)), dtype=np.float32)

    def nearest(vectors: Floats) -> Codes:
        found = np.empty(len(vectors), dtype=np.int64)
        for start in range(0, len(vectors), BLOCK_ROWS):
            block = vectors[start : start + BLOCK_ROWS]
            scores = np.matmul(block, transposed, out=work[: len(block)])
            scores -= half
            found[start : start + len(block)] = scores.argmax(axis=1)
        return found

    return nearest
