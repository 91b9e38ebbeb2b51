"""Readers: from a catalogue's file to products.

A table is opened as `Records` (`parquet.py`, `csv_table.py`, `json_table.py`, `spreadsheets.py`),
which know its columns and give its rows as bare values; a spreadsheet is parsed in a process of
its own (`sheet_process.py`). `TableReader` (`table.py`) makes products
of them, once a pass over some columns (`survey.py`) has told the type of ids (`ids.py`), the form
of category paths (`categories.py`) and of prices (`numbers.py`). A form that is no
table, such as a YML feed (`yml.py`), needs only to be a `Reader`. `detect.py` finds out which
of them a file needs.
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
