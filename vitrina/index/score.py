"""Exact scores of query-row pairs, computed one pair at a time from the store's vectors.

A batched matrix product gives a pair different last bits in different batches, and FAISS breaks
ties arbitrarily. Catalogues contain many exact duplicates (one photo in twenty shops), so this
would change results. All candidates are therefore scored here before they are ranked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from vitrina.index.fuse import FusedRows
from vitrina.jit import compiled
from vitrina.parallel import map_ahead
from vitrina.store.numba_loads import half_at, single_at
from vitrina.store.rows import Addresses
from vitrina.types import Codes, Floats, Vectors

ALONE = 20_000
"""Number of pairs up to which one thread is used."""


def score_pairs(rows: FusedRows, queries: Vectors, positions: npt.NDArray[np.int64]) -> Floats:
    """Inner products of fused queries with fused rows; see `Fusion.fuse`.

    Args:
        rows: n rows.
        queries: (q, dim) float32.
        positions: (q, m) int64 rows for each query, -1 for none.

    Returns (q, m) float32; -inf where the position is -1 or the row has no vector. Raises
    IndexError for a position past the rows: the kernel does not check addresses.
    """
    if positions.size and positions.max() >= len(rows):
        raise IndexError(f"row {positions.max()} of {len(rows)}")
    return score_projected(rows, rows.projected(queries), positions)


def score_projected(
    rows: FusedRows, projected: Vectors, positions: npt.NDArray[np.int64]
) -> Floats:
    """`score_pairs` of queries that are projected already; see `FusedRows`."""
    rows, positions = rows.near(positions)
    out = np.empty(positions.shape, dtype=np.float32)
    positions = np.ascontiguousarray(positions)
    threads = faiss.omp_get_max_threads() if positions.size > ALONE else 1
    step = -(-len(projected) // threads) if len(projected) else 1

    def score(start: int) -> None:
        part = slice(start, start + step)
        dots = np.zeros(positions[part].shape, dtype=np.float32)
        squares = np.zeros_like(dots)
        for one, stop in zip(_modalities(rows), np.cumsum(rows.rows.dims), strict=True):
            own = projected[part, stop - one.dim : stop]
            one.accumulate(
                np.ascontiguousarray(own, dtype=np.float32), positions[part], dots, squares
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = dots / np.sqrt(squares)
        out[part] = np.where(squares > 0, scores, -np.inf)

    for _ in map_ahead(score, range(0, len(projected), step), threads):
        pass
    return out


@dataclass(frozen=True, eq=False)
class _Modality:
    """The vectors of one modality. centre, lengths: of its whitening, None without one."""

    addresses: Addresses
    dim: int
    half: bool
    share: np.float32
    centre: Floats | None
    lengths: Floats | None

    def accumulate(
        self,
        queries: Vectors,
        positions: npt.NDArray[np.int64],
        dots: Floats,
        squares: Floats,
    ) -> None:
        """Add its terms to each pair's inner product and its row's squared length."""
        shared = (queries, positions, self.addresses, self.half, self.share, dots, squares)
        if self.centre is None or self.lengths is None:
            _accumulate(*shared)
        else:
            _accumulate_whitened(*shared, self.centre, self.lengths)


def _modalities(rows: FusedRows) -> Iterator[_Modality]:
    own, fusion = rows.rows, rows.fusion
    for number, whitening in enumerate(fusion.whitenings):
        yield _Modality(
            own.addresses[number],
            own.dims[number],
            bool(own.dtypes[number] == np.float16),
            np.float32(fusion.shares[number]),
            None if whitening is None else whitening.centre,
            rows.lengths[number],
        )


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


@compiled
def _accumulate_whitened(
    queries: Vectors,
    positions: npt.NDArray[np.int64],
    addresses: Addresses,
    half: bool,
    share: np.float32,
    dots: Floats,
    squares: Floats,
    centre: Floats,
    lengths: Floats,
) -> None:
    """As `_accumulate`, for projected queries and rows that are centred and scaled."""
    root = np.sqrt(share)
    for q in range(positions.shape[0]):
        for j in range(positions.shape[1]):
            at = positions[q, j]
            if at < 0:
                continue
            address = addresses[at]
            if address == 0 or lengths[at] == 0:
                continue
            dot = np.float32(0)
            # Centred number by number: the difference of two sums would lose digits.
            if half:
                for c in range(queries.shape[1]):
                    number = half_at(address, c)  # type: ignore[call-arg, var-annotated]
                    dot += queries[q, c] * (number - centre[c])
            else:
                for c in range(queries.shape[1]):
                    number = single_at(address, c)  # type: ignore[call-arg]
                    dot += queries[q, c] * (number - centre[c])
            dots[q, j] += root * dot / lengths[at]
            squares[q, j] += share


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


def rows_known(rows: FusedRows, block_rows: int = 65_536) -> Codes:
    """Positions of rows with a non-zero vector, (m,) int64, ascending.

    An encoder may return zeros for content without known features; such rows count as missing.
    """
    known = []
    for start in range(0, len(rows), block_rows):
        at = np.arange(start, min(start + block_rows, len(rows)))
        scores = score_pairs(rows, np.zeros((1, rows.dim), np.float32), at[None, :])
        known.append(at[~np.isneginf(scores[0])])
    return np.concatenate(known) if known else np.empty(0, dtype=np.int64)
