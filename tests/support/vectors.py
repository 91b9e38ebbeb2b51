"""Small vectors, and exact search in float64 that every index is checked against."""

import numpy as np
import pyarrow as pa

from vitrina.index.build import Goal, build
from vitrina.index.entries import Entries
from vitrina.index.fuse import Fusion
from vitrina.store.rows import Rows
from vitrina.types import Modality

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE

CELL = np.array(
    [*np.eye(4), *-np.eye(4), *(np.indices((2,) * 4).reshape(4, -1).T - 0.5)], dtype=np.float32
)
"""24 unit vectors whose inner products are 0, 1/2 and 1, or less: exact in any order of summing,
so that ties are ties to the last bit."""


def units(rows, dim, seed=0):
    """Unit vectors that point anywhere: (rows, dim) float32."""
    raw = np.random.default_rng(seed).standard_normal((rows, dim))
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def clustered(rows, dim, seed=0, spread=0.6):
    """Unit vectors in clusters of about twenty: (rows, dim) float32."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(dim).standard_normal((150, dim))
    raw = centres[rng.integers(0, 150, rows)] + spread * rng.standard_normal((rows, dim))
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def rows_of(*vectors, present=None):
    """Rows of one modality, or of two; `present` is a mask for each."""
    present = present or [np.ones(len(matrix), dtype=bool) for matrix in vectors]
    return Rows.of_arrays((TEXT, IMAGE)[: len(vectors)], vectors, present)


def fused_rows(*vectors, present=None, weights=None):
    """The same with vectors that are compared as they are."""
    fusion = Fusion.plain(weights or (1.0,) * len(vectors))
    return fusion.over(rows_of(*vectors, present=present))


def entries_of(ids, modalities=(TEXT,)):
    """What an index keeps of products that lie in one shard, one after another."""
    ids = pa.array(ids)
    contents = np.arange(2 * len(ids), dtype=np.uint64).view("V16")
    place = (np.zeros(len(ids), dtype=np.int32), np.arange(len(ids), dtype=np.int32))
    return Entries(ids, contents, dict.fromkeys(modalities, place))


def built(rows, factory=None, *, ids=None, weights=None, recall=0.99, seed=0):
    """An index in memory."""
    ids = range(len(rows)) if ids is None else ids
    return build(
        rows,
        entries_of(ids, rows.modalities),
        Goal(recall=recall, factory=factory),
        fusion=Fusion.plain(weights or (1.0,) * len(rows.modalities)),
        seed=seed,
    )


def flat(vectors, ids=None):
    """An exact index of one matrix, in its order."""
    return built(rows_of(vectors), "Flat", ids=ids).index


# -- the truth ------------------------------------------------------------------------------------


def fused(vectors, present=None, weights=None):
    """What `fuse` gives, in float64."""
    weights = weights or (1.0,) * len(vectors)
    present = present or [np.ones(len(matrix), dtype=bool) for matrix in vectors]
    parts = [
        np.where(mask[:, None], matrix.astype(np.float64), 0) * np.sqrt(weight / sum(weights))
        for matrix, mask, weight in zip(vectors, present, weights, strict=True)
    ]
    whole = np.hstack(parts)
    lengths = np.linalg.norm(whole, axis=1, keepdims=True)
    return whole / np.where(lengths > 0, lengths, 1)


def nearest(base, queries, k, *, barred=None, at=None):
    """Positions and scores, (q, k) each, by score and then by position; -1 and 0 for none.

    base: (n, dim). barred: (q, n) bool. at: the rows to look at, all by default.
    """
    # Rounded, since numpy's own product of matrices gives equal rows unequal scores.
    scores = np.round(queries.astype(np.float64) @ base.T.astype(np.float64), 9)
    positions, values = np.full((len(queries), k), -1), np.zeros((len(queries), k))
    at = np.arange(len(base)) if at is None else at
    for row, own in enumerate(scores):
        free = at if barred is None else at[~barred[row, at]]
        order = free[np.lexsort((free, -own[free]))][:k]
        positions[row, : len(order)], values[row, : len(order)] = order, own[order]
    return positions, values


def check_found(found, base, queries, k, **limits):
    """That a search found what `nearest` does: the same rows with the same scores.

    Two rows whose scores are less than 1e-6 apart and are no duplicates may have changed places.
    """
    expected, values = nearest(base, queries, k, **limits)
    np.testing.assert_allclose(found.scores, values, atol=1e-5)
    for row, at in np.argwhere(found.positions != expected):
        pair = found.positions[row, at], expected[row, at]
        assert min(pair) >= 0, (row, at, pair)
        ours, theirs = base[list(pair)]
        assert abs(queries[row].astype(np.float64) @ (ours - theirs)) < 1e-6, (row, at, pair)
        assert np.abs(ours - theirs).max() > 1e-9, (row, at, pair)


def recall_of(found, base, queries, **limits):
    """The share of the true ten nearest among the first ten found, ties counted, query by query."""
    _, values = nearest(base, queries, 10, **limits)
    there = found.positions[:, :10] >= 0
    return (there & (found.scores[:, :10] >= values[:, 9:] - 1e-5)).mean(axis=1)
