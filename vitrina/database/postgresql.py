"""PostgreSQL, by its ADBC driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from vitrina.database.arrow_types import is_json, is_numeric, needs_text, storage_of, stored
from vitrina.database.base import (
    QueryResult,
    TableName,
    check_columns,
    quoted,
    refuse_existing,
)
from vitrina.database.url import DatabaseURL
from vitrina.errors import CatalogueError
from vitrina.optional import needed_for
from vitrina.types import IfExists

_STAGE = "vitrina_stage"
_READ_ONLY = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_TABLES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), pg_table_is_visible(c.oid),
    quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND n.nspname NOT LIKE 'pg\\_%'
    AND n.nspname <> 'information_schema' ORDER BY 1"""
_COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
_MAY_INSERT = "SELECT has_table_privilege(to_regclass($1), 'INSERT')"
_MAY_CREATE = "SELECT has_schema_privilege(coalesce(nullif($1, ''), current_schema()), 'CREATE')"


class PostgreSQL:
    """A PostgreSQL database; see `Database`."""

    def __init__(self, url: DatabaseURL) -> None:
        """Raises MissingPackageError without the driver. Nothing is connected yet."""
        with needed_for("a PostgreSQL database"):
            # Only this driver is loaded, whatever the URL says.
            import adbc_driver_postgresql.dbapi as driver
        self.url = url
        self._driver: Any = driver

    @contextmanager
    def read(self, query: str) -> Iterator[QueryResult]:
        """Run a query, in one transaction that can only read and sees one moment."""
        with self._cursor() as (_, cursor):
            cursor.execute(_READ_ONLY)
            declared = cursor.adbc_execute_schema(query)
            if not declared.names:
                # It changes something, or fails for a reason of its own.
                cursor.execute(query)
                raise CatalogueError(f"{self.url}: --query returns no columns; give a SELECT")
            if any(map(needs_text, declared)):
                query = _decoded(query, declared)
            cursor.execute(query)
            reader = cursor.fetch_record_batch()
            fields = list(reader.schema)
            schema = pa.schema([(one.name, storage_of(one.type)) for one in fields])
            yield QueryResult(
                schema,
                (
                    pa.RecordBatch.from_arrays([*map(stored, batch.columns)], schema=schema)
                    for batch in reader
                ),
                numbers=frozenset(one.name for one in fields if is_numeric(one.type)),
                documents=frozenset(one.name for one in fields if is_json(one.type)),
            )

    def tables(self) -> list[str]:
        """Names of tables and views that are no part of the system."""
        with self._cursor() as (_, cursor):
            cursor.execute(_TABLES)
            return [short if visible else full for full, visible, short in cursor.fetchall()]

    def check_table(self, table: TableName, if_exists: IfExists, schema: pa.Schema) -> None:
        """Check existence, columns and privileges of a table that is to be written."""
        with self._cursor() as (_, cursor):
            cursor.execute(_READ_ONLY)
            existing = _columns(cursor, table)
            if existing and if_exists is IfExists.FAIL:
                raise refuse_existing(self.url, table)
            if existing and if_exists is IfExists.APPEND:
                check_columns(self.url, table, existing, schema)
                if not _one(cursor, _MAY_INSERT, table.quoted):
                    raise CatalogueError(f"{self.url}: no right to insert into the table {table}")
            elif not _one(cursor, _MAY_CREATE, table.schema):
                where = f"schema {table.schema}" if table.schema else "current schema"
                raise CatalogueError(f"{self.url}: no right to create a table in the {where}")

    def write(
        self,
        table: TableName,
        if_exists: IfExists,
        schema: pa.Schema,
        batches: Iterable[pa.RecordBatch],
    ) -> None:
        """Write a table in one transaction."""
        with self._cursor() as (connection, cursor):
            existing = _columns(cursor, table)
            if existing and if_exists is IfExists.FAIL:
                raise refuse_existing(self.url, table)
            if existing and if_exists is IfExists.REPLACE:
                cursor.execute(f"DROP TABLE {table.quoted}")
            reader = pa.RecordBatchReader.from_batches(schema, map(_without_zeros, batches))
            if existing and if_exists is IfExists.APPEND:
                check_columns(self.url, table, existing, schema)
                # The database converts to the types of its own columns.
                cursor.adbc_ingest(_STAGE, reader, mode="create", temporary=True)
                names = ", ".join(map(quoted, schema.names))
                stage = TableName(_STAGE, "pg_temp").quoted
                cursor.execute(f"INSERT INTO {table.quoted} ({names}) SELECT {names} FROM {stage}")
            else:
                cursor.adbc_ingest(
                    table.name, reader, mode="create", db_schema_name=table.schema or None
                )
            connection.commit()

    @contextmanager
    def _cursor(self) -> Iterator[tuple[Any, Any]]:
        """Connect; what is not committed in the block is rolled back."""
        with (
            self._errors(),
            self._driver.connect(self.url.conninfo) as connection,
            connection.cursor() as cursor,
        ):
            yield connection, cursor

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert the driver's errors, without the query and without any secret."""
        try:
            yield
        except (self._driver.Error, pa.ArrowException, OSError) as err:
            if isinstance(err, OSError) and err.filename:
                raise
            # The driver's message holds the whole query, and may hold a secret.
            raise CatalogueError(f"{self.url}: {self.url.redact(_reason(err))}") from None


def _reason(err: Exception) -> str:
    """The database's own words of a driver's error: "relation x does not exist"."""
    text = str(err).split("\n\nQuery was:")[0]
    for start in ("ERROR:", "FATAL:"):
        text = text.rpartition(start)[2]
    text = text.partition("[libpq] ")[2] or text
    text = text.partition("\n. SQLSTATE")[0].partition("\nLINE ")[0]
    return " ".join(text.split())


def _columns(cursor: Any, table: TableName) -> list[str]:
    """Columns of a table; none if there is no such table."""
    cursor.execute(_COLUMNS, [table.quoted])
    return [name for (name,) in cursor.fetchall()]


def _one(cursor: Any, query: str, value: str) -> Any:
    cursor.execute(query, [value])
    return cursor.fetchone()[0]


def _decoded(query: str, declared: pa.Schema) -> str:
    """Return a query whose columns the driver can decode."""
    columns = [
        f"q.{quoted(one.name)}::text AS {quoted(one.name)}"
        if needs_text(one)
        else f"q.{quoted(one.name)}"
        for one in declared
    ]
    return f"WITH q AS ({query}) SELECT {', '.join(columns)} FROM q"


def _without_zeros(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch without zero characters, which PostgreSQL's text can't hold."""
    import pyarrow.compute as pc

    columns = [
        pc.replace_substring(column, "\0", "")
        if pa.types.is_string(column.type) and pc.any(pc.match_substring(column, "\0")).as_py()
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
