"""Selection of the reader for a file, by its content rather than its name alone."""

from __future__ import annotations

import re
from pathlib import Path

from vitrina.data.readers.base import Reader, Records, TableOptions
from vitrina.data.readers.columns import DEFAULT_ID, Needs
from vitrina.data.readers.csv_table import CsvRecords
from vitrina.data.readers.feed.encoding import read_head
from vitrina.data.readers.feed.prologue import is_feed
from vitrina.data.readers.json_table import JsonRecords
from vitrina.data.readers.parquet import ParquetRecords
from vitrina.data.readers.spreadsheets import OLE, SpreadsheetRecords, is_spreadsheet
from vitrina.data.readers.table import TableReader
from vitrina.data.readers.text_tables import open_bytes, open_text, read_errors
from vitrina.data.readers.webdataset import WebDatasetReader, webdataset_shards
from vitrina.database.url import DatabaseURL, is_database_url
from vitrina.errors import CatalogueError, OptionError, wrong_usage
from vitrina.optional import needed_for

_HEAD = 4096
_URL_AS_PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
# Common files that are no catalogue, by their first characters.
_STRANGERS = {
    "PK\x03\x04": "a zip archive and no spreadsheet; unpack it, or give photos with --images",
    "ARROW1": "an Arrow IPC file; save it as Parquet",
    "PAR1": "a gzipped Parquet file; unzip it first",
    "SQLite format 3\0": "an SQLite database; give its URL, sqlite:///FILE, and --query",
    "<": "XML or HTML, neither a table nor a YML feed; download the feed's own file",
}


def place_of(path: str | Path) -> Path | DatabaseURL:
    """Return the place of a catalogue: a path, or the URL of a database.

    Raises CatalogueError for the URL of a database that can't be used, or that became a path.
    """
    if isinstance(path, Path) and _URL_AS_PATH.match(str(path)) and not path.exists():
        # The path has lost a slash, and its message must not show a password.
        raise CatalogueError(
            f"{str(path).partition(':')[0]}:// is no path: `embed`, `classify` and `neighbours "
            "--queries` read databases; from Python, give the URL as text"
        )
    return DatabaseURL.parse(str(path)) if is_database_url(path) else Path(path)


def open_reader(
    path: Path | DatabaseURL, options: TableOptions, needs: Needs, query: str | None = None
) -> Reader:
    """Detect the format of a file or directory by its content, and open it; or run a query.

    `options` and `needs` apply to tables only, except for the encoding.

    Raises:
        CatalogueError: the file can't be read, has no known format, or lacks a column.
    """
    if isinstance(path, DatabaseURL):
        from vitrina.data.readers.database import DatabaseRecords

        rows = DatabaseRecords(path, query)
        return TableReader(rows, options.columns, needs, options.category_separator)
    if query is not None:
        raise OptionError("query", f"applies to a database's URL, not to {path}")
    if shards := webdataset_shards(path):
        return WebDatasetReader(path, shards, options.columns, needs, options.category_separator)
    if not path.is_dir() and _is_yml(path):
        with needed_for("a YML feed"):
            from vitrina.data.readers.yml import YmlReader

        return YmlReader(path, options.encoding)
    records = _open_records(path, options)
    return TableReader(records, options.columns, needs, options.category_separator)


def open_table(path: Path, options: TableOptions) -> Records:
    """Open the rows of a table as they are. Raises CatalogueError for a file that is no table."""
    with read_errors(path):
        if not path.is_dir() and _is_yml(path):
            raise CatalogueError(f"{path}: a YML feed is no table")
    return _open_records(path, options)


def source_of(path: Path, encoding: str | None) -> str | None:
    """Return the source that a file names itself, without a full read; see `Reader.source`."""
    if not path.is_file() or not _is_yml(path):
        return None
    with needed_for("a YML feed"):
        from vitrina.data.readers.yml import shop_of

    return shop_of(path, encoding)


def _is_yml(path: Path) -> bool:
    with read_errors(path), open_bytes(path) as stream:
        return is_feed(read_head(stream))


def _open_records(path: Path, options: TableOptions) -> Records:
    if path.is_dir():
        if (path / "store.json").is_file():
            way = "give the file that the products come from"
            raise wrong_usage(CatalogueError(f"{path}: this is a store; {way}"))
        return ParquetRecords(path)
    with read_errors(path):
        with path.open("rb") as file:
            start = file.read(8)
        if not start:
            raise CatalogueError(f"{path}: the file is empty; was its export cut short?")
        if start[:4] == b"PAR1" or path.suffix == ".parquet":
            return ParquetRecords(path)
        if start == OLE or (start[:4] == b"PK\x03\x04" and is_spreadsheet(path)):
            return SpreadsheetRecords(path, options.columns.product_id or DEFAULT_ID)
        with open_text(path, options.encoding) as text:
            head = text.read(_HEAD).lstrip()
    if not head:
        raise CatalogueError(f"{path}: the file is empty; was its export cut short?")
    for magic, what in _STRANGERS.items():
        if head.startswith(magic):
            raise CatalogueError(f"{path}: this is {what}")
    if head.startswith(("{", "[")):
        return JsonRecords(path, options.encoding, array=head.startswith("["))
    return CsvRecords(path, options.delimiter, options.encoding)
