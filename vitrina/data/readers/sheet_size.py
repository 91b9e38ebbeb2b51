"""Row and column counts of an .xlsx sheet, from a scan of its XML without parsing."""

from __future__ import annotations

import re

_CELL = re.compile(rb"<(?:[\w.-]{1,20}:)?c(?=[\s/>])")
_ROW = re.compile(rb"<(?:[\w.-]{1,20}:)?row(?=[\s/>])")
_ROW_NUMBER = re.compile(rb"""\sr\s*=\s*["']\s*[A-Za-z]{0,3}([0-9]{1,9})""")
_COLUMN_NAME = re.compile(rb"""\sr\s*=\s*["']\s*([A-Za-z]{1,3})[0-9]""")
# Longer than the start of a tag up to its position attribute.
_OVERLAP = 100


class SheetSize:
    """Counter of a sheet's rows and columns over pieces of its XML.

    Rows and cells name their positions (`r="7"`, `r="B7"`). One that doesn't follows the one before
    it, so tags are counted too.
    """

    def __init__(self) -> None:
        self.rows = self.columns = 0
        self._tail = b""
        self._rows = self._in_row = 0

    @property
    def cells(self) -> int:
        """Number of cells that the sheet spans: rows times columns."""
        return self.rows * self.columns

    def add(self, piece: bytes) -> None:
        """Add the next piece."""
        text = self._tail + piece
        self._tail = text[-_OVERLAP:]
        self._rows += len(_ROW.findall(piece))
        self.rows = max(self.rows, self._rows, *map(int, set(_ROW_NUMBER.findall(text))), 0)
        for number, row in enumerate(_ROW.split(piece)):
            cells = len(_CELL.findall(row))
            self._in_row = cells if number else self._in_row + cells
            self.columns = max(self.columns, self._in_row)
        self.columns = max(self.columns, *map(_column, set(_COLUMN_NAME.findall(text))), 0)


def _column(name: bytes) -> int:
    """Convert a column name to its number: 1 for A, 26 for Z, 27 for AA."""
    number = 0
    for letter in name.upper():
        number = number * 26 + letter - 64
    return number
