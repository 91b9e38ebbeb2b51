"""The rows of an index on disk: product id, content hash, and place of the vector in its space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import StoreError
from vitrina.ids import IdTable
from vitrina.store.damage import blamed_on
from vitrina.store.parquet import IDS, Column, read_file_as
from vitrina.store.rows import Places
from vitrina.store.shards import array_keys, numbers_of
from vitrina.types import Codes, Floats, Mask, Modality

Contents = npt.NDArray[np.void]
"""(n,) `V16`: a hash of each row's inputs to its vectors."""


_CONTENT = Column((pa.binary(16),), nulls=False)
_SHARD = Column((pa.int32(),), nulls=False, least=-1)
# Without a shard, the row number has no meaning.
_ROW = Column((pa.int32(),), nulls=False, least=-1)
_LENGTH = Column((pa.float32(),), nulls=False)
SHORTEST, LONGEST = 1e-12, 1e12
"""Bounds of the length of a whitened vector that is not zero: no score overflows."""


@dataclass(frozen=True, eq=False)
class Entries:
    """n rows of an index. ids: (n,) product ids. contents: (n,) `V16`. places: per modality, the
    shard and row of each vector in its space, (n,) int32 each, shard -1 for none. lengths: of each
    whitened modality, (n,) float32, the lengths of whitened vectors, 0 for none."""

    ids: pa.Array
    contents: Contents
    places: Mapping[Modality, Places]
    lengths: Mapping[Modality, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities, in order."""
        return tuple(self.places)

    def take(self, at: Codes) -> Entries:
        """Select rows, in the order of `at`."""
        return Entries(
            self.ids.take(pa.array(at)),
            self.contents[at],
            {name: (shards[at], rows[at]) for name, (shards, rows) in self.places.items()},
            {name: lengths[at] for name, lengths in self.lengths.items()},
        )

    def with_ids_as(self, kind: pa.DataType) -> Entries:
        """Cast ids to the store's current type: integers may have become strings. Raises StoreError
        for the reverse."""
        if kind not in (self.ids.type, pa.string()):
            raise StoreError(
                f"the index has ids of {self.ids.type}, the store's are {kind}; run "
                "`vitrina index --rebuild` to build it again"
            )
        return replace(self, ids=self.ids.cast(kind))

    def followed_by(self, more: Entries) -> Entries:
        """Append rows of the same modalities, whitened alike."""
        places = {
            name: (
                np.concatenate([shards, more.places[name][0]]),
                np.concatenate([rows, more.places[name][1]]),
            )
            for name, (shards, rows) in self.places.items()
        }
        ids = pa.concat_arrays([self.ids, more.ids])
        contents = np.concatenate([self.contents, more.contents])
        lengths = {
            name: np.concatenate([own, more.lengths[name]]) for name, own in self.lengths.items()
        }
        return Entries(ids, contents, places, lengths)

    def moved(self, at: Codes, other: Entries, to: Codes) -> Entries:
        """Give the rows `at` the places of the rows `to` of `other`, and all other rows none."""
        places = {}
        for name, (shards, rows) in self.places.items():
            moved = (np.full_like(shards, -1), np.zeros_like(rows))
            for mine, theirs in zip(moved, other.places[name], strict=True):
                mine[at] = theirs[to]
            places[name] = moved
        return replace(self, places=places)

    def write(self, path: Path) -> None:
        """Write the rows as Parquet."""
        columns = {
            "product_id": self.ids,
            "content": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), len(self), [None, pa.py_buffer(self.contents.tobytes())]
            ),
        }
        for name, (shards, rows) in self.places.items():
            columns[f"{name}_shard"], columns[f"{name}_row"] = pa.array(shards), pa.array(rows)
        for name, lengths in self.lengths.items():
            columns[f"{name}_length"] = pa.array(lengths)
        pq.write_table(pa.table(columns), path, compression="zstd", write_page_checksum=True)

    @classmethod
    def read(
        cls,
        paths: Sequence[Path],
        modalities: Sequence[Modality],
        way_out: str,
        whitened: Sequence[Modality] = (),
    ) -> Entries:
        """Read and concatenate Parquet files of rows. whitened: modalities that have lengths.

        Raises StoreError, naming the file and `way_out`, if one is missing or damaged.
        """
        kind = {"product_id": Column(IDS, nulls=False), "content": _CONTENT}
        for name in modalities:
            kind |= {f"{name}_shard": _SHARD, f"{name}_row": _ROW}
        kind |= {f"{name}_length": _LENGTH for name in whitened}
        tables = []
        for path in paths:
            table = read_file_as(path, kind, way_out).select(list(kind))
            with blamed_on(str(path), way_out):
                for name in whitened:
                    _check_lengths(table, f"{name}_length")
            tables.append(table)
            # Files of one index have ids of one type.
            kind["product_id"] = Column((table.schema.field(0).type,), nulls=False)
        table = pa.concat_tables(tables).combine_chunks()
        column = {name: _single_chunk(table.column(name)) for name in table.column_names}
        content = column["content"]
        raw = content.buffers()[1].to_pybytes() if len(content) else b""
        start = content.offset * 16
        return cls(
            column["product_id"],
            np.frombuffer(raw[start : start + 16 * len(content)], dtype="V16"),
            {
                name: (
                    numbers_of(column[f"{name}_shard"], np.int32),
                    numbers_of(column[f"{name}_row"], np.int32),
                )
                for name in modalities
            },
            {name: numbers_of(column[f"{name}_length"], np.float32) for name in whitened},
        )


def _check_lengths(table: pa.Table, name: str) -> None:
    for chunk in table.column(name).chunks:
        numbers = numbers_of(chunk, np.float32)
        # False for NaN as well.
        if not ((numbers == 0) | ((numbers >= SHORTEST) & (numbers <= LONGEST))).all():
            raise ValueError(f"its column {name} has numbers that are no lengths")


def _single_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


@dataclass(frozen=True, eq=False)
class Change:
    """Difference between an index and a store. gone: (g,) positions in the index to remove. fresh:
    (f,) rows of the store to add. kept, at: (m,) unchanged positions in the index, and their rows
    in the store. changed: number of products in both `gone` and `fresh`."""

    gone: Codes
    fresh: Codes
    kept: Codes
    at: Codes
    changed: int

    @classmethod
    def none(cls) -> Change:
        """No change."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing, nothing, nothing, 0)

    @property
    def added(self) -> int:
        """Number of products that are new to the index."""
        return len(self.fresh) - self.changed

    @property
    def removed(self) -> int:
        """Number of products that the store no longer has."""
        return len(self.gone) - self.changed


def compare(old: Entries, dead: Mask, new: Entries, there: Mask) -> Change:
    """Find the changes from an index to a store.

    Args:
        old: the rows of the index.
        dead: (n,) bool, removed rows of the index.
        new: every product of the store.
        there: (m,) bool, products that have a vector.
    """
    live = np.flatnonzero(~dead)
    keys = array_keys(new.ids)
    at = IdTable(keys).positions(array_keys(old.ids.take(pa.array(live))))
    same = (at >= 0) & there[at] & (new.contents[at] == old.contents[live])
    matched = np.zeros(len(new), dtype=bool)
    matched[at[same]] = True
    gone, fresh = live[~same], np.flatnonzero(there & ~matched)
    replaced = at[~same]
    changed = int((there[replaced] & (replaced >= 0)).sum())
    return Change(gone, fresh, live[same], at[same], changed)
