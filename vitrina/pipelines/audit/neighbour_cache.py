"""Cache of every product's nearest neighbours, mapped from disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vitrina.disk import nameless_file
from vitrina.pipelines.common.progress import Meter
from vitrina.pipelines.index.job import build_index
from vitrina.pipelines.index.neighbours import Index
from vitrina.pipelines.index.options import IndexOptions
from vitrina.store.store import OpenStore
from vitrina.types import Codes, Features, Floats

NEIGHBOURS = 50
BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Nearest neighbours of n products, mapped from files without a name.

    rows: (n, NEIGHBOURS) int32, positions in the product table, nearest first, -1 for none. scores:
    (n, NEIGHBOURS) float32 cosines.
    """

    rows: npt.NDArray[np.int32]
    scores: Floats

    def of(self, rows: Codes) -> tuple[Codes, Floats]:
        """The neighbours of m products: positions, (m, NEIGHBOURS) int64, and cosines, float32."""
        return self.rows[rows].astype(np.int64), np.asarray(self.scores[rows])


def current_index(store: OpenStore, features: Features) -> Index | None:
    """The index of some features; None if it is missing or stale."""
    if features.value not in store.manifest.indexes:
        return None
    index = Index.open(store, features)
    return None if index.behind else index


def find_neighbours(
    store: OpenStore,
    features: Features,
    queries: Codes,
    *,
    seed: int,
    quiet: bool | None,
    scratch: Path | None,
) -> Neighbours:
    """Look up the neighbours of some products, positions in the product table.

    A missing or stale index is built first. Raises StoreError, StoreLockedError if another process
    writes.
    """
    index = current_index(store, features)
    if index is None:
        build_index(store, IndexOptions(features, seed=seed, quiet=quiet))
        index = Index.open(store, features)
    at = index.products_at
    count = len(store.products)
    row_of = np.full(count, -1, dtype=np.int64)
    row_of[at[at >= 0]] = np.flatnonzero(at >= 0)
    shape = (count, NEIGHBOURS)
    size = max(1, count * NEIGHBOURS * 4)
    with nameless_file(scratch, size) as rows, nameless_file(scratch, size) as scores:
        found = Neighbours(
            np.memmap(rows, np.int32, mode="r+", shape=shape),
            np.memmap(scores, np.float32, mode="r+", shape=shape),
        )
    queries = queries[row_of[queries] >= 0]
    with Meter("finding neighbours", len(queries), quiet=quiet) as meter:
        for start in range(0, count, BLOCK_ROWS):
            found.rows[start : start + BLOCK_ROWS] = -1
        for start in range(0, len(queries), BLOCK_ROWS):
            block = queries[start : start + BLOCK_ROWS]
            near = index.of_products(row_of[block], NEIGHBOURS)
            there = near.positions >= 0
            found.rows[block] = np.where(there, at[near.positions], -1)
            found.scores[block] = np.where(there, near.scores, 0)
            meter.advance(len(block))
    return found
