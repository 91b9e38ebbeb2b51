"""`Records` of a spreadsheet (.xlsx, .xlsm, .xls, .ods)."""

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
from vitrina.optional import needed_for

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""First bytes of an .xls file."""

_FREE_MEMORY = 3 << 28
"""Bytes of memory allowed to read any file; a large file may take more, in proportion."""
_FREE_SECONDS = 8
_SECONDS_A_MEGABYTE = 8
"""CPU seconds allowed per megabyte. A valid file takes about one."""
# The library keeps a whole sheet in memory, at 32 bytes per cell.
_MOST_CELLS = 1 << 25
_MOST_BYTES = 1 << 31
# Enough for a stray cell in the last row of a table of eight columns.
_FREE_CELLS = 1 << 23
_CELLS_A_BYTE = 4
_CHUNK = 1 << 20
_UNREAD = ("xl/media/", "xl/drawings/", "xl/charts/", "Pictures/", "Thumbnails/")


def is_spreadsheet(path: Path) -> bool:
    """Return True if a zip archive is a spreadsheet. Raises CatalogueError for .xlsb."""
    try:
        with ZipFile(path) as archive:
            names = set(archive.namelist())
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    if "xl/workbook.bin" in names:
        raise CatalogueError(f"{path}: this is a binary Excel file (.xlsb); save it as .xlsx")
    return "xl/workbook.xml" in names or {"content.xml", "mimetype"} <= names


class SpreadsheetRecords:
    """Rows of the first sheet whose header has the id column, else of the first with a header.

    Other rows may precede the header. Rows are numbered as in the sheet; blank rows are numbered
    too, and come as None. Whole numbers become integers, dates and times ISO text.
    """

    typed = True
    names_grow = False

    def __init__(self, path: Path, id_column: str) -> None:
        """Read the sheet. Raises CatalogueError if it is unreadable, too large or empty."""
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
        """Return None: only the values determine the type."""
        return None

    def holds_text(self, column: str) -> bool:  # noqa: ARG002
        """Return True: any column may hold text."""
        return True

    def holds_bytes(self, column: str) -> bool:  # noqa: ARG002
        """Return False: pictures are outside the cells."""
        return False

    def rows(
        self,
        columns: Sequence[str],
        id_column: str | None = None,  # noqa: ARG002
    ) -> Iterator[tuple[Any, ...] | Fault | None]:
        """Yield every row below the header; None for a blank row."""
        places = [self._columns.index(name) for name in columns]
        start = self._rows_at
        while (end := self._lines.find(b"\n", start)) >= 0:
            row = json.loads(self._lines[start:end])
            yield None if row is None else tuple([row[place] for place in places])
            start = end + 1


def _read(path: Path, id_column: str) -> mmap.mmap:
    """Run `sheet_process` on the file and map its output. Raises CatalogueError if it fails."""
    with needed_for("a spreadsheet"):
        # Looked for here: the other process only imports what it needs.
        import python_calamine  # noqa: F401
    size = path.stat().st_size
    memory = max(_FREE_MEMORY, min(MOST_TIMES * size, total_memory() // 2))
    seconds = _FREE_SECONDS + _SECONDS_A_MEGABYTE * size // 1_000_000
    job = Job(str(path), id_column, _most_cells(size), memory, seconds)
    # `-P` keeps the script's folder out of the import path.
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
    errors = ended.stderr.decode(errors="replace").strip().splitlines() or [""]
    if ended.returncode == REFUSED:
        raise CatalogueError(f"{path}: can't be read as a spreadsheet: {errors[-1]}")
    if ended.returncode == -signal.SIGXCPU:
        reason = f"it takes more than {seconds} seconds to read"
    elif ended.returncode in (-signal.SIGABRT, -signal.SIGKILL) or "MemoryError" in errors[-1]:
        reason = f"it takes more than {memory >> 20} MB of memory to read"
    else:
        reason = f"reading it ended with {ended.returncode}: {errors[-1]}"
    raise CatalogueError(
        f"{path}: can't be read as a spreadsheet: {reason}; clear the cells outside the table, "
        "or save it as CSV"
    )


def _most_cells(size: int) -> int:
    """Return the maximum number of cells that a sheet in a file of `size` bytes may span."""
    return min(max(_FREE_CELLS, _CELLS_A_BYTE * size), _MOST_CELLS)


def _check_size(path: Path) -> None:
    """Raise CatalogueError for a sheet that would take disproportionate memory or time.

    The library allocates all cells between the outermost ones at once, and aborts the process if
    that fails.
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
                                f"{sheet.columns} columns, {size} bytes unpacked; clear the "
                                "cells outside the table, or save it as CSV"
                            )
    except BadZipFile as err:
        with path.open("rb") as file:
            old = file.read(len(OLE)) == OLE
        if not old:
            raise CatalogueError(f"{path}: can't be read as a spreadsheet: {err}") from err
    except (OSError, EOFError, zlib.error, NotImplementedError, RuntimeError) as err:
        raise CatalogueError(f"{path}: can't be read as a spreadsheet: {err}") from err
