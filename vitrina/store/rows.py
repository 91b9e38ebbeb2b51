"""Random access to the vectors of rows, directly in the store's files.

A shard's numbers are contiguous in its Parquet pages (see `pages`), so in a memory-mapped shard a
row is just an address. A shard with another layout (another tool wrote it) is read into memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import StoreError
from vitrina.parallel import map_ahead
from vitrina.store.entries import FileEntry
from vitrina.store.integrity import checked_file
from vitrina.store.mapping import files_mapped, map_file
from vitrina.store.numba_loads import copy_rows
from vitrina.store.pages import find_numbers
from vitrina.store.parquet import REPAIR, naming_file, wherever_it_lies
from vitrina.store.shards import check_vectors, read_matrix
from vitrina.store.space import Space
from vitrina.types import Codes, Floats, Mask, Modality, Stored

Addresses = npt.NDArray[np.uint64]
"""(n,) uint64: address of each row's numbers in this process's memory; 0 for none."""

Places = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]
"""(n,) int32 each: the index of each row's shard in its space, -1 for none, and its row in that
shard."""

MOST_MAPPED = 32_768
"""Most shards that a process maps for rows: half of the maps that Linux lets it have."""
KEPT_MAPPED = 1024
"""Shards that stay mapped when only some rows of them are read."""


@dataclass(frozen=True, eq=False)
class Rows:
    """n rows of one or two modalities. dims, dtypes, addresses: one per modality; the numbers of
    a row are float16 or float32. held: owners of the memory that the addresses point to."""

    modalities: tuple[Modality, ...]
    dims: tuple[int, ...]
    dtypes: tuple[np.dtype[Any], ...]
    addresses: tuple[Addresses, ...]
    owners: tuple[Any, ...] = field(repr=False)

    @classmethod
    def of_arrays(
        cls, modalities: Sequence[Modality], vectors: Sequence[Stored], present: Sequence[Mask]
    ) -> Rows:
        """Rows of matrices, (n, dim) float16 or float32 each, in memory or memory-mapped.

        present: (n,) bool each. Raises ValueError if the numbers of a row are not contiguous.
        """
        addresses = []
        for matrix, mask in zip(vectors, present, strict=True):
            if matrix.size and matrix.strides[-1] != matrix.itemsize:
                raise ValueError("the numbers of a row must be contiguous")
            first = np.uint64(matrix.__array_interface__["data"][0])
            at = first + np.arange(len(matrix), dtype=np.uint64) * np.uint64(matrix.strides[0])
            addresses.append(np.where(mask, at, np.uint64(0)))
        dims = tuple(matrix.shape[1] for matrix in vectors)
        dtypes = tuple(matrix.dtype for matrix in vectors)
        return cls(tuple(modalities), dims, dtypes, tuple(addresses), tuple(vectors))

    @classmethod
    def mapped(
        cls, spaces: Sequence[Space], places: Sequence[Places], damaged: str = "the places of rows"
    ) -> Rows:
        """Rows of a store, memory-mapped. places: of the rows, for each space. damaged: the origin
        of the places and the way out, for the message about places outside the space.

        The rows of more shards than a process can map are `PagedRows`. Raises StoreError for such
        places, and for a shard that is missing or damaged.
        """
        addresses, owners = [], []
        all_used = []
        for space, (shards, rows) in zip(spaces, places, strict=True):
            _check_places(space, shards, rows, damaged)
            all_used.append(np.unique(shards[shards >= 0]).tolist())
        if files_mapped() + sum(map(len, all_used)) > MOST_MAPPED:
            return PagedRows.of_places(spaces, places)
        for space, (shards, rows), used in zip(spaces, places, all_used, strict=True):
            entries = [space.entry.shards[number] for number in used]
            start = np.zeros(len(space.entry.shards) + 1, dtype=np.int64)
            parts: list[Addresses] = []
            opened = map_ahead(
                lambda entry, space=space: _map_shard(space, entry),  # type: ignore[misc]
                entries,
                space.files.workers,
            )
            done = 0
            for number, (at, keep) in zip(used, opened, strict=True):
                parts.append(at)
                owners.append(keep)
                start[number] = done
                done += len(at)
            flat = np.concatenate([*parts, np.zeros(1, dtype=np.uint64)])
            where = np.where(shards >= 0, start[shards] + rows, done)
            addresses.append(flat[where])
        return cls(
            tuple(space.modality for space in spaces),
            tuple(space.dim for space in spaces),
            tuple(np.dtype(space.card["dtype"]) for space in spaces),
            tuple(addresses),
            tuple(owners),
        )

    def __len__(self) -> int:
        return len(self.addresses[0])

    def near(self, positions: Codes) -> tuple[Rows, Codes]:
        """Rows with an address for each of some rows, and `positions` in them. positions: of any
        shape, -1 for none."""
        return self, positions

    @property
    def dim(self) -> int:
        """The sum of the modalities' dims."""
        return sum(self.dims)

    @property
    def present(self) -> tuple[Mask, ...]:
        """(n,) bool for each modality: rows that have it."""
        return tuple(addresses != 0 for addresses in self.addresses)

    def take(self, at: Codes) -> Rows:
        """Select rows, in the order of `at`."""
        addresses = tuple(addresses[at] for addresses in self.addresses)
        return Rows(self.modalities, self.dims, self.dtypes, addresses, self.owners)

    def read(self, at: Codes) -> tuple[list[Floats], list[Mask]]:
        """Read vectors of rows: for each modality (len(at), dim) float32, zero where missing,
        and (len(at),) bool."""
        vectors, present = [], []
        for addresses, dim, dtype in zip(self.addresses, self.dims, self.dtypes, strict=True):
            block = np.empty((len(at), dim), dtype=np.float32)
            chosen = addresses[at]
            copy_rows(chosen, dtype == np.float16, block)
            vectors.append(block)
            present.append(chosen != 0)
        return vectors, present


@dataclass(frozen=True, eq=False)
class PagedRows(Rows):
    """Rows of a store in more shards than a process can map: those that are asked for are copied.

    places: of the rows, for each modality. shards: the shards that were read last.
    """

    places: tuple[Places, ...] = ()
    shards: MappedShards = field(kw_only=True, repr=False)

    @classmethod
    def of_places(cls, spaces: Sequence[Space], places: Sequence[Places]) -> PagedRows:
        """Rows of a store. places: of the rows, for each space."""
        return cls(
            tuple(space.modality for space in spaces),
            tuple(space.dim for space in spaces),
            tuple(np.dtype(space.card["dtype"]) for space in spaces),
            (),
            (),
            tuple(places),
            shards=MappedShards(spaces),
        )

    def __len__(self) -> int:
        return len(self.places[0][0])

    @property
    def present(self) -> tuple[Mask, ...]:
        """(n,) bool for each modality: rows that have it."""
        return tuple(shards >= 0 for shards, _ in self.places)

    def take(self, at: Codes) -> PagedRows:
        """Select rows, in the order of `at`."""
        return replace(self, places=tuple((shards[at], rows[at]) for shards, rows in self.places))

    def near(self, positions: Codes) -> tuple[Rows, Codes]:
        """Copies of some rows, and `positions` in them; see `Rows.near`."""
        positions = np.maximum(positions, -1)
        at, place = np.unique(positions, return_inverse=True)
        none = int(len(at) > 0 and at[0] < 0)
        at = at[none:]
        vectors = [self._copied(number, at) for number in range(len(self.modalities))]
        present = [mask[at] for mask in self.present]
        return Rows.of_arrays(self.modalities, vectors, present), place.reshape(
            positions.shape
        ) - none

    def read(self, at: Codes) -> tuple[list[Floats], list[Mask]]:
        """Read vectors of rows; see `Rows.read`."""
        rows, place = self.near(at)
        return rows.read(place)

    def _copied(self, number: int, at: Codes) -> Stored:
        """Stored vectors of one modality: (len(at), dim), zero where missing."""
        shards, rows = (places[at] for places in self.places[number])
        out = np.zeros((len(at), self.dims[number]), dtype=self.dtypes[number])
        if not len(at):
            return out
        target, width = out.__array_interface__["data"][0], out.strides[0]
        order = np.argsort(shards, kind="stable")
        used, starts = np.unique(shards[order], return_index=True)
        for shard, some in zip(used.tolist(), np.split(order, starts[1:]), strict=True):
            if shard < 0:
                continue
            addresses, _owner = self.shards.addresses(number, shard)
            for row, source in zip(some.tolist(), addresses[rows[some]].tolist(), strict=True):
                ctypes.memmove(target + row * width, source, width)
        return out


class MappedShards:
    """The shards of some spaces that were read last, memory-mapped; safe with threads."""

    def __init__(self, spaces: Sequence[Space]) -> None:
        self._spaces = tuple(spaces)
        self._lock = Lock()
        self._mapped: dict[tuple[int, int], tuple[Addresses, Any]] = {}

    def addresses(self, space: int, shard: int) -> tuple[Addresses, Any]:
        """The address of every row of a shard, and the owner of the memory."""
        key = (space, shard)
        with self._lock:
            found = self._mapped.pop(key, None)
        if found is None:
            one = self._spaces[space]
            found = _map_shard(one, one.entry.shards[shard])
        with self._lock:
            self._mapped[key] = found
            while len(self._mapped) > KEPT_MAPPED:
                self._mapped.pop(next(iter(self._mapped)))
        return found


def _check_places(
    space: Space, shards: npt.NDArray[np.int32], rows: npt.NDArray[np.int32], damaged: str
) -> None:
    sizes = np.array([entry.rows for entry in space.entry.shards], dtype=np.int64)
    there = shards >= 0
    if (shards[there] >= len(sizes)).any() or not (
        (rows[there] >= 0) & (rows[there] < sizes[shards[there]])
    ).all():
        raise StoreError(f"{damaged}: rows are named that {space.name} does not have")


def _map_shard(space: Space, entry: FileEntry) -> tuple[Addresses, Any]:
    """Map a shard. Returns the address of every row, and the owner of the memory."""
    with naming_file(space.files, entry.path):
        path = wherever_it_lies(
            entry.path, lambda now: checked_file(space.files, now, entry, REPAIR)
        )
        content = map_file(path)
        if len(content) != entry.bytes:
            raise pa.ArrowInvalid(f"{len(content)} bytes instead of {entry.bytes}")
        return _addresses(content, space, entry.rows)


def _addresses(content: memoryview, space: Space, rows: int) -> tuple[Addresses, Any]:
    file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)))
    check_vectors(file, rows, space.vector_type)
    schema = file.schema_arrow
    kind, dtype = schema.field("embedding").type, np.dtype(space.card["dtype"])
    pages = None
    if not kind.value_field.nullable and not schema.field("embedding").nullable:
        column = schema.names.index("embedding")
        pages = find_numbers(content, file.metadata, column, dtype)
    if pages is None or any(count % space.dim for _, count in pages):
        matrix = read_matrix(content, rows, space.vector_type)
        everything = np.ones(len(matrix), dtype=bool)
        return Rows.of_arrays((space.modality,), [matrix], [everything]).addresses[0], matrix
    first = np.frombuffer(content, dtype=np.uint8).__array_interface__["data"][0]
    width = np.uint64(space.dim * dtype.itemsize)
    runs = [
        np.uint64(first + start) + np.arange(count // space.dim, dtype=np.uint64) * width
        for start, count in pages
    ]
    at = np.concatenate([*runs, np.empty(0, dtype=np.uint64)])
    if len(at) != rows:
        raise pa.ArrowInvalid(f"{len(at)} vectors instead of {rows}")
    return at, content
