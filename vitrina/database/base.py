"""The interface of a database, and names of tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from vitrina.errors import CatalogueError, OptionError
from vitrina.types import IfExists

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')
_SHOWN_TABLES = 20


@dataclass(frozen=True)
class TableName:
    """A table's name. schema: the namespace, "" for the default one."""

    name: str
    schema: str = ""

    @classmethod
    def parse(cls, text: str, option: str = "table") -> TableName:
        """Parse `table`, `schema.table` or `"my schema"."my.table"`, exactly as in the database.

        option: the option that the text comes from. Raises OptionError for anything else.
        """
        text = text.strip()
        parts, at, ended = [], 0, False
        while found := _PART.match(text, at):
            parts.append(found[1].replace('""', '"') if found[1] else found[2].strip())
            at = found.end()
            ended = text[at : at + 1] != "."
            if ended:
                break
            at += 1
        if (
            not ended
            or at < len(text)
            or not all(parts)
            or not 1 <= len(parts) <= 2
            or "\0" in text
        ):
            raise OptionError(option, f"must be a table's name or SCHEMA.TABLE, not {text!r}")
        return cls(parts[-1], parts[0] if len(parts) == 2 else "")

    @property
    def quoted(self) -> str:
        """The name in SQL."""
        return f"{quoted(self.schema)}.{quoted(self.name)}" if self.schema else quoted(self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, eq=False)
class QueryResult:
    """The rows of a query, as a stream.

    Attributes:
        schema: of the batches, in types that Parquet has.
        batches: of bounded size; each row once.
        numbers: columns of text that holds decimal numbers.
        documents: columns of text that holds JSON.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    numbers: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()


class Database(Protocol):
    """A database. Every method connects anew, and raises CatalogueError if the database fails."""

    def read(self, query: str) -> AbstractContextManager[QueryResult]:
        """Run a query, in one transaction that can only read."""

    def tables(self) -> list[str]:
        """Names of tables and views, as `TableName.parse` reads them."""

    def check_table(self, table: TableName, if_exists: IfExists, schema: pa.Schema) -> None:
        """Check that `write` can write; for a check before any work."""

    def write(
        self,
        table: TableName,
        if_exists: IfExists,
        schema: pa.Schema,
        batches: Iterable[pa.RecordBatch],
    ) -> None:
        """Write a table in one transaction, so that a failure leaves the database as it was."""


def quoted(name: str) -> str:
    """Quote an SQL identifier."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def select_of(query: str) -> str:
    """Return the SQL of `--query`, which is a query or the name of a table.

    Raises OptionError for an empty text.
    """
    text = query.strip().rstrip(";").strip()
    if not text:
        raise OptionError("query", "must be an SQL query or the name of a table")
    if not re.search(r"[\s(]", re.sub(r'"[^"]*"', "x", text)):
        return f"SELECT * FROM {TableName.parse(text, 'query').quoted}"
    # A comment at the end must not swallow what is put behind the query.
    return f"{text}\n"


def refuse_existing(place: object, table: TableName) -> CatalogueError:
    """Build the error for a table that exists already."""
    return CatalogueError(
        f"{place}: the table {table} exists; say --if-exists append or --if-exists replace, or "
        "give another --table"
    )


def check_columns(place: object, table: TableName, existing: Iterable[str], new: pa.Schema) -> None:
    """Raise CatalogueError if rows can't be appended because the table lacks a column."""
    there = list(existing)
    if missing := [name for name in new.names if name not in there]:
        raise CatalogueError(
            f"{place}: the table {table} has no column {', '.join(missing)}, so nothing can be "
            "appended; add it, or say --if-exists replace"
        )


def listed_tables(names: list[str]) -> str:
    """Return the names of a database's tables as a phrase."""
    if not names:
        return "it has no table"
    more = f" and {len(names) - _SHOWN_TABLES} more" if len(names) > _SHOWN_TABLES else ""
    return f"there are {', '.join(names[:_SHOWN_TABLES])}{more}"
