"""Nearest neighbour search in an index, with exact scores for every kind of index.

An index has a base (FAISS finds candidates in it), a delta of rows added later (searched exactly),
and dead rows. A position is a row's number in the base followed by the delta. Positions are
internal to this package; callers outside get product ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vitrina.ids import IdTable, id_keys
from vitrina.index.engine import Engine
from vitrina.index.exact import SLACK, TIE, ExcludedRows, exact_search
from vitrina.index.fuse import FusedRows, Fusion
from vitrina.index.results import Effort, SearchResult, check_fingerprints
from vitrina.index.score import ranked, score_pairs
from vitrina.store.shards import array_keys
from vitrina.types import Codes, Floats, IndexKind, Mask, Modality, ProductId, Vectors

BLOCK_QUERIES = 1024
CELLS = 4_000_000
"""Maximum candidates in memory at once."""
FEW = 20_000
"""Number of filtered rows up to which they are searched exactly."""


@dataclass(frozen=True, eq=False)
class _Scope:
    """The rows that a search may find. count: of all rows. base: of rows in the base. mask: (base
    rows,) bool, None for all. breadth: lists or graph nodes to search. delta: positions after the
    base. few: all positions, if few enough for exact search."""

    count: int
    base: int
    mask: Mask | None
    breadth: int
    delta: Codes
    few: Codes | None


@dataclass(frozen=True, eq=False)
class VectorIndex:
    """An index that can be searched.

    Attributes:
        engine: finds candidates among the first rows, the base.
        rows: (n,) all rows, with the places of their vectors and their fusion.
        product_ids: (n,) int64 or string.
        dead: (n,) bool, removed rows.
        effort: search effort in the base.
        card: content of `index.json`; empty for an index in memory.
        where: for messages.
    """

    engine: Engine
    rows: FusedRows
    product_ids: pa.Array
    dead: Mask
    effort: Effort
    card: Mapping[str, Any]
    where: str

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities of its vectors, text first."""
        return self.rows.modalities

    @property
    def fusion(self) -> Fusion:
        """How queries are made of the modalities' vectors."""
        return self.rows.fusion

    @property
    def dim(self) -> int:
        """The dimension of a vector."""
        return self.rows.dim

    def __len__(self) -> int:
        """Number of live rows."""
        return int(len(self.dead) - self.dead.sum())

    def with_effort(self, effort: Effort) -> VectorIndex:
        """Set the search effort."""
        return replace(self, effort=effort)

    def check(self, fingerprints: Mapping[str, str]) -> None:
        """Check that query vectors come from the encoders that the index was built with.

        fingerprints: of the query's encoders by modality; a modality of the index may be missing.
        Raises FingerprintError.
        """
        check_fingerprints(self.card.get("fingerprints", {}), fingerprints, self.where)

    def vector(self, product_id: ProductId) -> Vectors | None:
        """The vector of one product, (1, dim) float32; None if the index lacks it.

        Raises ValueError if an integer id is outside int64.
        """
        position = self.positions([product_id])
        return self.read(position) if position[0] >= 0 else None

    def read(self, positions: Codes) -> Vectors:
        """The vectors of some rows: (len(positions), dim) float32."""
        return self.rows.read(positions)

    def positions(self, ids: Sequence[ProductId | None]) -> Codes:
        """The live row of each product, (n,) int64; -1 for None and for absent products."""
        positions = np.full(len(ids), -1, dtype=np.int64)
        given = [at for at, product_id in enumerate(ids) if product_id is not None]
        if given:
            keys = id_keys([product_id for product_id in ids if product_id is not None])
            positions[given] = self.find(keys)
        return positions

    def find(self, keys: npt.NDArray[np.uint64]) -> Codes:
        """Positions by keys of ids, (n,) uint64; see `positions` and `vitrina.ids`."""
        live, table = self._table
        at = table.positions(keys)
        return np.where(at >= 0, live[at], -1) if len(live) else at

    def search(
        self,
        queries: Vectors,
        k: int,
        *,
        exclude: Sequence[ProductId | None] | None = None,
        allowed: Mask | None = None,
        barred: ExcludedRows | None = None,
    ) -> SearchResult:
        """Find the k nearest products of each query.

        Args:
            queries: (q, dim) float32, L2-normalised, fused by the index's `fusion`. A row of
                zeros has no neighbours.
            k: number of neighbours; at most as many as the index has are found.
            exclude: one id per query to exclude from its neighbours, or None: the product itself,
                if the query is a product of the index.
            allowed: search filter, (n,) bool, the rows of the index that may be found.
            barred: exclusion filter of further rows.

        Raises ValueError if k is below 1 or the shapes don't fit.
        """
        if exclude is not None and len(exclude) != len(queries):
            raise ValueError(f"{len(exclude)} ids to exclude for {len(queries)} queries")
        own = None if exclude is None else self.positions(exclude)
        return self.search_rows(queries, k, own=own, allowed=allowed, barred=barred)

    def search_rows(
        self,
        queries: Vectors,
        k: int,
        *,
        own: Codes | None = None,
        allowed: Mask | None = None,
        barred: ExcludedRows | None = None,
    ) -> SearchResult:
        """`search` with the excluded rows as positions, (q,) int64, -1 for none."""
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if queries.ndim != 2 or queries.shape[1] != self.dim:
            raise ValueError(f"queries must be (q, {self.dim}), not {queries.shape}")
        barred = barred or ExcludedRows()
        if own is not None and (own >= 0).any():
            barred = ExcludedRows([*barred.rows, self._numbers], [*barred.queries, own])
        scope = self._everything if allowed is None else self._scope(~self.dead & allowed, True)
        positions = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        # Rows of zeros are at equal distance from all rows, so they have no neighbours.
        non_zero = (
            np.flatnonzero(queries.any(axis=1)) if scope.count else np.empty(0, dtype=np.int64)
        )
        for start in range(0, len(non_zero), BLOCK_QUERIES):
            block = non_zero[start : start + BLOCK_QUERIES]
            vectors = np.ascontiguousarray(queries[block], dtype=np.float32)
            found = self._nearest(vectors, k, scope, barred.of(block))
            positions[block], scores[block] = found
        return SearchResult(positions, scores, self.product_ids)

    def _nearest(
        self, queries: Vectors, k: int, scope: _Scope, barred: ExcludedRows
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        if scope.few is not None:
            return exact_search(self.rows, queries, scope.few, k, barred)
        found = np.full((len(queries), k), -1), np.zeros((len(queries), k), dtype=np.float32)
        if scope.base:
            # The base ranks distant neighbours less accurately.
            width = self.effort.candidates * (2 if scope.breadth > self.effort.breadth else 1)
            width = max(width, k + 1 + SLACK)
            found = self._in_base(queries, k, width, scope.breadth, scope, barred)
        if not len(scope.delta):
            return found
        base = len(self.engine)
        more = exact_search(
            self.rows,
            queries,
            scope.delta,
            k,
            barred,
            read=lambda at: self._delta[at - base],
        )
        scores = np.hstack([found[1], more[1]])
        places = np.hstack([found[0], more[0]])
        return ranked(places, np.where(places >= 0, scores, -np.inf), k)

    def _in_base(
        self,
        queries: Vectors,
        k: int,
        width: int,
        breadth: int,
        scope: _Scope,
        barred: ExcludedRows,
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        """Find the k nearest in the base among `width` candidates, or more if too few."""
        width = min(width, len(self.engine))
        step = max(1, CELLS // width)
        if len(queries) > step:
            parts = []
            for start in range(0, len(queries), step):
                part = np.arange(start, min(start + step, len(queries)))
                ours = barred.of(part)
                parts.append(self._in_base(queries[part], k, width, breadth, scope, ours))
            return np.vstack([part[0] for part in parts]), np.vstack([part[1] for part in parts])
        candidates = self.engine.search(queries, width, breadth, scope.mask)
        candidates[barred.candidates(candidates)] = -1
        scores = score_pairs(self.rows, queries, candidates)
        best, values = ranked(candidates, scores, k)
        if width == len(self.engine) and breadth >= self.engine.most_effort:
            return best, values
        again = best[:, min(k, scope.base) - 1] < 0
        if self.engine.kind is IndexKind.FLAT:
            # No omitted row is nearer than the farthest candidate. If that one ties with the k-th,
            # omitted rows of the tie may rank before it.
            least = np.where(candidates >= 0, scores, np.inf).min(axis=1)
            again |= values[:, -1] <= least + TIE
        who = np.flatnonzero(again)
        if len(who):
            wider = min(4 * breadth, self.engine.most_effort)
            more = self._in_base(queries[who], k, 8 * width, wider, scope, barred.of(who))
            best[who], values[who] = more
        return best, values

    @cached_property
    def _everything(self) -> _Scope:
        return self._scope(~self.dead, False)

    def _scope(self, live: Mask, filtered: bool) -> _Scope:
        base = len(self.engine)
        there, in_base = int(live.sum()), live[:base]
        few = np.flatnonzero(live) if filtered and there <= FEW else None
        count = int(in_base.sum())
        breadth = self.effort.breadth
        if filtered and count:
            # With rows filtered out, the nearest remaining ones are farther away.
            breadth = int(np.ceil(breadth * base / count))
        delta = base + np.flatnonzero(live[base:])
        return _Scope(there, count, None if count == base else in_base, breadth, delta, few)

    @cached_property
    def _numbers(self) -> Codes:
        return np.arange(len(self.dead))

    @cached_property
    def _delta(self) -> Vectors:
        at = np.arange(len(self.engine), len(self.dead))
        return self.rows.centred(at)

    @cached_property
    def _table(self) -> tuple[Codes, IdTable]:
        live = np.flatnonzero(~self.dead)
        return live, IdTable(array_keys(self.product_ids.take(pa.array(live))))
