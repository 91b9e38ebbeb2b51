"""Recall probe: queries with known true neighbours, for tuning an index and measuring its recall.

The queries are products held out of the index while it is built and tuned. One half is for tuning,
the other for the reported recall. Their true neighbours are updated as rows come and go, at a cost
proportional to the change, so recall can be measured again after every update.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.index.exact import BLOCK_ROWS, TIE, ExcludedRows, exact_search
from vitrina.index.fuse import FusedRows
from vitrina.index.score import ranked, score_projected
from vitrina.store.parquet import Column, read_file_as
from vitrina.store.shards import matrix_of, numbers_of
from vitrina.types import Codes, Floats, Mask, Vectors

RECALL_AT = 10
KEPT = 32
"""True neighbours kept per query, so that ten remain when some are removed."""
QUERIES = 2000


@dataclass(frozen=True)
class Recall:
    """The share of the true `at` nearest that a search finds, ties counted as found. low, high:
    bounds of its 95% interval. queries: number of queries measured on."""

    at: int
    value: float
    low: float
    high: float
    queries: int

    @classmethod
    def of(cls, shares: npt.NDArray[np.float64], at: int = RECALL_AT) -> Recall:
        """Mean of per-query shares, (n,), with Wilson's score interval (1927). Neighbours of one
        query are found or missed together, so a query counts as one trial; the interval is
        conservative."""
        count = len(shares)
        if not count:
            return cls(at, 0.0, 0.0, 1.0, 0)
        mean, z = float(shares.mean()), 1.959964
        middle = (mean + z * z / (2 * count)) / (1 + z * z / count)
        half = z * math.sqrt(mean * (1 - mean) / count + (z / (2 * count)) ** 2)
        half /= 1 + z * z / count
        # At 1 and 0, rounding may put a bound on the wrong side of the mean.
        low, high = min(mean, middle - half), max(mean, middle + half)
        return cls(at, mean, max(0.0, low), min(1.0, high), count)

    def to_json(self) -> dict[str, Any]:
        """The recall as JSON values of `index.json`."""
        return {
            "at": self.at,
            "value": round(self.value, 5),
            "low": round(self.low, 5),
            "high": round(self.high, 5),
            "queries": self.queries,
        }


@dataclass(frozen=True, eq=False)
class Probe:
    """h queries with their true neighbours.

    queries: (h, dim) float32. own: (h,) int64 position of each in the index, -1 while held out.
    positions, scores: (h, KEPT) true neighbours, nearest first, -1 and 0 for none. floor: (h,)
    float32; rows that score below it may be missing from `positions`. tuning: (h,) bool, the half
    for tuning.
    """

    queries: Vectors
    own: Codes
    positions: npt.NDArray[np.int64]
    scores: Floats
    floor: Floats
    tuning: Mask

    def __len__(self) -> int:
        return len(self.queries)

    @classmethod
    def ask(cls, rows: FusedRows, among: Codes, queries: Codes, seed: int) -> Probe:
        """Find the true neighbours of some rows by exact search.

        among: (m,) positions to search. queries: (h,) positions of the queries; a query is not its
        own neighbour. seed: random seed of the two halves.
        """
        vectors = rows.read(queries)
        numbers = np.arange(len(rows))
        barred = ExcludedRows([numbers], [queries])
        positions, scores = exact_search(rows, vectors, among, KEPT, barred)
        # A list that is not full contains all rows.
        floor = np.where(positions[:, -1] >= 0, scores[:, -1], -np.inf).astype(np.float32)
        tuning = np.zeros(len(queries), dtype=bool)
        half = np.random.default_rng(seed).permutation(len(queries))[: len(queries) // 2]
        tuning[half] = True
        return cls(vectors, np.full(len(queries), -1), positions, scores, floor, tuning)

    def placed(self, own: Codes) -> Probe:
        """Set the queries' positions in the index, (h,) int64."""
        return replace(self, own=own)

    def with_rows(self, rows: FusedRows, fresh: Codes) -> Probe:
        """Update the true neighbours after rows were added at the positions `fresh`."""
        if not len(fresh):
            return self
        positions, scores = self._above_floor(rows, fresh)
        places = np.hstack([self.positions, positions])
        values = np.hstack([self.scores, scores])
        values = np.where(places >= 0, values, -np.inf)
        # Below the floor, older rows may be missing.
        values[values < self.floor[:, None]] = -np.inf
        best, kept = ranked(places, values, KEPT)
        full = best[:, -1] >= 0
        return replace(
            self, positions=best, scores=kept, floor=np.where(full, kept[:, -1], self.floor)
        )

    def _above_floor(self, rows: FusedRows, fresh: Codes) -> tuple[npt.NDArray[np.int64], Floats]:
        """The best of some rows for each query, skipping rows below its floor if that saves time:
        positions and scores, (h, KEPT) each, -1 and 0 for none."""
        if np.isneginf(self.floor).any():
            barred = ExcludedRows([np.arange(len(rows))], [self.own])
            return exact_search(rows, self.queries, fresh, KEPT, barred)
        who, which = [], []
        projected = rows.projected(self.queries)
        for start in range(0, len(fresh), BLOCK_ROWS):
            block = fresh[start : start + BLOCK_ROWS]
            scores = projected @ rows.centred(block).T
            near, where = np.nonzero(scores >= (self.floor - TIE)[:, None])
            who.append(near)
            which.append(block[where])
        query, place = np.concatenate(who), np.concatenate(which)
        order = np.argsort(query, kind="stable")
        query, place = query[order], place[order]
        count = np.bincount(query, minlength=len(self))
        column = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count)
        found = np.full((len(self), max(1, int(count.max(initial=0)))), -1, dtype=np.int64)
        found[query, column] = place
        found[found == self.own[:, None]] = -1
        return ranked(found, score_projected(rows, projected, found), KEPT)

    def without_rows(self, dead: Mask) -> Probe:
        """Update the true neighbours after rows were removed. dead: (n,) bool."""
        gone = (self.positions >= 0) & dead[self.positions]
        best, kept = ranked(
            self.positions, np.where(gone | (self.positions < 0), -np.inf, self.scores), KEPT
        )
        own = np.where((self.own >= 0) & dead[self.own], -1, self.own)
        return replace(self, positions=best, scores=kept, own=own)

    @property
    def good(self) -> Mask:
        """Queries with enough known true neighbours, (h,) bool."""
        enough: Mask = (self.positions[:, RECALL_AT - 1] >= 0) | np.isneginf(self.floor)
        return enough

    def half(self, tuning: bool) -> Probe:
        """The good queries of one half."""
        at = np.flatnonzero(self.good & (self.tuning == tuning))
        return Probe(
            self.queries[at],
            self.own[at],
            self.positions[at],
            self.scores[at],
            self.floor[at],
            self.tuning[at],
        )

    def shares(self, scores: Floats) -> npt.NDArray[np.float64]:
        """The share of each query's true neighbours that a search found: (h,) float64.

        scores: (h, m) float32 exact scores of the rows found, -inf for none. Scores are compared,
        not ids: products at equal distance are equally correct.
        """
        return self.prefixes(scores)[:, -1]

    def prefixes(self, scores: Floats) -> npt.NDArray[np.float64]:
        """The shares among the first 1, 2, ... m rows found: (h, m) float64; see `shares`."""
        known = self.positions[:, :RECALL_AT] >= 0
        count = known.sum(axis=1)
        worst = np.where(known, self.scores[:, :RECALL_AT], np.inf).min(axis=1)
        hits = np.cumsum(scores >= (worst - TIE)[:, None], axis=1)
        shares: npt.NDArray[np.float64] = (
            np.minimum(hits, count[:, None]) / np.maximum(count, 1)[:, None]
        )
        # With no true neighbours, the share is 1.
        shares[count == 0] = 1.0
        return shares

    def write(self, path: Path) -> None:
        """Write the probe as Parquet, with vectors in float32."""
        flat = pa.array(np.ascontiguousarray(self.queries).reshape(-1))
        columns = {
            "vector": pa.FixedSizeListArray.from_arrays(flat, self.queries.shape[1]),
            "position": pa.array(self.own),
            "neighbours": pa.FixedSizeListArray.from_arrays(
                pa.array(self.positions.reshape(-1)), KEPT
            ),
            "scores": pa.FixedSizeListArray.from_arrays(pa.array(self.scores.reshape(-1)), KEPT),
            "floor": pa.array(self.floor),
            "tuning": pa.array(self.tuning),
        }
        pq.write_table(pa.table(columns), path, compression="zstd", write_page_checksum=True)

    @classmethod
    def read(cls, path: Path, dim: int, rows: int, way_out: str) -> Probe:
        """Read a probe. dim: of the vectors. rows: of the index, dead ones included.

        Raises StoreError, naming the file and `way_out`, if it is damaged.
        """
        at = partial(Column, nulls=False, least=-1, most=rows - 1)
        kind = {
            "vector": Column((pa.list_(pa.float32(), dim),), nulls=False),
            "position": at((pa.int64(),)),
            "neighbours": at((pa.list_(pa.int64(), KEPT),)),
            "scores": Column((pa.list_(pa.float32(), KEPT),), nulls=False),
            "floor": Column((pa.float32(),), nulls=False),
            "tuning": Column((pa.bool_(),), nulls=False),
        }
        table = read_file_as(path, kind, way_out).combine_chunks()
        column = {name: table.column(name).combine_chunks() for name in kind}
        return cls(
            matrix_of(column["vector"]),
            numbers_of(column["position"], np.int64),
            matrix_of(column["neighbours"]),
            matrix_of(column["scores"]),
            numbers_of(column["floor"], np.float32),
            np.array(column["tuning"].to_pylist(), dtype=bool),
        )
