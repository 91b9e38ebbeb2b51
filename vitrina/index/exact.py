"""Exact search: every row against every query, in blocks of rows.

It is the reference for approximate search. It is also used for small sets of rows: those added
since an index was built, or those that pass a filter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrina.index.fuse import FusedRows
from vitrina.index.score import ranked, score_projected
from vitrina.types import Codes, Floats, Mask, Vectors

BLOCK_ROWS = 8192
TIE = 1e-5
"""Scores closer than this are equal: float32 sums over a thousand terms differ by about 1e-6."""
TIED_PAIRS = 1 << 24
"""Pairs of queries and rows searched at once for long ties: 128 MiB if all tie."""
SLACK = 4
"""Extra candidates, to check that the next one is really farther."""


class ExcludedRows:
    """Exclusion filter: a query does not find rows that share one of its codes.

    rows: a list of (n,) int64 codes of the rows. queries: as many (q,) int64 codes; -1 excludes
    nothing.
    """

    def __init__(
        self,
        rows: Sequence[npt.NDArray[np.int64]] = (),
        queries: Sequence[npt.NDArray[np.int64]] = (),
    ) -> None:
        self.rows = tuple(rows)
        self.queries = tuple(queries)

    def of(self, queries: Codes) -> ExcludedRows:
        """Select queries, by position."""
        return ExcludedRows(self.rows, [codes[queries] for codes in self.queries])

    def candidates(self, positions: npt.NDArray[np.int64]) -> Mask:
        """Excluded candidates, (q, m) bool. positions: (q, m) int64 rows; -1 is never excluded."""
        barred = np.zeros(positions.shape, dtype=bool)
        for rows, own in zip(self.rows, self.queries, strict=True):
            barred |= (rows[positions] == own[:, None]) & (own >= 0)[:, None]
        return barred & (positions >= 0)

    def block(self, at: Codes) -> Iterator[tuple[Codes, Codes]]:
        """Yield excluded pairs between all queries and a block of rows: (m,) queries, (m,)
        positions in `at`."""
        for rows, own in zip(self.rows, self.queries, strict=True):
            codes = rows[at]
            order = np.argsort(codes, kind="stable")
            first = np.searchsorted(codes, own, sorter=order)
            count = np.searchsorted(codes, own, side="right", sorter=order) - first
            count[own < 0] = 0
            who = np.repeat(np.arange(len(own)), count)
            offset = np.arange(len(who)) - np.repeat(np.cumsum(count) - count, count)
            yield who, order[np.repeat(first, count) + offset]


def exact_search(
    rows: FusedRows,
    queries: Vectors,
    at: Codes,
    k: int,
    barred: ExcludedRows | None = None,
    *,
    read: Callable[[Codes], Vectors] | None = None,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Find the k nearest of some rows, ties by position.

    Args:
        rows: n rows.
        queries: (q, dim) float32, fused and L2-normalised.
        at: (m,) int64, the rows to search, ascending.
        k: number of neighbours.
        barred: exclusion filter.
        read: returns the centred vectors of rows, if they are in memory; see `FusedRows.centred`.

    Returns positions (q, k) int64, -1 where there are fewer, and their scores, float32.
    """
    barred = barred or ExcludedRows()
    read = read or rows.centred
    wanted = min(k, len(at))
    if not len(queries) or not wanted:
        return np.full((len(queries), k), -1), np.zeros((len(queries), k), dtype=np.float32)
    fetch = min(wanted + SLACK, len(at))
    projected = rows.projected(queries)
    positions, rough = _candidates(_Blocks(read, projected, at, barred), fetch)
    scores = score_projected(rows, projected, positions)
    best, values = ranked(positions, scores, k)
    if fetch < len(at):
        # No omitted row is nearer than the last candidate. If that one ties with the k-th, omitted
        # rows of the tie may rank before it.
        full = positions[:, -1] >= 0
        unsure = np.flatnonzero(full & (values[:, wanted - 1] <= rough[:, -1] + TIE))
        step = max(1, TIED_PAIRS // len(at))
        for start in range(0, len(unsure), step):
            some = unsure[start : start + step]
            blocks = _Blocks(read, projected[some], at, barred.of(some))
            for query, tied in zip(some, _at_least(blocks, rough[some, wanted - 1]), strict=True):
                one = np.array([query])
                again = score_projected(rows, projected[one], tied[None, :])
                best[one], values[one] = ranked(tied[None, :], again, k)
    return best, values


@dataclass(frozen=True)
class _Blocks:
    """Iterates over the rows to search in blocks, with all projected queries' scores: (q, m)
    float32."""

    read: Callable[[Codes], Vectors]
    queries: Vectors
    at: Codes
    barred: ExcludedRows

    def __iter__(self) -> Iterator[tuple[Codes, Floats]]:
        for start in range(0, len(self.at), BLOCK_ROWS):
            block = self.at[start : start + BLOCK_ROWS]
            scores = self.queries @ self.read(block).T
            for who, where in self.barred.block(block):
                scores[who, where] = -np.inf
            yield block, scores


def _candidates(blocks: _Blocks, fetch: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Find the `fetch` best rows of each query by approximate scores, best first."""
    queries = np.arange(len(blocks.queries))
    kept = np.full((len(queries), fetch), -1, dtype=np.int64)
    best = np.full((len(queries), fetch), -np.inf, dtype=np.float32)
    for block, scores in blocks:
        # After the first blocks, few scores exceed the worst one kept.
        who, where = np.nonzero(scores > best[:, -1:])
        if len(who) > 4 * kept.size and scores.shape[1] > fetch:
            top = np.argpartition(-scores, fetch - 1, axis=1)[:, :fetch]
            who, where = np.repeat(queries, fetch), top.ravel()
        owner = np.concatenate([np.repeat(queries, fetch), who])
        place = np.concatenate([kept.ravel(), block[where]])
        value = np.concatenate([best.ravel(), scores[who, where]])
        order = np.lexsort((place, -value, owner))
        start = np.searchsorted(owner[order], queries)
        chosen = order[start[:, None] + np.arange(fetch)]
        kept, best = place[chosen], value[chosen]
    kept[np.isneginf(best)] = -1
    return kept, best


def _at_least(blocks: _Blocks, least: Floats) -> list[Codes]:
    """Find each query's rows that score at least `least`, (q,) float32, or tie with it."""
    owners, places = [], []
    for block, scores in blocks:
        who, where = np.nonzero(scores >= (least - 2 * TIE)[:, None])
        owners.append(who)
        places.append(block[where])
    owner, place = np.concatenate(owners), np.concatenate(places)
    order = np.argsort(owner, kind="stable")
    return np.split(place[order], np.cumsum(np.bincount(owner, minlength=len(least)))[:-1])
