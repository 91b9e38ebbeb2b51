"""Readers that turn a catalogue's file into products.

A table is opened as `Records` (`parquet.py`, `csv_table.py`, `json_table.py`, `spreadsheets.py`),
which hold its column names and yield its rows as raw values; a spreadsheet is parsed in a separate
process (`sheet_process.py`), and `memory/` has the tables in memory, such as DataFrames.
`TableReader` (`table.py`) turns the rows into products, after a pass over some columns
(`survey.py`) that detects the type of ids (`ids.py`) and the format of category paths
(`categories.py`) and of prices (`numbers.py`). A format that is no table, such as a YML feed
(`yml.py`), only implements `Reader`. `detect.py` selects the reader of a file.
"""

from vitrina.data.readers.base import (
    DEFAULT_COLUMNS,
    Columns,
    IdType,
    Reader,
    Records,
    TableOptions,
)
from vitrina.data.readers.columns import ALL_NEEDED, LABELS, LABELS_OPTIONAL, TEXTS, Needs
from vitrina.data.readers.missing_columns import Missing
from vitrina.data.readers.table import TableReader

__all__ = [
    "ALL_NEEDED",
    "DEFAULT_COLUMNS",
    "LABELS",
    "LABELS_OPTIONAL",
    "TEXTS",
    "Columns",
    "IdType",
    "Missing",
    "Needs",
    "Reader",
    "Records",
    "TableOptions",
    "TableReader",
]
