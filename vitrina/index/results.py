"""Search results and search effort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vitrina.errors import FingerprintError
from vitrina.types import Floats, IndexKind, ProductId

AGAIN = "run `vitrina index --rebuild` to build it again"
"""Remedy for a damaged index, for error messages."""


@dataclass(frozen=True)
class Neighbour:
    """A neighbour of a query. score: inner product, higher is nearer. rank: from 1."""

    product_id: ProductId
    score: float
    rank: int


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The neighbours of q queries, nearest first, ties in the index's order.

    positions: (q, k) int64 rows of the index, -1 where there are fewer than k neighbours.
    scores: (q, k) float32 inner products; 0 where the position is -1.
    product_ids: (n,) ids of all rows of the index.
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


@dataclass(frozen=True)
class Effort:
    """Search effort in the base. breadth: lists to probe, or a graph's efSearch. candidates: rows
    scored exactly per query."""

    breadth: int
    candidates: int

    def to_json(self, kind: IndexKind) -> dict[str, int]:
        """The effort as JSON values of `index.json`, by FAISS's names."""
        if kind is IndexKind.FLAT:
            return {}
        name = "efSearch" if kind is IndexKind.HNSW else "nprobe"
        return {name: self.breadth, "candidates": self.candidates}


def check_fingerprints(ours: Mapping[str, str], theirs: Mapping[str, str], where: str) -> None:
    """Check encoder fingerprints by modality against an index's own. Raises FingerprintError."""
    for modality, given in theirs.items():
        built = ours.get(modality)
        if built is None:
            have = " and ".join(ours) or "none"
            raise FingerprintError(
                f"the index at {where} holds no {modality} vectors, only {have}; run "
                f"`vitrina index` with --features {modality} or fused"
            )
        if built != given:
            raise FingerprintError(
                f"the index at {where} was built from {modality} vectors of encoder {built}, but "
                f"those at hand are of encoder {given}; run `vitrina index` again"
            )
