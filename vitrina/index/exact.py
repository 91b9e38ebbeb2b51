"""Exact search: every row against every query, in blocks of rows.

It is the measure of every other way of searching, and what serves where rows are few: those added
since an index was built, or those that a filter leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrina.index.fuse import read_fused
from vitrina.index.score import ranked, score_pairs
from vitrina.store.rows import Rows
from vitrina.types import Codes, Floats, Mask, Vectors

BLOCK_ROWS = 8192
TIE = 1e-5
"""Scores closer than this are equal: float32 sums over a thousand terms differ by about 1e-6."""
TIED_PAIRS = 1 << 24
"""Of queries and rows, that are looked through at once where ties go on: 128 MiB if all tie."""
SLACK = 4
"""Candidates taken beyond those needed, to see that the next one is really farther."""


class Barred:
    """Which rows a query must not find: those that share one of its codes.

    rows: a list of (n,) int64 codes of the rows. queries: as many (q,) int64 codes; -1 bars
    nothing.
    """

    def __init__(
        self,
        rows: Sequence[npt.NDArray[np.int64]] = (),
        queries: Sequence[npt.NDArray[np.int64]] = (),
    ) -> None:
        self.rows = tuple(rows)
        self.queries = tuple(queries)

    def of(self, queries: Codes) -> Barred:
        """The same for some of the queries."""
        return Barred(self.rows, [codes[queries] for codes in self.queries])

    def candidates(self, positions: npt.NDArray[np.int64]) -> Mask:
        """(q, m) bool: which candidates, (q, m) int64 rows, are barred; -1 is not."""
        barred = np.zeros(positions.shape, dtype=bool)
        for rows, own in zip(self.rows, self.queries, strict=True):
            barred |= (rows[positions] == own[:, None]) & (own >= 0)[:, None]
        return barred & (positions >= 0)

    def block(self, at: Codes) -> Iterator[tuple[Codes, Codes]]:
        """The pairs to bar among all queries and a block of rows: (m,) queries, (m,) places in
        `at`."""
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
    rows: Rows,
    weights: Sequence[float],
    queries: Vectors,
    at: Codes,
    k: int,
    barred: Barred | None = None,
    *,
    read: Callable[[Codes], Vectors] | None = None,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The k nearest of some rows, ties by position.

    Args:
        rows: n rows.
        weights: one per modality.
        queries: (q, dim) float32, fused and L2-normalised.
        at: (m,) int64, the rows to look at, ascending.
        k: how many.
        barred: rows that a query must not find.
        read: gives the fused vectors of rows, where they are at hand.

    Returns positions (q, k) int64, -1 where there are fewer, and their scores, float32.
    """
    barred = barred or Barred()
    read = read or (lambda block: read_fused(rows, block, weights))
    wanted = min(k, len(at))
    if not len(queries) or not wanted:
        return np.full((len(queries), k), -1), np.zeros((len(queries), k), dtype=np.float32)
    fetch = min(wanted + SLACK, len(at))
    positions, rough = _candidates(_Blocks(read, queries, at, barred), fetch)
    scores = score_pairs(rows, weights, queries, positions)
    best, values = ranked(positions, scores, k)
    if fetch < len(at):
        # What was left out is no nearer than the last candidate; if that ties with the k-th, the
        # rest of the tie may belong before it.
        full = positions[:, -1] >= 0
        unsure = np.flatnonzero(full & (values[:, wanted - 1] <= rough[:, -1] + TIE))
        step = max(1, TIED_PAIRS // len(at))
        for start in range(0, len(unsure), step):
            some = unsure[start : start + step]
            blocks = _Blocks(read, queries[some], at, barred.of(some))
            for query, tied in zip(some, _at_least(blocks, rough[some, wanted - 1]), strict=True):
                one = np.array([query])
                again = score_pairs(rows, weights, queries[one], tied[None, :])
                best[one], values[one] = ranked(tied[None, :], again, k)
    return best, values


@dataclass(frozen=True)
class _Blocks:
    """The rows to look at, some at a time, with every query's score of each: (q, m) float32."""

    read: Callable[[Codes], Vectors]
    queries: Vectors
    at: Codes
    barred: Barred

    def __iter__(self) -> Iterator[tuple[Codes, Floats]]:
        for start in range(0, len(self.at), BLOCK_ROWS):
            block = self.at[start : start + BLOCK_ROWS]
            scores = self.queries @ self.read(block).T
            for who, where in self.barred.block(block):
                scores[who, where] = -np.inf
            yield block, scores


def _candidates(blocks: _Blocks, fetch: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The `fetch` best of each query by a rougher score, best first."""
    queries = np.arange(len(blocks.queries))
    held = np.full((len(queries), fetch), -1, dtype=np.int64)
    best = np.full((len(queries), fetch), -np.inf, dtype=np.float32)
    for block, scores in blocks:
        # After the first blocks hardly a score passes the worst of those held.
        who, where = np.nonzero(scores > best[:, -1:])
        if len(who) > 4 * held.size and scores.shape[1] > fetch:
            top = np.argpartition(-scores, fetch - 1, axis=1)[:, :fetch]
            who, where = np.repeat(queries, fetch), top.ravel()
        owner = np.concatenate([np.repeat(queries, fetch), who])
        place = np.concatenate([held.ravel(), block[where]])
        value = np.concatenate([best.ravel(), scores[who, where]])
        order = np.lexsort((place, -value, owner))
        start = np.searchsorted(owner[order], queries)
        chosen = order[start[:, None] + np.arange(fetch)]
        held, best = place[chosen], value[chosen]
    held[np.isneginf(best)] = -1
    return held, best


def _at_least(blocks: _Blocks, least: Floats) -> list[Codes]:
    """All rows that come within a tie of each query's score, or above it. least: (q,) float32."""
    owners, places = [], []
    for block, scores in blocks:
        who, where = np.nonzero(scores >= (least - 2 * TIE)[:, None])
        owners.append(who)
        places.append(block[where])
    owner, place = np.concatenate(owners), np.concatenate(places)
    order = np.argsort(owner, kind="stable")
    return np.split(place[order], np.cumsum(np.bincount(owner, minlength=len(least)))[:-1])
