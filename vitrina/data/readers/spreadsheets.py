"""Spreadsheets (.xlsx, .xlsm, .xls, .ods) as rows of bare values: a `Records`."""

from __future__ import annotations

import json
import mmap
import signal
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from vitrina.data.readers import sheet_process
from vitrina.data.readers.base import Fault, IdType
from vitrina.data.readers.sheet_process import REFUSED, Header, Job
from vitrina.data.readers.sheet_size import SheetSize
from vitrina.data.readers.unpacked import MOST_TIMES, most_unpacked, out_of_proportion
from vitrina.errors import CatalogueError
from vitrina.limits import total_memory

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""The first bytes of an .xls file."""

_FREE_MEMORY = 3 << 28
"""Bytes that reading any file may take; a large one may take more, in proportion."""
_FREE_SECONDS = 8
_SECONDS_A_MEGABYTE = 8
"""Of the CPU. A sound file takes about one."""
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
        self.path = path
        _check_size(path)
        self._lines = _read(path, id_column)
        self._rows_at = self._lines.find(b"\n") + 1
        header = Header(*json.loads(self._lines[: self._rows_at]))
        self._columns = header.names
        self.names = tuple(header.names)
        self.first_row = header.row + 2
        self.notes: list[str] = []
        if header.sheets > 1:
            self.notes.append(f"products are read from the sheet {header.sheet!r}")

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
        places = [self._columns.index(name) for name in columns]
        start = self._rows_at
        while (end := self._lines.find(b"\n", start)) >= 0:
            row = json.loads(self._lines[start:end])
            yield None if row is None else tuple([row[place] for place in places])
            start = end + 1


def _read(path: Path, id_column: str) -> mmap.mmap:
    """What the process that reads the file writes: see `sheet_process`."""
    size = path.stat().st_size
    memory = max(_FREE_MEMORY, min(MOST_TIMES * size, total_memory() // 2))
    seconds = _FREE_SECONDS + _SECONDS_A_MEGABYTE * size // 1_000_000
    job = Job(str(path), id_column, _most_cells(size), memory, seconds)
    # Without the script's folder among those that modules are imported from.
    command = [sys.executable, "-P", sheet_process.__file__]
    with tempfile.TemporaryFile() as lines:
        ended = subprocess.run(
            command,
            input=json.dumps(job).encode(),
            stdout=lines,
            stderr=subprocess.PIPE,
            check=False,
        )
        if ended.returncode == 0:
            return mmap.mmap(lines.fileno(), 0, access=mmap.ACCESS_READ)
    said = ended.stderr.decode(errors="replace").strip().splitlines() or [""]
    if ended.returncode == REFUSED:
        raise CatalogueError(f"{path}: can't be read as a spreadsheet: {said[-1]}")
    if ended.returncode == -signal.SIGXCPU:
        reason = f"it takes more than {seconds} seconds to read"
    elif ended.returncode in (-signal.SIGABRT, -signal.SIGKILL) or "MemoryError" in said[-1]:
        reason = f"it takes more than {memory >> 20} MB of memory to read"
    else:
        reason = f"reading it ended with {ended.returncode}: {said[-1]}"
    raise CatalogueError(
        f"{path}: can't be read as a spreadsheet: {reason}; clear what stands outside the table, "
        "or save it as CSV"
    )


def _most_cells(size: int) -> int:
    """The most cells that a sheet in a file of so many bytes may span."""
    return min(max(_FREE_CELLS, _CELLS_A_BYTE * size), _MOST_CELLS)


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
    most_cells = _most_cells(file_size)
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
        with path.open("rb") as file:
            old = file.read(len(OLE)) == OLE
        if not old:
            raise CatalogueError(f"{path}: can't be read as a spreadsheet: {err}") from err
    except (OSError, EOFError, zlib.error, NotImplementedError, RuntimeError) as err:
        raise CatalogueError(f"{path}: can't be read as a spreadsheet: {err}") from err
