"""Excel workbooks, written row by row in constant memory.

Every text is written as text, so that no cell is a formula or a link. A sheet holds 1,048,576 rows;
the rows after them go on in further sheets. A cell holds 32,767 characters; a longer text is cut.
Excel keeps 15 digits of a number; a longer integer, such as an id, is written as text.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vitrina.temporary_files import removing

MOST_ROWS = 1 << 20
MOST_CHARACTERS = 32_767
MOST_DIGITS = 10**15
_CUT = " … (cut)"
_NARROWEST, _WIDEST = 9, 60
_SAMPLE = 500
# Characters that XML can't hold.
_INVALID = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class XlsxFile:
    """Writer of a workbook.

    Raises OSError where the disk is full.
    """

    def __init__(self, path: Path, schema: pa.Schema, title: str = "") -> None:
        """schema: flat columns. title: of the first sheet."""
        import xlsxwriter

        # Its temporary files; a workbook is put together when it is closed.
        self._folder = tempfile.mkdtemp(prefix="vitrina-xlsx-")
        self._pending = removing(lambda: shutil.rmtree(self._folder, ignore_errors=True))
        self._pending.__enter__()
        options = {
            "constant_memory": True,
            "tmpdir": self._folder,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "default_date_format": "yyyy-mm-dd hh:mm:ss",
        }
        self._book = xlsxwriter.Workbook(str(path), options)
        self._book.use_zip64()
        self._schema = schema
        self._title = _sheet_title(title)
        self._bold = self._book.add_format({"bold": True, "bottom": 1})
        formats = {
            kind: self._book.add_format({"num_format": kind})
            for kind in ("0", "0.000", "yyyy-mm-dd hh:mm:ss")
        }
        self._kinds = [_kind_of(one.type) for one in schema]
        self._formats = [formats.get(kind) for kind in self._kinds]
        self._sheet: Any = None
        self._sheets = 0
        self._row = 0
        self._widths: list[float] = []

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        for batch in table.to_batches(max_chunksize=4096):
            columns = [_values(column) for column in batch.columns]
            if self._sheet is None:
                self._widths = [
                    _width(name, column)
                    for name, column in zip(self._schema.names, columns, strict=True)
                ]
            for values in zip(*columns, strict=True):
                if self._sheet is None or self._row == MOST_ROWS:
                    self._start_sheet()
                self._write_row(values)

    def close(self) -> None:
        """Put the workbook together."""
        try:
            if self._sheet is None:
                self._widths = [_width(name, ()) for name in self._schema.names]
                self._start_sheet()
            self._end_sheet()
            self._book.close()
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop the temporary files."""
        for sheet in self._book.worksheets():
            if sheet.row_data_fh is not None and not sheet.row_data_fh.closed:
                sheet.row_data_fh.close()
        if self._pending is not None:
            self._pending.__exit__(None, None, None)
            self._pending = None  # type: ignore[assignment]

    def _write_row(self, values: Sequence[Any]) -> None:
        sheet, row = self._sheet, self._row
        for at, value in enumerate(values):
            if value is None:
                continue
            kind = type(value)
            if kind is str:
                sheet.write_string(row, at, _cell(value))
            elif kind is bool:
                sheet.write_boolean(row, at, value)
            elif kind is int and abs(value) >= MOST_DIGITS:
                sheet.write_string(row, at, str(value))
            elif kind is int or kind is float:
                sheet.write_number(row, at, value, self._formats[at])
            else:
                sheet.write_datetime(row, at, value, self._formats[at])
        self._row += 1

    def _start_sheet(self) -> None:
        self._end_sheet()
        self._sheets += 1
        title = self._title if self._sheets == 1 else f"{self._title[:24]} {self._sheets}"
        self._sheet = self._book.add_worksheet(title)
        for at, width in enumerate(self._widths):
            self._sheet.set_column(at, at, width)
        self._sheet.freeze_panes(1, 1)
        for at, name in enumerate(self._schema.names):
            self._sheet.write_string(0, at, _cell(name), self._bold)
        self._row = 1

    def _end_sheet(self) -> None:
        if self._sheet is not None:
            last = max(1, self._row - 1)
            self._sheet.autofilter(0, 0, last, max(0, len(self._schema.names) - 1))


def _kind_of(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "0"
    if pa.types.is_floating(kind):
        return "0.000"
    return "yyyy-mm-dd hh:mm:ss" if pa.types.is_timestamp(kind) else ""


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.dictionary_decode())
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("ms", kind.tz), safe=False)
        return [None if one is None else one.replace(tzinfo=None) for one in column.to_pylist()]
    if kind == pa.float32():
        # The shortest digits: 0.1, not 0.10000000149011612.
        texts = column.cast(pa.string()).to_pylist()
        return [None if one is None else _finite(float(one)) for one in texts]
    if pa.types.is_floating(kind):
        return [_finite(one) for one in column.to_pylist()]
    values: list[Any] = column.to_pylist()
    plain = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind)
    return values if plain else [None if one is None else str(one) for one in values]


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


def _cell(text: str) -> str:
    """A text as a cell can hold it."""
    text = _INVALID.sub("\ufffd", text)
    # Excel counts UTF-16.
    if len(text) <= MOST_CHARACTERS // 2 or _length(text) <= MOST_CHARACTERS:
        return text
    text = text[: MOST_CHARACTERS - len(_CUT)]
    while _length(text) > MOST_CHARACTERS - len(_CUT):
        text = text[: -max(1, (_length(text) - MOST_CHARACTERS + len(_CUT)) // 2)]
    return text + _CUT


def _length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _width(name: str, values: Sequence[Any]) -> float:
    """A column's width, in characters: nearly all of its first values fit in."""
    shown: Callable[[Any], int] = lambda one: 6 if isinstance(one, float) else len(str(one))  # noqa: E731
    lengths = sorted(shown(one) for one in values[:_SAMPLE] if one is not None)
    most = lengths[int(len(lengths) * 0.9)] if lengths else 0
    # The header has the filter's button beside it.
    return min(max(most + 1, len(name) + 3, _NARROWEST), _WIDEST)


def _sheet_title(title: str) -> str:
    return re.sub(r"[\[\]:*?/\\']", " ", title).strip()[:31] or "Sheet"
