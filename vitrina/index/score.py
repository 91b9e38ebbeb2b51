"""Exact scores of query-row pairs, computed one pair at a time from the store's vectors.

A batched matrix product gives a pair different last bits in different batches, and FAISS breaks
ties arbitrarily. Catalogues contain many exact duplicates (one photo in twenty shops), so this
would change results. All candidates are therefore scored here before they are ranked.
"""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np
import numpy.typing as npt

from vitrina.jit import compiled
from vitrina.parallel import map_ahead
from vitrina.store.numba_loads import half_at, single_at
from vitrina.store.rows import Addresses, Rows
from vitrina.types import Codes, Floats, Vectors

ALONE = 20_000
"""Number of pairs up to which one thread is used."""


def score_pairs(
    rows: Rows, weights: Sequence[float], queries: Vectors, positions: npt.NDArray[np.int64]
) -> Floats:
    """Inner products of fused queries with fused rows; see `fuse`.

    Args:
        rows: n rows.
        weights: one per modality of `rows`.
        queries: (q, dim) float32.
        positions: (q, m) int64 rows for each query, -1 for none.

    Returns (q, m) float32; -inf where the position is -1 or the row has no vector. Raises
    IndexError for a position past the rows: the kernel does not check addresses.
    """
    if positions.size and positions.max() >= len(rows):
        raise IndexError(f"row {positions.max()} of {len(rows)}")
    rows, positions = rows.near(positions)
    out = np.empty(positions.shape, dtype=np.float32)
    positions = np.ascontiguousarray(positions)
    shares = np.asarray(weights, dtype=np.float32) / np.float32(sum(weights))
    stops = np.cumsum(rows.dims)
    threads = faiss.omp_get_max_threads() if positions.size > ALONE else 1
    step = -(-len(queries) // threads) if len(queries) else 1

    def score(start: int) -> None:
        part = slice(start, start + step)
        dots = np.zeros(positions[part].shape, dtype=np.float32)
        squares = np.zeros_like(dots)
        kinds = zip(rows.addresses, rows.dims, rows.dtypes, stops, shares, strict=True)
        for addresses, dim, dtype, stop, share in kinds:
            own = np.ascontiguousarray(queries[part, stop - dim : stop], dtype=np.float32)
            half = bool(dtype == np.float16)
            _accumulate(own, positions[part], addresses, half, share, dots, squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = dots / np.sqrt(squares)
        out[part] = np.where(squares > 0, scores, -np.inf)

    for _ in map_ahead(score, range(0, len(queries), step), threads):
        pass
    return out


@compiled
def _accumulate(
    queries: Vectors,
    positions: npt.NDArray[np.int64],
    addresses: Addresses,
    half: bool,
    share: np.float32,
    dots: Floats,
    squares: Floats,
) -> None:
    """Add one modality's terms to each pair's inner product and its row's squared length."""
    root = np.sqrt(share)
    for q in range(positions.shape[0]):
        for j in range(positions.shape[1]):
            at = positions[q, j]
            if at < 0:
                continue
            address = addresses[at]
            if address == 0:
                continue
            dot = np.float32(0)
            square = np.float32(0)
            if half:
                for c in range(queries.shape[1]):
                    number = half_at(address, c)  # type: ignore[call-arg, var-annotated]
                    dot += queries[q, c] * number
                    square += number * number
            else:
                for c in range(queries.shape[1]):
                    number = single_at(address, c)  # type: ignore[call-arg]
                    dot += queries[q, c] * number
                    square += number * number
            dots[q, j] += root * dot
            squares[q, j] += share * square


def ranked(
    positions: npt.NDArray[np.int64], scores: Floats, k: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Rank each query's candidates and keep the k best, ties by position.

    positions, scores: (q, m), score -inf for no candidate. Returns (q, k) each; -1 and 0
    where there are fewer than k.
    """
    positions = np.where(np.isneginf(scores), -1, positions)
    order = np.lexsort((positions, -scores), axis=-1)[:, :k]
    best = np.take_along_axis(positions, order, axis=1)
    values = np.take_along_axis(scores, order, axis=1)
    values[best < 0] = 0
    if best.shape[1] < k:
        missing = ((0, 0), (0, k - best.shape[1]))
        best = np.pad(best, missing, constant_values=-1)
        values = np.pad(values, missing)
    return best, values


def rows_known(rows: Rows, weights: Sequence[float], block_rows: int = 65_536) -> Codes:
    """Positions of rows with a non-zero vector, (m,) int64, ascending.

    An encoder may return zeros for content without known features; such rows count as missing.
    """
    known = []
    for start in range(0, len(rows), block_rows):
        at = np.arange(start, min(start + block_rows, len(rows)))
        scores = score_pairs(rows, weights, np.zeros((1, rows.dim), np.float32), at[None, :])
        known.append(at[~np.isneginf(scores[0])])
    return np.concatenate(known) if known else np.empty(0, dtype=np.int64)
