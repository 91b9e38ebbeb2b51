"""Spreadsheets (.xlsx, .xlsm, .xls, .ods) as rows of bare values: a `Records`."""

from __future__ import annotations

import os
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

from vitrina.data.readers.base import Fault, IdType
from vitrina.data.readers.sheet_size import SheetSize
from vitrina.data.readers.unpacked import most_unpacked, out_of_proportion
from vitrina.data.readers.xls_size import xls_size
from vitrina.errors import CatalogueError

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""The first bytes of an .xls file."""

# A title, the date of the price list and the like stand above the header.
_HEADER_ROWS = 50
# The library holds a whole sheet in memory, 32 bytes a cell.
_MOST_CELLS = 1 << 25
_MOST_BYTES = 1 << 31
# A stray cell in the last row of a table of eight columns is no harm.
_FREE_CELLS = 1 << 23
_CELLS_A_BYTE = 4
_CHUNK = 1 << 20
_UNREAD = ("xl/media/", "xl/drawings/", "xl/charts/", "Pictures/", "Thumbnails/")


def is_spreadsheet(path: Path) -> bool:
    """Whether a zip archive is a spreadsheet. Raises CatalogueError for a form not supported."""
    try:
        with ZipFile(path) as archive:
            names = set(archive.namelist())
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    if "xl/workbook.bin" in names:
        raise CatalogueError(f"{path}: this is a binary Excel file (.xlsb); save it as .xlsx")
    return "xl/workbook.xml" in names or {"content.xml", "mimetype"} <= names


class SpreadsheetRecords:
    """The first sheet of a spreadsheet with a header that has the id column.

    The header may stand below some other rows. Rows are numbered as the sheet shows them; blank
    ones are none. Whole numbers come as integers, dates and times as ISO text.
    """

    typed = True
    names_grow = False

    def __init__(self, path: Path, id_column: str) -> None:
        """Read the sheet. Raises CatalogueError for what can't be read, is too large or empty."""
        from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum

        self.path = path
        _check_size(path)
        table: _Sheet | None = None
        try:
            with _panics_as_errors(), CalamineWorkbook.from_path(path) as book:
                sheets = [one for one in book.sheets_metadata if one.typ == SheetTypeEnum.WorkSheet]
                for one in sheets:
                    found = _Sheet.of(book.get_sheet_by_name(one.name), id_column)
                    if table is None or (found is not None and found.has_id):
                        table = found
                    if table is not None and table.has_id:
                        break
        except (CalamineError, OSError, ValueError) as err:
            reason = str(err).splitlines()[0] if str(err) else type(err).__name__
            raise CatalogueError(f"{path}: can't be read as a spreadsheet: {reason}") from err
        if table is None:
            raise CatalogueError(f"{path}: no sheet of it holds a table")
        self._table = table
        self.names = self._table.names
        self.first_row = self._table.header + 2
        self.notes: list[str] = []
        if len(sheets) > 1:
            self.notes.append(f"products are read from the sheet {self._table.sheet.name!r}")

    def id_type(self, column: str, *, lists: bool = False) -> IdType | None:  # noqa: ARG002
        """None: only the values tell."""
        return None

    def holds_text(self, column: str) -> bool:  # noqa: ARG002
        """Perhaps."""
        return True

    def holds_bytes(self, column: str) -> bool:  # noqa: ARG002
        """Never: pictures lie outside the cells."""
        return False

    def rows(
        self,
        columns: Sequence[str],
        id_column: str | None = None,  # noqa: ARG002
    ) -> Iterator[tuple[Any, ...] | Fault | None]:
        """Every row below the header, None for a blank one."""
        places = [self._table.place(name) for name in columns]
        for number, cells in enumerate(self._table.sheet.iter_rows()):
            if number > self._table.header:
                blank = all(cell == "" for cell in cells)
                yield None if blank else tuple([_value(cells[place]) for place in places])


class _Sheet:
    """A sheet, and its header: the number of its row from 0, and the names of its columns."""

    def __init__(
        self, sheet: CalamineSheet, header: int, cells: list[Any], *, has_id: bool
    ) -> None:
        self.sheet, self.header, self.has_id = sheet, header, has_id
        named = [(str(_value(cell) or "").strip(), at) for at, cell in enumerate(cells)]
        self._columns = [(name, at) for name, at in named if name]
        self.names = tuple(name for name, _ in self._columns)

    @classmethod
    def of(cls, sheet: CalamineSheet, id_column: str) -> _Sheet | None:
        """Find the header: the row with the id column's name, else the first one with text."""
        first = None
        for number, cells in zip(range(_HEADER_ROWS), sheet.iter_rows(), strict=False):
            if id_column in (str(cell).strip() for cell in cells):
                return cls(sheet, number, cells, has_id=True)
            filled = sum(cell != "" for cell in cells)
            if first is None and filled > 1:
                first = cls(sheet, number, cells, has_id=False)
        return first

    def place(self, name: str) -> int:
        return next(at for column, at in self._columns if column == name)


def _value(cell: Any) -> Any:
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return str(cell)
    return None if cell == "" else cell


@contextmanager
def _panics_as_errors() -> Iterator[None]:
    """Raise ValueError where the library panics, without what it writes on standard error then.

    A panic is a BaseException, which no caller expects of a damaged file.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as written:
        own = os.dup(2)
        os.dup2(written.fileno(), 2)
        panicked = False
        try:
            yield
        except BaseException as err:
            if type(err).__name__ != "PanicException":
                raise
            panicked = True
            raise ValueError(f"it is damaged: {err}") from None
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            os.close(own)
            written.seek(0)
            if not panicked and (others := written.read()):
                os.write(2, others)


def _check_size(path: Path) -> None:
    """Raise CatalogueError for a sheet that would take memory or time out of proportion.

    The library takes the memory for all cells between the outermost ones at once, and ends the
    process where there is none.
    """
    too_large = f"{path}: too large for a spreadsheet"
    file_size = path.stat().st_size
    if file_size > _MOST_BYTES:
        raise CatalogueError(f"{too_large}; save the table as CSV")
    most_bytes = most_unpacked(path)
    most_cells = min(max(_FREE_CELLS, _CELLS_A_BYTE * file_size), _MOST_CELLS)
    try:
        with ZipFile(path) as archive:
            size = 0
            for member in archive.infolist():
                if member.filename.startswith(_UNREAD):
                    continue
                sheet = SheetSize()
                with archive.open(member) as stream:
                    while chunk := stream.read(_CHUNK):
                        size += len(chunk)
                        if size > most_bytes:
                            raise out_of_proportion(path, most_bytes)
                        sheet.add(chunk)
                        if size > _MOST_BYTES or sheet.cells > most_cells:
                            raise CatalogueError(
                                f"{too_large}: {member.filename} spans {sheet.rows} rows and "
                                f"{sheet.columns} columns, {size} bytes unpacked; clear what "
                                "stands outside the table, or save it as CSV"
                            )
    except BadZipFile as err:
        data = path.read_bytes()
        if not data.startswith(OLE):
            raise CatalogueError(f"{path}: can't be read as a spreadsheet: {err}") from err
        old = xls_size(data)
        if old.claimed > _MOST_CELLS or old.strings > file_size:
            reason = "it is damaged: it claims more cells than a file can hold"
            raise CatalogueError(f"{path}: can't be read as a spreadsheet: {reason}") from None
        if old.rows * old.columns > most_cells:
            raise CatalogueError(
                f"{too_large}: it spans {old.rows} rows and {old.columns} columns; clear what "
                "stands outside the table, or save it as CSV"
            ) from None
    except (OSError, EOFError, zlib.error, NotImplementedError, RuntimeError) as err:
        raise CatalogueError(f"{path}: can't be read as a spreadsheet: {err}") from err
