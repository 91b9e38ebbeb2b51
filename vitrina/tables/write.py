"""Writing of tables as a stream, in memory that does not grow with their rows.

A file appears under its name when it is complete. A table of a database is written in one
transaction when all rows are there: until then they lie in a temporary file, so that neither the
database nor its locks wait for the work that makes them.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.atomic_files import replacing
from vitrina.database.base import TableName
from vitrina.database.open import open_database
from vitrina.database.url import DatabaseURL
from vitrina.disk import nameless_file
from vitrina.errors import VitrinaError
from vitrina.tables.csv_file import CsvFile
from vitrina.tables.destination import GZIP, Destination, TableFormat
from vitrina.tables.flat import FlatColumns
from vitrina.tables.jsonl_file import JsonlFile
from vitrina.tables.options import CsvOptions
from vitrina.types import CategoryId

Write = Callable[[pa.Table], None]
Names = Mapping[CategoryId, "str | None"]

_OPTIONS = CsvOptions()
_BATCH_ROWS = 1 << 14


class _Writer(Protocol):
    """A writer of one format. discard: drop it after a failure, without another."""

    def write(self, table: pa.Table) -> None: ...
    def close(self) -> None: ...
    def discard(self) -> None: ...


def write_table(
    batches: Iterable[pa.RecordBatch | pa.Table],
    schema: pa.Schema,
    destination: str | Path | Destination,
    options: CsvOptions = _OPTIONS,
    *,
    names: Names | None = None,
) -> int:
    """Write a table to a file or a database, and return its number of rows.

    Parameters
    ----------
    batches : iterable of RecordBatch or Table
        The rows, which are never in memory together.
    schema : Schema
        Of the batches.
    destination : str, Path or Destination
        A file that ends in one of `SUFFIXES`, or a database's URL.
    options : CsvOptions or OutputOptions
        Of CSV and databases, for a destination that is no `Destination`.
    names : mapping, optional
        Names of categories, added to flat formats beside ids that have no name.

    Raises
    ------
    OptionError
        For another end of the file's name.
    CatalogueError
        If the file or the table can't be written.
    """
    if not isinstance(destination, Destination):
        destination = Destination.of(destination, options)
    rows = 0
    with writing(destination, schema, names=names) as write:
        for batch in batches:
            table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
            write(table)
            rows += table.num_rows
    return rows


@contextmanager
def writing(
    destination: Destination,
    schema: pa.Schema,
    *,
    names: Names | None = None,
    guarded: bool = True,
) -> Iterator[Write]:
    """Yield a function that adds rows of a schema to a table; leaving the block completes it.

    names: see `write_table`. guarded: false for a CSV file that only programs read.
    """
    destination.check()
    with ExitStack() as stack:
        if not destination.is_flat:
            yield stack.enter_context(_file(destination, schema, guarded=guarded))
            return
        flat = FlatColumns(schema, names)
        opened = _rows_of_database if isinstance(destination.place, DatabaseURL) else _file
        write = stack.enter_context(opened(destination, flat.schema, guarded=guarded))
        yield lambda table: write(flat.convert(table))


@contextmanager
def _file(destination: Destination, schema: pa.Schema, *, guarded: bool) -> Iterator[Write]:
    with replacing(destination.path) as temporary, ExitStack() as stack:
        writer = _opened(destination, temporary, schema, stack, guarded=guarded)
        with _closing(writer):
            yield writer.write


@contextmanager
def _closing(writer: _Writer) -> Iterator[None]:
    """Complete a writer, or drop it if the block or its completion fails."""
    try:
        yield
        writer.close()
    except BaseException:
        # A disk that is full can't take the rest either.
        writer.discard()
        raise


def _opened(
    destination: Destination, path: Path, schema: pa.Schema, stack: ExitStack, *, guarded: bool
) -> _Writer:
    if destination.format is TableFormat.PARQUET:
        return _ParquetFile(path, schema)
    if destination.format is TableFormat.XLSX:
        from vitrina.tables.xlsx_file import XlsxFile

        return XlsxFile(path, schema, destination.path.stem)
    file: IO[bytes] = stack.enter_context(path.open("wb"))
    if destination.path.suffix.lower() == GZIP:
        # Without name and time: the same rows give the same bytes.
        zipped = gzip.GzipFile("", "wb", 6, file, 0)
        file = cast("IO[bytes]", stack.enter_context(zipped))
    if destination.format is TableFormat.JSONL:
        return JsonlFile(file, schema)
    return CsvFile(file, schema, destination.separator, guarded=guarded)


class _ParquetFile:
    def __init__(self, file: Path | IO[bytes], schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()

    def discard(self) -> None:
        with suppress(Exception):
            self._writer.close()


@contextmanager
def _rows_of_database(
    destination: Destination,
    schema: pa.Schema,
    *,
    guarded: bool,  # noqa: ARG001
) -> Iterator[Write]:
    table = TableName.parse(destination.table)
    database = open_database(destination.place)  # type: ignore[arg-type]
    database.check_table(table, destination.if_exists, schema)
    with nameless_file() as file:
        writer = _ParquetFile(file, schema)
        with _closing(writer):
            yield writer.write
        file.seek(0)
        try:
            with pq.ParquetFile(file) as rows:
                batches = rows.iter_batches(_BATCH_ROWS)
                database.write(table, destination.if_exists, schema, batches)
        except VitrinaError as err:
            # The work may have taken hours.
            raise type(err)(f"{err}; the rows are kept in {_kept(file)}") from err


def _kept(file: IO[bytes]) -> str:
    """Copy a nameless file to one with a name."""
    with tempfile.NamedTemporaryFile(prefix="vitrina-", suffix=".parquet", delete=False) as copy:
        file.seek(0)
        shutil.copyfileobj(file, copy)
    return copy.name
