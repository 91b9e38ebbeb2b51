"""Tables in memory as batches of Arrow columns, and of columns that only Python can hold.

No table is copied whole: an Arrow table is sliced, and a pandas column that is no Arrow column
already is converted a batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from vitrina.data.location import MemoryTableName
from vitrina.data.readers.memory.values import python_value

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset as pa_dataset

BATCH_ROWS = 4096


class MemoryTable(Protocol):
    """A table in memory that can be read any number of times, in one order."""

    @property
    def name(self) -> MemoryTableName:
        """Its name for messages."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns; some may be there twice."""

    @property
    def fields(self) -> Mapping[str, pa.DataType]:
        """Types of the columns that are Arrow's."""

    @property
    def raw(self) -> Mapping[str, Sequence[Any]]:
        """The other columns, by name: Python objects in the order of the rows."""

    def batches(
        self, columns: Sequence[str], rows: int = BATCH_ROWS, start: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Yield batches of Arrow columns from row `start`, counted from 0; at most `rows` each."""

    def label(self, row: int) -> str:
        """Label of a row, counted from 1, beside its number; "" if it has none."""


@dataclass(frozen=True)
class ArrowTable:
    """An Arrow table. raw: further columns that Arrow can't hold."""

    name: MemoryTableName
    table: pa.Table
    raw: Mapping[str, Sequence[Any]]

    @classmethod
    def of(
        cls, name: MemoryTableName, table: pa.Table, raw: Mapping[str, Sequence[Any]] | None = None
    ) -> ArrowTable:
        """Open a table. Values of dictionaries that Arrow can't take are converted, once."""
        for at, kind in enumerate(table.schema.types):
            if pa.types.is_dictionary(kind) and _plain_type(kind) != kind.value_type:
                chunks = [
                    pa.DictionaryArray.from_arrays(
                        one.indices, one.dictionary.cast(_plain_type(kind))
                    )
                    for one in table.column(at).chunks
                ]
                column = pa.chunked_array(chunks, pa.dictionary(kind.index_type, _plain_type(kind)))
                table = table.set_column(at, table.column_names[at], column)
        return cls(name, table, raw or {})

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns."""
        return (*self.table.column_names, *self.raw)

    @property
    def fields(self) -> Mapping[str, pa.DataType]:
        """Types of the Arrow columns."""
        return dict(zip(self.table.column_names, self.table.schema.types, strict=True))

    def batches(
        self, columns: Sequence[str], rows: int = BATCH_ROWS, start: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Yield slices of the table."""
        at = [self.table.column_names.index(name) for name in columns]
        if not at:
            yield from _empty_batches(self.table.num_rows - start, rows)
            return
        table = self.table.select(at)
        yield from map(_readable, table.slice(start).to_batches(max_chunksize=rows))

    def label(self, row: int) -> str:  # noqa: ARG002
        """Rows have no labels."""
        return ""


@dataclass(frozen=True)
class DatasetTable:
    """An Arrow dataset, which is read from its files each time."""

    name: MemoryTableName
    dataset: pa_dataset.Dataset
    raw: Mapping[str, Sequence[Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns."""
        return tuple(self.dataset.schema.names)

    @property
    def fields(self) -> Mapping[str, pa.DataType]:
        """Types of its columns."""
        schema = self.dataset.schema
        return dict(zip(schema.names, schema.types, strict=True))

    def batches(
        self, columns: Sequence[str], rows: int = BATCH_ROWS, start: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Read the dataset from its first row, and yield what comes after `start`."""
        for batch in self.dataset.to_batches(columns=list(columns), batch_size=rows):
            skipped = min(start, batch.num_rows)
            start -= skipped
            rest = batch.slice(skipped)
            for at in range(0, rest.num_rows, rows):
                yield _readable(rest.slice(at, rows))

    def label(self, row: int) -> str:  # noqa: ARG002
        """Rows have no labels."""
        return ""


class PandasTable:
    """A pandas DataFrame; named levels of its index are columns too, as in a Parquet file."""

    def __init__(self, name: MemoryTableName, frame: pd.DataFrame) -> None:
        """Find the type of each column as pandas does when it writes Parquet."""
        self.name = name
        self._frame = frame
        index = frame.index
        levels = [
            (str(level), index.get_level_values(at))
            for at, level in enumerate(index.names)
            if level is not None and level not in frame.columns
        ]
        columns = [(str(label), frame.iloc[:, at]) for at, label in enumerate(frame.columns)]
        self._columns: dict[str, Any] = dict((*columns, *levels))
        self.names = (*(column for column, _ in columns), *(column for column, _ in levels))
        self._whole: dict[str, pa.ChunkedArray] = {}
        self.raw: dict[str, Sequence[Any]] = {}
        self.fields: dict[str, pa.DataType] = {}
        for column, values in self._columns.items():
            kind = self._type_of(column, values)
            if kind is None:
                self.raw[column] = values.array
            else:
                self.fields[column] = kind

    def _type_of(self, column: str, values: Any) -> pa.DataType | None:
        """Type of a column; None if Arrow can't hold its values."""
        if values.dtype == object:
            with suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
                kind = pa.infer_type(values.array, from_pandas=True)
                for start in range(0, len(values), BATCH_ROWS):
                    self._slice(values, kind, start, start + BATCH_ROWS)
                return kind
            return None
        with suppress(pa.ArrowException, TypeError, ValueError, OverflowError, NotImplementedError):
            # Of most dtypes this copies nothing, or one column that lacks a mask of missing values.
            whole = pa.array(values, from_pandas=True)
            chunks = whole if isinstance(whole, pa.ChunkedArray) else pa.chunked_array([whole])
            self._whole[column] = chunks
            return chunks.type
        return None

    @staticmethod
    def _slice(values: Any, kind: pa.DataType, start: int, stop: int) -> pa.Array:
        return pa.array(values.array[start:stop], type=kind, from_pandas=True)

    def batches(
        self, columns: Sequence[str], rows: int = BATCH_ROWS, start: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """Convert the rows, batch by batch."""
        count = len(self._frame)
        if not columns:
            yield from _empty_batches(count - start, rows)
            return
        for at in range(start, count, rows):
            arrays = [
                _joined(self._whole[name].slice(at, rows))
                if name in self._whole
                else self._slice(self._columns[name], self.fields[name], at, at + rows)
                for name in columns
            ]
            yield _readable(pa.RecordBatch.from_arrays(arrays, list(columns)))

    def label(self, row: int) -> str:
        """Label of a row in an index other than 0, 1, 2 and so on."""
        index = self._frame.index
        if type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1:
            return ""
        label = index[row - 1]
        # As plain text: 7, not np.int64(7).
        plain = python_value("index", label)
        return f"index {tuple(plain) if isinstance(label, tuple) else plain!r}"


def _joined(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _empty_batches(count: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Batches without columns, whose rows can still be counted."""
    for at in range(0, count, rows):
        holder = pa.nulls(min(rows, count - at))
        yield pa.RecordBatch.from_arrays([holder], [""]).select([])


def _readable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch whose columns are decoded to the types that Parquet has.

    A slice of a dictionary has the whole dictionary, and one of a view all its buffers; both would
    be counted, and converted, for each batch.
    """
    arrays = [
        column if (kind := _plain_type(column.type)) == column.type else column.cast(kind)
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names) if arrays else batch


def _plain_type(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if types.is_string_view(kind):
        return pa.large_string()
    if types.is_binary_view(kind):
        return pa.large_binary()
    if types.is_list_view(kind) or types.is_large_list_view(kind) or types.is_large_list(kind):
        return pa.large_list(_plain_type(kind.value_type))
    if types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([(one.name, _plain_type(one.type)) for one in kind])
    return kind
