"""Nearest neighbours in an index: the same answer for a query whatever it is batched with.

FAISS breaks ties as its heaps fall, and its scores differ in the last bits with the size of the
batch. A catalogue is full of exact duplicates (one photo in twenty shops), so that would show:
the candidates of FAISS are scored again, each pair by itself, and ordered here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import FingerprintError, StoreError
from vitrina.ids import IdTable, id_keys
from vitrina.index.build import CARD_FILE, IDS_FILE, INDEX_FILE, TIE, BuiltIndex
from vitrina.store.files import read_json
from vitrina.types import Codes, Floats, Modality, ProductId, Vectors

BLOCK_QUERIES = 1024
CELLS = 4_000_000
"""Candidates, and numbers in their vectors, that are held at once."""
SLACK = 4
"""Candidates asked for beyond those needed, to see that the next one is really farther."""


@dataclass(frozen=True)
class Neighbour:
    """One product near a query. score: the inner product, higher is nearer. rank: from 1."""

    product_id: ProductId
    score: float
    rank: int


@dataclass(frozen=True, eq=False)
class Found:
    """The neighbours of q queries, nearest first, ties in the index's order.

    positions: (q, k) int64 rows of the index, -1 where there are fewer than k neighbours.
    scores: (q, k) float32 inner products; 0 where the position is -1.
    product_ids: (n,) the ids of the whole index.
    """

    positions: npt.NDArray[np.int64]
    scores: Floats
    product_ids: pa.Array

    def __len__(self) -> int:
        return len(self.positions)

    def ids(self, row: int) -> list[ProductId]:
        """The ids of one query's neighbours; at most k."""
        found = self.positions[row]
        ids: list[ProductId] = self.product_ids.take(pa.array(found[found >= 0])).to_pylist()
        return ids

    def neighbours(self, row: int) -> list[Neighbour]:
        """One query's neighbours; at most k."""
        ids = self.ids(row)
        scores = self.scores[row, : len(ids)].tolist()
        return [
            Neighbour(product_id, score, rank)
            for rank, (product_id, score) in enumerate(zip(ids, scores, strict=True), start=1)
        ]


class VectorIndex:
    """An index as it lies on disk; `card` is its `index.json`."""

    def __init__(self, folder: Path, index: faiss.Index, ids: pa.Array, card: dict[str, Any]):
        self.folder = folder
        self.card = card
        self.product_ids = ids
        self.modalities = tuple(Modality(name) for name in card["modalities"])
        self.weights = tuple(float(card["weights"][name]) for name in self.modalities)
        self.fingerprints = {name: str(card["fingerprints"][name]) for name in self.modalities}
        self._index = index

    @classmethod
    def open(cls, folder: Path) -> VectorIndex:
        """Open an index.

        Raises StoreError if a part of it is missing or damaged, or the parts disagree.
        """
        again = "run `vitrina index` to build it again"
        if not folder.is_dir():
            raise StoreError(f"there is no index at {folder}; {again}")
        card = read_json(folder / CARD_FILE)
        try:
            # Mapped, so that opening costs nothing and processes on one machine share the pages.
            index = faiss.read_index(str(folder / INDEX_FILE), faiss.IO_FLAG_MMAP_IFC)
            ids = pq.read_table(folder / IDS_FILE).column("product_id").combine_chunks()
        except (RuntimeError, MemoryError, OSError, KeyError, pa.ArrowInvalid) as err:
            raise StoreError(f"the index at {folder} is damaged ({err}); {again}") from err
        if index.ntotal != len(ids):
            raise StoreError(
                f"the index at {folder} is damaged: {index.ntotal} vectors in {INDEX_FILE} "
                f"but {len(ids)} ids in {IDS_FILE}; {again}"
            )
        try:
            opened = cls(folder, index, ids, card)
            described = (card["dim"], card["rows"])
        except (KeyError, TypeError, ValueError) as err:
            raise StoreError(f"{folder / CARD_FILE} lacks or misstates {err}; {again}") from err
        if described != (index.d, index.ntotal) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise StoreError(f"{folder / INDEX_FILE} is not what {CARD_FILE} describes; {again}")
        return opened

    @classmethod
    def in_memory(cls, built: BuiltIndex) -> VectorIndex:
        """Search an index that was just built and lies nowhere; `check` refuses everything."""
        card = {
            "modalities": [modality.value for modality in built.modalities],
            "weights": dict(zip(built.modalities, built.weights, strict=True)),
            "fingerprints": dict.fromkeys(built.modalities, ""),
        }
        return cls(Path(), built.index, built.ids, card)

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return int(self._index.d)

    def __len__(self) -> int:
        return len(self.product_ids)

    def check(self, fingerprints: Mapping[Modality, str]) -> None:
        """Refuse vectors of another encoder than the index was built with.

        fingerprints: of the encoders at hand. One that the index has and a query lacks may be
        left out. Raises FingerprintError.
        """
        for modality, theirs in fingerprints.items():
            ours = self.fingerprints.get(modality)
            if ours is None:
                raise FingerprintError(
                    f"the index at {self.folder} holds no {modality} vectors, only "
                    f"{' and '.join(self.modalities)}; run `vitrina index` with other --features"
                )
            if ours != theirs:
                raise FingerprintError(
                    f"the index at {self.folder} was built from {modality} vectors of encoder "
                    f"{ours}, but those at hand are of encoder {theirs}; run `vitrina index` again"
                )

    def vector(self, product_id: ProductId) -> Vectors | None:
        """The vector of one product, (1, dim) float32; None if the index lacks it.

        Raises ValueError if an integer id is outside int64.
        """
        position = self._positions([product_id])
        if position[0] < 0:
            return None
        vectors: Vectors = self._index.reconstruct_batch(position)
        return vectors

    def search(
        self, queries: Vectors, k: int, *, exclude: Sequence[ProductId | None] | None = None
    ) -> Found:
        """Find the k nearest products of each query.

        Args:
            queries: (q, dim) float32, L2-normalised, fused with the index's `weights`. A row of
                zeros has no neighbours.
            k: how many; more than the index holds gives all it holds.
            exclude: one id per query that must not be among its neighbours, or None: the
                product itself, when a product of the index is asked about.

        Raises ValueError if k is below 1 or the shapes don't fit.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if queries.ndim != 2 or queries.shape[1] != self.dim:
            raise ValueError(f"queries must be (q, {self.dim}), not {queries.shape}")
        if exclude is not None and len(exclude) != len(queries):
            raise ValueError(f"{len(exclude)} ids to exclude for {len(queries)} queries")
        own = self._positions(exclude if exclude is not None else [None] * len(queries))
        positions = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.zeros((len(queries), k), dtype=np.float32)
        # Rows of zeros are at one distance from everything, which says nothing.
        rows = np.flatnonzero(queries.any(axis=1)) if len(self) else np.empty(0, dtype=np.int64)
        wanted = min(k, len(self))
        for start in range(0, len(rows), BLOCK_QUERIES):
            block = rows[start : start + BLOCK_QUERIES]
            vectors = np.ascontiguousarray(queries[block], dtype=np.float32)
            found = self._nearest(vectors, own[block], wanted, wanted + 1 + SLACK)
            positions[block, :wanted], scores[block, :wanted] = found
        return Found(positions, scores, self.product_ids)

    def _nearest(
        self, queries: Vectors, own: Codes, k: int, fetch: int
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        """The k nearest out of the `fetch` that FAISS thinks nearest, or of more where needed."""
        fetch = min(fetch, len(self))
        block = max(1, CELLS // fetch)
        if len(queries) > block:
            parts = [
                self._nearest(queries[at : at + block], own[at : at + block], k, fetch)
                for at in range(0, len(queries), block)
            ]
            return np.vstack([part[0] for part in parts]), np.vstack([part[1] for part in parts])
        rough, positions = self._index.search(queries, fetch)
        positions[positions == own[:, None]] = -1
        scores = self._score(queries, positions)
        order = np.lexsort((positions, -scores), axis=-1)[:, :k]
        positions = np.take_along_axis(positions, order, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        # What FAISS left out is no nearer than the last it gave; if that ties with the k-th,
        # the rest of the tie may belong before it.
        unsure = np.flatnonzero(scores[:, -1] <= rough[:, -1] + TIE)
        if len(unsure) and fetch < len(self):
            more = self._nearest(queries[unsure], own[unsure], k, fetch * 16)
            positions[unsure], scores[unsure] = more
        scores[positions < 0] = 0
        return positions, scores

    def _score(self, queries: Vectors, positions: npt.NDArray[np.int64]) -> Floats:
        """Inner products (q, k) float32 with the rows at `positions` (q, k); -inf at -1."""
        scores = np.full(positions.shape, -np.inf, dtype=np.float32)
        rows, columns = np.nonzero(positions >= 0)
        step = max(1, CELLS // self.dim)
        for start in range(0, len(rows), step):
            row, column = rows[start : start + step], columns[start : start + step]
            vectors = self._index.reconstruct_batch(positions[row, column])
            scores[row, column] = np.einsum("pd,pd->p", queries[row], vectors)
        return scores

    def _positions(self, ids: Sequence[ProductId | None]) -> Codes:
        """(n,) int64: the row of each id in the index, -1 for None and where it is absent."""
        positions = np.full(len(ids), -1, dtype=np.int64)
        given = [at for at, product_id in enumerate(ids) if product_id is not None]
        if given:
            keys = id_keys([product_id for product_id in ids if product_id is not None])
            positions[given] = self._table.positions(keys)
        return positions

    @cached_property
    def _table(self) -> IdTable:
        return IdTable(id_keys(self.product_ids.to_pylist()))
