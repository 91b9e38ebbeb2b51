"""`Records` of a database's query.

A catalogue is read several times: for the types of ids, for the products, for photos by their row.
A query may give other rows, or another order, each time, and a transaction that stays open for the
hours of an embedding holds back the database's clean-up. So the query runs once, and its rows lie
in a temporary Parquet file without a name, which is gone when the process ends, however it ends.
"""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.data.readers.base import Fault, IdType, UnreadableValue
from vitrina.data.readers.parquet import ParquetRecords
from vitrina.database.base import QueryResult, listed_tables, select_of
from vitrina.database.open import open_database
from vitrina.database.url import DatabaseURL
from vitrina.disk import filling, nameless_file
from vitrina.errors import CatalogueError

_DESCRIPTORS = Path("/proc/self/fd")
_GROUP_BYTES = 1 << 26


class DatabaseRecords(ParquetRecords):
    """Rows of a query, from a temporary file.

    Attributes:
        file: the temporary Parquet file, which exists as long as these records.
    """

    def __init__(self, url: DatabaseURL, query: str | None) -> None:
        """Run the query. Raises CatalogueError if it fails, or if there is none."""
        database = open_database(url)
        if query is None:
            raise CatalogueError(
                f"{url}: say which rows with --query or --table; {listed_tables(database.tables())}"
            )
        files = ExitStack()
        # The file goes with these records.
        weakref.finalize(self, files.close)
        file = files.enter_context(nameless_file())
        with database.read(select_of(query)) as result:
            _write(result, file)
            self._numbers, self._documents = result.numbers, result.documents
        # By this path, every reader has a position of its own.
        self.file = _DESCRIPTORS / str(file.fileno())
        super().__init__(self.file, shown=str(url))

    def id_type(self, column: str, *, lists: bool = False) -> IdType | None:
        """Return the id type by schema; the values of `numeric` determine it."""
        return None if column in self._numbers else super().id_type(column, lists=lists)

    def holds_text(self, column: str) -> bool:
        """Return True if the schema allows text or lists."""
        return column not in self._numbers and super().holds_text(column)

    def rows(
        self, columns: Sequence[str], id_column: str | None = None
    ) -> Iterator[tuple[Any, ...] | Fault]:
        """Yield every row; decimal numbers are `Decimal`, JSON documents are parsed."""
        parsers: list[tuple[int, Callable[[str], Any]]] = []
        for place, column in enumerate(columns):
            if column in self._numbers:
                parsers.append((place, _number))
            elif column in self._documents:
                parsers.append((place, _document))
        for row in super().rows(columns, id_column):
            if parsers and not isinstance(row, Fault):
                values = list(row)
                for place, parse in parsers:
                    if isinstance(values[place], str):
                        values[place] = parse(values[place])
                row = tuple(values)
            yield row


def query_columns(url: DatabaseURL, query: str | None) -> list[str]:
    """Return the names of a query's columns, without its rows; none if there is no query."""
    if query is None:
        return []
    with open_database(url).read(f"SELECT * FROM ({select_of(query)}) AS q LIMIT 0") as result:
        return list(result.schema.names)


def _write(result: QueryResult, file: Any) -> None:
    with (
        filling(tempfile.gettempdir()),
        pq.ParquetWriter(file, result.schema, compression="lz4") as writer,
    ):
        waiting, size = [], 0
        for batch in result.batches:
            waiting.append(batch)
            size += batch.nbytes
            if size > _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting, result.schema))
                waiting, size = [], 0
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting, result.schema))
    file.flush()


def _number(text: str) -> Any:
    try:
        return Decimal(text)
    except InvalidOperation:
        return UnreadableValue(f"{text!r} is no number")


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as err:
        return UnreadableValue(f"broken JSON: {err}")
