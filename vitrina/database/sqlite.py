"""SQLite, by Python's own module.

The ADBC driver takes a column's type from its first thousand rows and fails at the first other
value, but SQLite's columns hold values of any type; so the types of all rows are asked for first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from vitrina.database.base import (
    QueryResult,
    TableName,
    check_columns,
    quoted,
    refuse_existing,
)
from vitrina.database.url import DatabaseURL
from vitrina.errors import CatalogueError
from vitrina.types import IfExists

_BATCH_ROWS = 4096
_BATCH_BYTES = 1 << 25
_BUSY_SECONDS = 30
_KINDS = ("integer", "real", "text", "blob")
_ALLOWED = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_TRANSACTION,
    }
)


class SQLite:
    """An SQLite database; see `Database`."""

    def __init__(self, url: DatabaseURL) -> None:
        self.url = url

    @contextmanager
    def read(self, query: str) -> Iterator[QueryResult]:
        """Run a query, on one snapshot; anything but a query is refused."""
        with self._connection("ro") as connection:
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            connection.set_authorizer(_allow)
            connection.execute("BEGIN")
            cursor = connection.execute(query)
            if cursor.description is None:
                raise CatalogueError(f"{self.url}: --query returns no columns; give a SELECT")
            names = [column[0] for column in cursor.description]
            kinds = _kinds(connection, query, len(names))
            types, converters = zip(*map(_type_of, kinds), strict=True)
            schema = pa.schema(list(zip(names, types, strict=True)))
            yield QueryResult(schema, _batches(cursor, schema, converters))

    def tables(self) -> list[str]:
        """Names of tables and views."""
        with self._connection("ro") as connection:
            rows = connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "
                "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
            )
            return [name if _is_plain(name) else quoted(name) for (name,) in rows]

    def check_table(self, table: TableName, if_exists: IfExists, schema: pa.Schema) -> None:
        """Check the existence and the columns of a table that is to be written."""
        if table.schema:
            raise CatalogueError(f"{self.url}: SQLite has no schemas; give --table {table.name}")
        if not self.url.path.parent.is_dir():
            raise CatalogueError(f"{self.url}: there is no directory {self.url.path.parent}")
        if not self.url.path.exists():
            return
        with self._connection("rw") as connection:
            self._check(connection, table, if_exists, schema)

    def write(
        self,
        table: TableName,
        if_exists: IfExists,
        schema: pa.Schema,
        batches: Iterable[pa.RecordBatch],
    ) -> None:
        """Write a table in one transaction."""
        new = not self.url.path.exists()
        try:
            with self._connection("rwc") as connection:
                connection.execute("BEGIN IMMEDIATE")
                existing = self._check(connection, table, if_exists, schema)
                if existing and if_exists is IfExists.REPLACE:
                    connection.execute(f"DROP TABLE {table.quoted}")
                if not existing or if_exists is IfExists.REPLACE:
                    columns = [f"{quoted(one.name)} {_declared(one.type)}" for one in schema]
                    connection.execute(f"CREATE TABLE {table.quoted} ({', '.join(columns)})")
                names = ", ".join(map(quoted, schema.names))
                places = ", ".join("?" * len(schema.names))
                insert = f"INSERT INTO {table.quoted} ({names}) VALUES ({places})"
                for batch in batches:
                    connection.executemany(insert, zip(*map(_values, batch.columns), strict=True))
                connection.execute("COMMIT")
        except BaseException:
            if new:
                self.url.path.unlink(missing_ok=True)
            raise

    def _check(
        self,
        connection: sqlite3.Connection,
        table: TableName,
        if_exists: IfExists,
        schema: pa.Schema,
    ) -> list[str]:
        rows = connection.execute("SELECT name FROM pragma_table_info(?)", [table.name])
        existing = [name for (name,) in rows]
        if existing and if_exists is IfExists.FAIL:
            raise refuse_existing(self.url, table)
        if existing and if_exists is IfExists.APPEND:
            check_columns(self.url, table, existing, schema)
        return existing

    @contextmanager
    def _connection(self, mode: str) -> Iterator[sqlite3.Connection]:
        """Open the file; what is not committed in the block is rolled back."""
        path = self.url.path
        if mode != "rwc" and not path.is_file():
            raise CatalogueError(f"{self.url}: there is no such file")
        try:
            with closing(
                sqlite3.connect(
                    f"file:{quote(str(path.absolute()))}?mode={mode}",
                    uri=True,
                    isolation_level=None,
                    timeout=_BUSY_SECONDS,
                )
            ) as connection:
                yield connection
        except (sqlite3.Error, sqlite3.Warning) as err:
            reason = str(err)
            if reason in ("not authorized", "prohibited"):
                reason = "--query may only read: give a SELECT"
            raise CatalogueError(f"{self.url}: {reason}") from None


def _allow(action: int, *_: Any) -> int:
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _is_plain(name: str) -> bool:
    return name.isidentifier()


def _kinds(connection: sqlite3.Connection, query: str, width: int) -> list[frozenset[str]]:
    """Return the types of values that each column of a query holds."""
    names = [f"c{n}" for n in range(width)]
    asked = ", ".join(f"max(typeof({name}) = '{kind}')" for name in names for kind in _KINDS)
    query = f"WITH q({', '.join(names)}) AS ({query}) SELECT {asked} FROM q"
    found = iter(connection.execute(query).fetchone())
    return [frozenset(kind for kind in _KINDS if next(found)) for _ in names]


def _type_of(kinds: frozenset[str]) -> tuple[pa.DataType, Callable[[Any], Any] | None]:
    """Return the Arrow type of a column, and the conversion of its values, if any."""
    if not kinds:
        return pa.null(), None
    if kinds == {"integer"}:
        return pa.int64(), None
    if kinds <= {"integer", "real"}:
        return pa.float64(), float
    if kinds == {"blob"}:
        return pa.binary(), None
    return pa.string(), None if kinds == {"text"} else _text


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _batches(
    cursor: sqlite3.Cursor, schema: pa.Schema, converters: Sequence[Callable[[Any], Any] | None]
) -> Iterator[pa.RecordBatch]:
    rows: list[tuple[Any, ...]] = []
    size = 0
    for row in cursor:
        rows.append(row)
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(rows) == _BATCH_ROWS or size > _BATCH_BYTES:
            yield _batch(rows, schema, converters)
            rows, size = [], 0
    if rows:
        yield _batch(rows, schema, converters)


def _batch(
    rows: list[tuple[Any, ...]],
    schema: pa.Schema,
    converters: Sequence[Callable[[Any], Any] | None],
) -> pa.RecordBatch:
    columns = []
    for values, kind, convert in zip(
        zip(*rows, strict=True), schema.types, converters, strict=True
    ):
        if convert is not None:
            values = tuple(None if one is None else convert(one) for one in values)
        columns.append(pa.array(values, kind))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _declared(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    if pa.types.is_integer(kind):
        return "INTEGER"
    if pa.types.is_floating(kind):
        return "REAL"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP"
    return "BLOB" if pa.types.is_binary(kind) else "TEXT"


def _values(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if pa.types.is_temporal(column.type):
        return [None if one is None else one.isoformat() for one in values]
    if column.type == pa.float32():
        # The shortest number that is the same float32: 0.1, not 0.10000000149011612.
        texts = column.cast(pa.string()).to_pylist()
        return [None if one is None else float(one) for one in texts]
    return values
