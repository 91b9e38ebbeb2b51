"""Pass over some columns of a table that detects types and formats before the first product."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

from vitrina.data.readers.base import Fault, IdType, Records
from vitrina.data.readers.categories import PathScan
from vitrina.data.readers.ids import IdScan
from vitrina.data.readers.numbers import NumberForm, NumberScan

_CHUNK = 4096


class _Scan(Protocol):
    def add(self, values: Iterable[Any]) -> None: ...


class ColumnSurvey:
    """Detector of id types, the category path format, and formats of numbers written as text.

    Columns whose schema is sufficient are not read.
    """

    def __init__(
        self, records: Records, *, product: str, category: str | None, path: str | None
    ) -> None:
        """Prepare the scans without reading the file.

        product, category: the columns of ids. path: the column whose path format to detect. Raises
        CatalogueError for a column that can't hold ids.
        """
        self._records = records
        self._declared: dict[str, IdType] = {}
        self._ids: dict[str, IdScan] = {}
        self._numbers: dict[str, NumberScan] = {}
        self._scans: list[tuple[str, _Scan]] = []
        self.paths = PathScan()
        for column, lists in ((product, False), (category, True)):
            if column is None or column in self._ids:
                continue
            declared = records.id_type(column, lists=lists)
            if declared is None:
                self._ids[column] = IdScan(typed=records.typed, lists=lists)
                self._scans.append((column, self._ids[column]))
            else:
                self._declared[column] = declared
        if path is not None and records.holds_text(path):
            self._scans.append((path, self.paths))

    def find_numbers(self, kept: Sequence[str]) -> None:
        """Detect number formats in these columns too."""
        for column in kept:
            if self._records.holds_text(column):
                self._numbers[column] = NumberScan(column)
                self._scans.append((column, self._numbers[column]))

    def read(self) -> None:
        """Read the file and fill all scans. Raises CatalogueError for damaged data."""
        scan(self._records, self._scans)

    def id_type(self, column: str) -> IdType | None:
        """Return the type of a column's ids; None if it has none."""
        return self._declared.get(column) or self._ids[column].kind

    def integers(self, column: str) -> bool:
        """Return True if every id of a column converts to a 64-bit integer; may read the column."""
        if column not in self._ids and self._declared[column] is str:
            self._ids[column] = IdScan(typed=True)
            scan(self._records, [(column, self._ids[column])])
        return column not in self._ids or self._ids[column].integers

    def number_form(self, column: str) -> NumberForm | None:
        """Return a kept column's number format; None for a column that stays unchanged."""
        return self._numbers[column].form() if column in self._numbers else None


def scan(records: Records, scans: Sequence[tuple[str, _Scan]]) -> None:
    """Pass the values of each column to its scan, in one pass over the file."""
    columns = list(dict.fromkeys(column for column, _ in scans))
    if not columns:
        return
    rows = (row for row in records.rows(columns) if row is not None and not isinstance(row, Fault))
    while chunk := list(islice(rows, _CHUNK)):
        values = dict(zip(columns, zip(*chunk, strict=True), strict=True))
        for column, one in scans:
            one.add(values[column])
