"""A space: all vectors of one encoder over the catalogue, joined to products by id and content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vitrina.errors import StoreError
from vitrina.ids import id_keys
from vitrina.store import layout
from vitrina.store.entries import FileEntry, SpaceEntry
from vitrina.store.files import Files
from vitrina.store.parquet import REPAIR as WAY_OUT
from vitrina.store.parquet import Access, kind_of_schema, open_parquet, read_table_as
from vitrina.store.plan import SHARD_ROWS
from vitrina.store.products import Products
from vitrina.store.shards import (
    ShardBatch,
    array_keys,
    hashes_to_array,
    read_shards,
    read_vectors,
    vector_type,
)
from vitrina.types import Codes, Compute, Mask, Modality, ProductId, Stored, Vectors

ERRORS_SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        ("content_hash", pa.string()),
        ("row", pa.int64()),
        ("stage", pa.string()),
        ("error", pa.string()),
    ]
)
"""Schema of a table of errors. Ids are strings: a rejected row may have one of another type."""

ERRORS = kind_of_schema(ERRORS_SCHEMA)

FIND = "find"
"""The stage of a photo that the catalogue names but that is missing."""
REPAIR = "repair"
"""The stage of a photo that was repaired and embedded."""


def error_row(
    product_id: ProductId | None,
    *,
    stage: str,
    error: str,
    row: int | None = None,
    content_hash: str | None = None,
) -> dict[str, Any]:
    """One row of `ERRORS_SCHEMA`."""
    return {
        "product_id": None if product_id is None else str(product_id),
        "content_hash": content_hash,
        "row": row,
        "stage": stage,
        "error": error,
    }


@dataclass(frozen=True)
class Located:
    """Locations of the products' live vectors. done: (n,) bool. shard, row: (n,) int32, -1 for
    none.

    A row of a shard is live if the product table still holds its product with the same content.
    So a changed product's old row is dead, and is live again if the content comes back.
    """

    done: Mask
    shard: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]

    def mark(self, positions: Codes, shard: int) -> None:
        """Record that these products were just written, in this order, as a new shard."""
        self.done[positions] = True
        self.shard[positions] = shard
        self.row[positions] = np.arange(len(positions))


@dataclass(frozen=True)
class Space:
    """One space of a snapshot."""

    name: str
    modality: Modality
    entry: SpaceEntry
    files: Files

    @classmethod
    def open(cls, files: Files, name: str, entry: SpaceEntry) -> Space:
        """A space that a manifest names."""
        return cls(name, Modality(entry.card["modality"]), entry, files)

    @property
    def card(self) -> Mapping[str, Any]:
        """The encoder's card, with `dtype` and `normalised`."""
        return self.entry.card

    @property
    def vector_type(self) -> pa.FixedSizeListType:
        """The type of the vectors in its shards. Raises StoreError for an invalid card."""
        dim, dtype = self.dim, self.card["dtype"]
        if dim < 1 or dtype not in ("float16", "float32"):
            raise StoreError(
                f"{self.files.where(layout.space_card(self.name))} declares {dim} numbers of "
                f"{dtype}; {WAY_OUT}"
            )
        return vector_type(dim, dtype)

    @property
    def shard_rows(self) -> int:
        """Maximum rows of a new shard, chosen when the space was made."""
        return int(self.card.get("shard_rows", SHARD_ROWS))

    @property
    def shards(self) -> list[str]:
        """The names of its shards, in order."""
        return [shard.path for shard in self.entry.shards]

    @property
    def compute(self) -> Compute | None:
        """The number format that the encoder ran in when the space was made; None if the card has
        none. Older cards append the device."""
        value = str(self.card.get("details", {}).get("compute", "")).partition(" ")[0]
        return Compute(value) if value in set(Compute) else None

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return int(self.card["dim"])

    def locate(self, products: Products) -> Located:
        """Find the live row of every product."""
        hashes = products.hashes(self.modality)
        shard = np.full(len(products), -1, dtype=np.int32)
        row = np.full(len(products), -1, dtype=np.int32)
        for batch in read_shards(self.files, self.entry.shards):
            positions, live = _live(batch, products, hashes)
            shard[positions] = batch.shard
            row[positions] = batch.start + live
        return Located(shard >= 0, shard, row)

    def live_positions(self, products: Products) -> Iterator[Codes]:
        """Yield the positions of all live rows in the product table, (n,) int64 per batch; a
        product occurs once for each of its live rows."""
        hashes = products.hashes(self.modality)
        for batch in read_shards(self.files, self.entry.shards):
            yield _live(batch, products, hashes)[0]

    def vectors(self, located: Located, positions: Codes) -> Vectors:
        """Read vectors of products: (len(positions), dim) float32, zero where not done."""
        out = np.zeros((len(positions), self.dim), dtype=np.float32)
        shards = located.shard[positions]
        for number in np.unique(shards[shards >= 0]):
            at = np.flatnonzero(shards == number)
            rows = located.row[positions[at]].astype(np.int64)
            out[at] = read_vectors(self.files, self.entry.shards[number], rows, self.vector_type)
        return out

    def stream(self, products: Products) -> Iterator[tuple[Codes, Stored]]:
        """Yield all live vectors in shard order: (n,) positions in the product table, (n, dim) of
        the stored dtype."""
        hashes = products.hashes(self.modality)
        for batch in read_shards(self.files, self.entry.shards, vectors=self.vector_type):
            positions, live = _live(batch, products, hashes)
            assert batch.vectors is not None
            whole = len(live) == len(batch.vectors)
            yield positions, batch.vectors if whole else batch.vectors[live]


def failed(products: Products, modality: Modality, errors: pa.Table) -> Mask:
    """(n,) bool: products that failed with their current content."""
    mask = np.zeros(len(products), dtype=bool)
    mask[standing(products, modality, errors.filter(failures(errors)))[1]] = True
    return mask


def failures(errors: pa.Table) -> pa.ChunkedArray:
    """(rows,) bool: errors that are failures, not missing or repaired photos."""
    return pc.invert(pc.is_in(errors.column("stage"), value_set=pa.array([FIND, REPAIR])))


def standing(products: Products, modality: Modality, errors: pa.Table) -> tuple[Codes, Codes]:
    """Find errors about products' current content: (m,) int64 each, the rows and the products'
    positions."""
    if not errors.num_rows:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    ids = errors.column("product_id")
    positions = np.full(len(ids), -1, dtype=np.int64)
    # An integer and its decimal text have the same key.
    keys = id_keys(ids.drop_null().to_pylist())
    positions[ids.is_valid().to_numpy()] = products.table.positions(keys)
    # A photo that could not be read has no hash, then or now.
    then = hashes_to_array(errors.column("content_hash"))
    now = products.hashes(modality)[positions]
    rows = np.flatnonzero((positions >= 0) & (now == then))
    return rows, positions[rows]


def _live(
    batch: ShardBatch, products: Products, hashes: npt.NDArray[np.void]
) -> tuple[Codes, Codes]:
    """The positions of a batch's live rows in the product table, and their rows in the batch."""
    positions = products.table.positions(array_keys(batch.ids))
    live = np.flatnonzero(positions >= 0)
    live = live[hashes[positions[live]] == batch.hashes[live]]
    return positions[live], live


def read_errors(files: Files, entry: FileEntry | None) -> pa.Table:
    """Read a table of errors; an empty one for None."""
    if entry is None:
        return ERRORS_SCHEMA.empty_table()
    with open_parquet(files, entry, Access.WHOLE) as file:
        table = read_table_as(file, ERRORS)
        hashes_to_array(table.column("content_hash"))
        return table
