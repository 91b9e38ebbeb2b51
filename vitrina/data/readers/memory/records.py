"""`Records` of tables in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Protocol

import pyarrow as pa

from vitrina.data.arrow_types import holds_photos
from vitrina.data.location import MemoryTableName
from vitrina.data.photo_values import is_photo
from vitrina.data.readers.arrow_columns import declared_id_type, may_hold_text
from vitrina.data.readers.arrow_values import rows_of, values_of
from vitrina.data.readers.base import Fault, IdType
from vitrina.data.readers.memory.tables import BATCH_ROWS, MemoryTable
from vitrina.data.readers.memory.values import python_value
from vitrina.data.readers.text_tables import SAMPLE_ROWS
from vitrina.errors import CatalogueError

_PHOTO_ROWS = 16
"""Rows of photos in memory at once."""


class InMemory(Protocol):
    """Records of a table in memory: what they have beyond `Records`."""

    @property
    def path(self) -> MemoryTableName:
        """The table's name."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns known so far."""

    def label(self, row: int) -> str:
        """Label of a row, counted from 1; "" if it has none beside its number."""

    def values(self, column: str, start: int) -> Iterator[Any]:
        """Yield the objects of a column from a row, counted from 1, unconverted."""


class MemoryRecords:
    """Rows of a DataFrame, an Arrow table or a dataset."""

    first_row = 1
    typed = True
    names_grow = False
    notes: Sequence[str] = ()

    def __init__(self, table: MemoryTable) -> None:
        self._table = table
        self.path = table.name
        self.names = tuple(table.names)

    def id_type(self, column: str, *, lists: bool = False) -> IdType | None:
        """Return the id type by the column's type; None if only the values determine it."""
        if column in self._table.raw:
            return None
        return declared_id_type(self.path, column, self._types(column), lists=lists)

    def holds_text(self, column: str) -> bool:
        """Return True if the column's type allows text or lists."""
        return column in self._table.raw or any(map(may_hold_text, self._types(column)))

    def holds_bytes(self, column: str) -> bool:
        """Return True for binary data, records of {bytes, path}, images, or lists of these."""
        if column in self._table.raw:
            return any(map(is_photo, islice(self._table.raw[column], SAMPLE_ROWS)))
        return holds_photos(next(iter(self._types(column)), pa.null()))

    def rows(
        self,
        columns: Sequence[str],
        id_column: str | None = None,  # noqa: ARG002
    ) -> Iterator[tuple[Any, ...] | Fault]:
        """Yield every row, one batch in memory at a time. Raises CatalogueError."""
        raw = self._table.raw
        there = [name for name in dict.fromkeys(columns) if name not in raw]
        objects = [name for name in dict.fromkeys(columns) if name in raw]
        start = 0
        with _read_errors(self.path):
            for batch in self._table.batches(there, BATCH_ROWS):
                if not columns:
                    yield from [()] * batch.num_rows
                elif not objects:
                    yield from rows_of(batch, columns)
                elif batch.num_rows:
                    stop = start + batch.num_rows
                    read = zip(*rows_of(batch, there), strict=True) if there else ()
                    values: dict[str, Sequence[Any]] = dict(zip(there, read, strict=True))
                    for name in objects:
                        values[name] = [python_value(name, one) for one in raw[name][start:stop]]
                    yield from zip(*(values[name] for name in columns), strict=True)
                start += batch.num_rows

    def label(self, row: int) -> str:
        """Label of a row in a DataFrame's own index."""
        return self._table.label(row)

    def values(self, column: str, start: int) -> Iterator[Any]:
        """Yield the objects of a column from a row, counted from 1."""
        if column in self._table.raw:
            yield from self._table.raw[column][start - 1 :]
            return
        with _read_errors(self.path):
            for batch in self._table.batches([column], _PHOTO_ROWS, start - 1):
                yield from values_of(column, batch.column(0))

    def _types(self, column: str) -> list[pa.DataType]:
        kind = self._table.fields[column]
        return [] if pa.types.is_null(kind) else [kind]


class DictRecords:
    """Rows that are dictionaries, in any iterable that can be read again."""

    first_row = 1
    typed = True
    names_grow = True
    notes: Sequence[str] = ()

    def __init__(self, path: MemoryTableName, rows: Iterable[Any]) -> None:
        """Collect the keys of a sample. Raises CatalogueError if it holds no dictionary."""
        self.path, self._rows = path, rows
        self._sample = list(islice(rows, SAMPLE_ROWS))
        found = [row for row in self._sample if isinstance(row, Mapping)]
        if self._sample and not found:
            kind = type(self._sample[0]).__name__
            raise CatalogueError(
                f"{path}: rows must be dictionaries, but the first is a {kind}; give a list of "
                "dictionaries, a pandas or Polars DataFrame, an Arrow table, or a path"
            )
        self._keys = dict.fromkeys(chain.from_iterable(found))

    @property
    def names(self) -> tuple[str, ...]:
        """Keys seen so far, in order of first occurrence."""
        return tuple(self._keys)

    def id_type(self, column: str, *, lists: bool = False) -> None:
        """Return None: only the values determine it."""

    def holds_text(self, column: str) -> bool:  # noqa: ARG002
        """Return True: any value may be text."""
        return True

    def holds_bytes(self, column: str) -> bool:
        """Return True if a row of the sample has a photo there, and not only its name."""
        rows = (row for row in self._sample if isinstance(row, Mapping))
        return any(is_photo(row.get(column)) for row in rows)

    def rows(
        self,
        columns: Sequence[str],
        id_column: str | None = None,  # noqa: ARG002
    ) -> Iterator[tuple[Any, ...] | Fault]:
        """Yield every dictionary as a row; None for a key that it lacks."""
        keys = self._keys
        for row in self._rows:
            if not isinstance(row, Mapping):
                yield Fault(f"not a dictionary but a {type(row).__name__}")
                continue
            if not row.keys() <= keys.keys():
                keys.update(dict.fromkeys(row))
            yield tuple(python_value(name, row.get(name)) for name in columns)

    def label(self, row: int) -> str:  # noqa: ARG002
        """Rows have no labels."""
        return ""

    def values(self, column: str, start: int) -> Iterator[Any]:
        """Yield the objects of a key from a row, counted from 1."""
        rows = self._rows[start - 1 :] if isinstance(self._rows, list) else self._rows
        if rows is self._rows:
            rows = islice(rows, start - 1, None)
        for row in rows:
            yield row.get(column) if isinstance(row, Mapping) else None


@contextmanager
def _read_errors(name: MemoryTableName) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as err:
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise CatalogueError(f"{name}: can't be read: {reason}") from err
