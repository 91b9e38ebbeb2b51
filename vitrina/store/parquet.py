"""Opening and validation of a snapshot's Parquet files.

A file may have been retired since the snapshot. Columns are checked before any of them is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import StoreError, VitrinaError
from vitrina.parquet.footer import footer_of
from vitrina.store.damage import blamed_on
from vitrina.store.entries import FileEntry
from vitrina.store.files import Files
from vitrina.store.integrity import check_content, checked_file
from vitrina.store.layout import retired

T = TypeVar("T")

REPAIR = "run `vitrina verify STORE --repair`, then embed again: only what it held is redone"

IDS = (pa.int64(), pa.string())
"""The types of a column of ids."""


class Access(Enum):
    """Access pattern of an opened file; it matters for files in remote storage."""

    WHOLE = "all of it is read once"
    PARTS = "a small part of it is read"
    OFTEN = "it is read again and again"


@dataclass(frozen=True)
class Column:
    """Requirements on a column. types: the allowed types. nulls: True if values may be null.
    needed: True if the column is required. least, most: inclusive bounds of integers."""

    types: tuple[pa.DataType, ...]
    nulls: bool = True
    needed: bool = True
    least: int | None = None
    most: int | None = None


Kind = Mapping[str, Column]
"""Column requirements of a table, by name. A table may have other columns."""


def kind_of_schema(schema: pa.Schema, ids: Sequence[str] = ()) -> dict[str, Column]:
    """Column requirements of tables with a schema. ids: columns of ids, which are integers or
    strings."""
    return {
        field.name: Column(IDS if field.name in ids else (field.type,), field.nullable)
        for field in schema
    }


def check_schema(schema: pa.Schema, kind: Kind) -> None:
    """Raise pa.ArrowInvalid if a table's columns or their types do not meet the requirements."""
    names = schema.names
    for name, column in kind.items():
        if names.count(name) != 1:
            if column.needed or name in names:
                raise pa.ArrowInvalid(f"its columns are {', '.join(names)}")
        elif (found := schema.field(name).type) not in column.types:
            expected = " or ".join(map(str, column.types))
            raise pa.ArrowInvalid(f"its column {name} is {found}, not {expected}")


def check_columns(file: pq.ParquetFile, columns: Sequence[str]) -> None:
    """Raise pa.ArrowInvalid if a file lacks a requested column, which Arrow silently skips."""
    if missing := set(columns) - set(file.schema_arrow.names):
        raise pa.ArrowInvalid(f"it lacks the column {min(missing)}")


def check_values(table: pa.Table | pa.RecordBatch, kind: Kind) -> None:
    """Raise pa.ArrowInvalid for invalid values: nulls, broken UTF-8, numbers out of bounds. The
    types must have been checked."""
    table.validate(full=True)
    for name in table.schema.names:
        expected = kind.get(name)
        if expected is None:
            continue
        column = table.column(name)
        if not expected.nulls and _lacks_values(column):
            raise pa.ArrowInvalid(f"its column {name} lacks values")
        if expected.least is not None or expected.most is not None:
            _check_bounds(name, column, expected)


def _lacks_values(column: pa.Array | pa.ChunkedArray) -> bool:
    """True if there are nulls, or nulls inside fixed-size lists."""
    if not pa.types.is_fixed_size_list(column.type):
        return bool(column.null_count)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return any(chunk.null_count or chunk.flatten().null_count for chunk in chunks)


def _check_bounds(name: str, column: pa.Array | pa.ChunkedArray, expected: Column) -> None:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    for chunk in chunks:
        # Also for lists of numbers; importing pyarrow.compute for this takes longer.
        flat = chunk.flatten() if pa.types.is_fixed_size_list(chunk.type) else chunk
        numbers = flat.drop_null().cast(pa.int64()).to_numpy(zero_copy_only=False)
        if not len(numbers):
            continue
        low, high = int(numbers.min()), int(numbers.max())
        for number, beyond in (
            (low, expected.least is not None and low < expected.least),
            (high, expected.most is not None and high > expected.most),
        ):
            if beyond:
                raise pa.ArrowInvalid(f"its column {name} holds {number}, which is out of bounds")


def read_table_as(
    file: pq.ParquetFile,
    kind: Kind,
    columns: Sequence[str] | None = None,
    group: int | None = None,
) -> pa.Table:
    """Read and validate a Parquet file, or one row group of it.

    columns: those to read; all by default. Raises pa.ArrowException if it is invalid or damaged.
    """
    check_schema(file.schema_arrow, kind)
    check_columns(file, columns or ())
    if group is None:
        table, rows = file.read(columns=columns, use_threads=False), file.metadata.num_rows
    else:
        table = file.read_row_group(group, columns=columns, use_threads=False)
        rows = file.metadata.row_group(group).num_rows
    if table.num_rows != rows:
        raise pa.ArrowInvalid(f"{table.num_rows} rows instead of {rows}")
    check_values(table, kind)
    return table


def read_file_as(
    path: Path, kind: Kind, way_out: str, error: type[VitrinaError] = StoreError
) -> pa.Table:
    """Read and validate a Parquet file on the local disk.

    Raises `error`, naming the file and `way_out`, if it is invalid, damaged or missing.
    """
    with blamed_on(str(path), way_out, error), pa.memory_map(str(path)) as source:
        return read_table_as(pq.ParquetFile(source, page_checksum_verification=True), kind)


@contextmanager
def open_parquet(files: Files, entry: FileEntry, access: Access) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file of a snapshot for reading in a `with` block.

    Raises StoreError if it is missing, differs from its manifest entry, or proves damaged while it
    is read.
    """
    with open_source(files, entry, access) as source:
        file = pq.ParquetFile(source, page_checksum_verification=True)
        if file.metadata.num_rows != entry.rows:
            raise pa.ArrowInvalid(f"{file.metadata.num_rows} rows instead of {entry.rows}")
        yield file


@contextmanager
def open_source(files: Files, entry: FileEntry, access: Access) -> Iterator[pa.NativeFile]:
    """Open a Parquet file of a snapshot as raw bytes; otherwise like `open_parquet`."""
    with (
        naming_file(files, entry.path),
        wherever_it_lies(entry.path, lambda now: _open_as(files, now, entry, access)) as source,
    ):
        yield source


@contextmanager
def naming_file(files: Files, name: str) -> Iterator[None]:
    """Convert any failure to read a Parquet file of a snapshot to StoreError."""
    where = files.where(name)
    with blamed_on(where, REPAIR):
        try:
            yield
        except FileNotFoundError as err:
            raise StoreError(
                f"{where} is missing from the store; {REPAIR}; or, if another commit replaced it "
                "since this snapshot was opened, open the store again"
            ) from err


def wherever_it_lies(name: str, use: Callable[[str], T]) -> T:
    """Call `use` with the name of a snapshot's file, or with its retired name if a later commit
    replaced it: retired files are kept for a while."""
    try:
        return use(name)
    except FileNotFoundError:
        return use(retired(name))


def _open_as(files: Files, name: str, entry: FileEntry, access: Access) -> pa.NativeFile:
    if access is Access.OFTEN or not files.copies:
        return pa.memory_map(str(checked_file(files, name, entry, REPAIR)))
    if access is Access.PARTS:
        # Pages have checksums of their own; the file's checksum would need all of it.
        source = files.open_parts(name)
        footer_of(source)
        source.seek(0)
        return source
    content = files.open(name).read_buffer()
    check_content(content, files.where(name), entry, REPAIR)
    return pa.BufferReader(content)
