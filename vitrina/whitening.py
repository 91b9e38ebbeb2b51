"""Whitening of vectors in a narrow cone: centred, decorrelated and of one scale.

Transformer encoders give vectors in a narrow cone: e5's share most of their length, and what
differs lies along a few directions. A head learns such inputs slowly, and its weight decay presses
on the rare directions most; cosines between such vectors are all alike. See Su et al., "Whitening
sentence representations for better semantics and faster retrieval", 2021; the shrinkage is that of
Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004, with
a fixed share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrina.types import Codes, Floats

Doubles = npt.NDArray[np.float64]

NARROW = 0.25
"""Share of the mean squared length that the mean has in a cone. Vectors about the origin, as of
TF-IDF, are well conditioned as they are, and heads over them only lose by whitening."""
SHRINKAGE = 0.5
"""Share of the mean variance in every direction's variance: so far directions of noise are not
raised to the scale of the others."""
WIDEST_MATRIX = 2048
"""Vector length up to which directions are decorrelated; longer vectors are only centred and
scaled, each number by itself."""
SAMPLED = 100_000
"""Most rows to estimate from."""
BLOCK_ROWS = 8192
LEAST_SPREAD = 1e-6
"""Share of the mean squared length that differs between vectors, below which it is rounding."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """An affine map of vectors. centre: (dim,) float32. factor: (dim, dim) float32, symmetric, or
    (dim,) for vectors longer than `WIDEST_MATRIX`.

    `(vectors - centre) @ factor` has mean 0 and mean squared length 1 over the rows it is fitted
    on.
    """

    centre: Floats
    factor: Floats

    @classmethod
    def fit(cls, vectors: npt.NDArray[np.floating], rows: Codes) -> Whitening | None:
        """Estimate from some rows of (n, dim) vectors; see `estimate`."""
        return cls.estimate(vectors.__getitem__, vectors.shape[1], rows)

    @classmethod
    def estimate(
        cls,
        read: Callable[[Codes], npt.NDArray[np.floating]],
        dim: int,
        rows: Codes,
        narrow: float | None = None,
    ) -> Whitening | None:
        """Estimate from vectors that are read in blocks; of very many rows, from an even sample.

        read: returns the vectors of rows, (m, dim). narrow: share of the mean squared length that
        the mean has in a cone; default: `NARROW`.

        None if they lie in no cone, do not differ, or there are none.
        """
        at = even_sample(rows)
        mean, length = _moments(read, dim, at)
        if not float(mean @ mean) > (NARROW if narrow is None else narrow) * length:
            return None
        whole = dim <= WIDEST_MATRIX
        spread = np.zeros((dim, dim) if whole else dim)
        for start in range(0, len(at), BLOCK_ROWS):
            block = read(at[start : start + BLOCK_ROWS]).astype(np.float64) - mean
            spread += block.T @ block if whole else np.square(block).sum(axis=0)
        spread /= len(at)
        variance = float(np.trace(spread) if whole else spread.sum())
        if not variance > LEAST_SPREAD * length:
            return None
        return cls(mean.astype(np.float32), _factor(spread / variance, variance))


def even_sample(rows: Codes) -> Codes:
    """At most `SAMPLED` of some rows, evenly spaced."""
    return rows[:: -(-len(rows) // SAMPLED)] if len(rows) else rows


def _moments(
    read: Callable[[Codes], npt.NDArray[np.floating]], dim: int, at: Codes
) -> tuple[Doubles, float]:
    """The mean of some rows, (dim,), and their mean squared length."""
    total, squares = np.zeros(dim), 0.0
    for start in range(0, len(at), BLOCK_ROWS):
        block = read(at[start : start + BLOCK_ROWS]).astype(np.float64)
        total += block.sum(axis=0)
        squares += float(np.square(block).sum())
    count = max(1, len(at))
    return total / count, squares / count


def tensor_shapes(dim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of a whitening's centre and factor for vectors of this length."""
    return (dim,), (dim, dim) if dim <= WIDEST_MATRIX else (dim,)


def _factor(shares: Doubles, variance: float) -> Floats:
    """The inverse square root of the shrunk covariance, so that the mean squared length is 1.

    shares: the covariance, or its diagonal, divided by its trace. variance: that trace.
    """
    if shares.ndim == 1:
        found = np.maximum(shares, 0)
        scale = _inverse_root(found)
        root = scale
    else:
        # The symmetric root is unique: it does not depend on the signs of the eigenvectors.
        found, directions = np.linalg.eigh(shares)
        found = np.maximum(found, 0)
        scale = _inverse_root(found)
        root = (directions * scale) @ directions.T
    norm = np.sqrt(variance * (found * np.square(scale)).sum())
    factor: Floats = (root / norm).astype(np.float32)
    return factor


def _inverse_root(shares: Doubles) -> Doubles:
    """One over the root of each direction's shrunk share of the variance."""
    shrunk = (1 - SHRINKAGE) * shares + SHRINKAGE / len(shares)
    root: Doubles = 1 / np.sqrt(shrunk)
    return root
