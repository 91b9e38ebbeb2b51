"""Opening of a database by its URL."""

from __future__ import annotations

from vitrina.database.base import Database
from vitrina.database.url import DatabaseKind, DatabaseURL


def open_database(url: DatabaseURL) -> Database:
    """Return the database at a URL; nothing is connected yet.

    Raises MissingPackageError if its driver is not installed.
    """
    if url.kind is DatabaseKind.SQLITE:
        from vitrina.database.sqlite import SQLite

        return SQLite(url)
    from vitrina.database.postgresql import PostgreSQL

    return PostgreSQL(url)
