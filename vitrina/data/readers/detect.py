"""Which reader a file needs, found out by its content and never by its name alone."""

from __future__ import annotations

from pathlib import Path

from vitrina.data.readers.base import Reader, Records, TableOptions
from vitrina.data.readers.feed.encoding import read_head
from vitrina.data.readers.feed.prologue import is_feed
from vitrina.data.readers.parquet import ParquetRecords
from vitrina.data.readers.table import TableReader
from vitrina.data.readers.text_tables import (
    CsvRecords,
    JsonlRecords,
    open_bytes,
    open_text,
    read_errors,
)
from vitrina.data.readers.webdataset import WebDatasetReader, webdataset_shards
from vitrina.data.readers.yml import YmlReader
from vitrina.errors import CatalogueError

_HEAD = 4096
# What people hand over that is no catalogue, by its first characters.
_STRANGERS = {
    "PK\x03\x04": "a zip archive or an Excel file; save the table as CSV",
    "ARROW1": "an Arrow IPC file; save it as Parquet",
    "PAR1": "a gzipped Parquet file; unzip it first",
    "[": "one JSON array; write one object on each line (JSONL)",
    "<": "XML or HTML, neither a table nor a YML feed",
}
_UTF8 = "utf-8"


def open_reader(path: Path, options: TableOptions, *, labels_needed: bool) -> Reader:
    """Find out the form of the file, or directory, by its content, and open it.

    `options` and `labels_needed` matter to tables only, but for the encoding.

    Raises:
        CatalogueError: the file can't be read, is of no known form, or lacks a column.
    """
    if shards := webdataset_shards(path):
        return WebDatasetReader(path, shards, options.columns, labels_needed=labels_needed)
    if not path.is_dir() and _is_yml(path):
        return YmlReader(path, options.encoding)
    return TableReader(_open_records(path, options), options.columns, labels_needed=labels_needed)


def _is_yml(path: Path) -> bool:
    with read_errors(path), open_bytes(path) as stream:
        return is_feed(read_head(stream))


def _open_records(path: Path, options: TableOptions) -> Records:
    if path.is_dir():
        return ParquetRecords(path)
    encoding = options.encoding or _UTF8
    with read_errors(path):
        with path.open("rb") as file:
            start = file.read(4)
        if not start:
            raise CatalogueError(f"{path}: the file is empty")
        if start == b"PAR1" or path.suffix == ".parquet":
            return ParquetRecords(path)
        with open_text(path, encoding) as text:
            head = text.read(_HEAD).lstrip()
    if not head:
        raise CatalogueError(f"{path}: the file is empty")
    for magic, what in _STRANGERS.items():
        if head.startswith(magic):
            raise CatalogueError(f"{path}: this is {what}")
    if head.startswith("{"):
        return JsonlRecords(path, encoding)
    return CsvRecords(path, options.delimiter, encoding)
