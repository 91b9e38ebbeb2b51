"""Script that reads a spreadsheet in a separate process with resource limits.

The spreadsheet library has no limits on memory and time, and aborts or panics on some files. In a
separate process, only that process ends.

The script imports nothing from Vitrina. Standard input is a `Job` as a JSON list. Standard output
is JSON lines: a `Header`, then every row below the header, as the list of its named cells or null
for a blank row. If the file can't be read, the exit code is `REFUSED` and the last line on standard
error is the reason.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

REFUSED = 3

# Rows searched for the header, since a title or the date of the price list may precede it.
_HEADER_ROWS = 50


class Job(NamedTuple):
    """Task and limits of the process.

    path: the spreadsheet. id_column: the column name that identifies the header. cells: maximum
    cells that a sheet may span. memory: bytes of address space. seconds: CPU time.
    """

    path: str
    id_column: str
    cells: int
    memory: int
    seconds: int


class Header(NamedTuple):
    """Header of the sheet that is read.

    sheet: the sheet's name. sheets: number of sheets in the file. row: the header's row, from 0.
    names: the columns' names, without unnamed columns.
    """

    sheet: str
    sheets: int
    row: int
    names: list[str]


class _Table:
    """A sheet with its header row, and the names and positions of its columns."""

    def __init__(self, sheet: CalamineSheet, row: int, cells: list[Any], *, has_id: bool) -> None:
        self.sheet, self.row, self.has_id = sheet, row, has_id
        named = ((str(_value(cell) or "").strip(), at) for at, cell in enumerate(cells))
        self.columns = [(name, at) for name, at in named if name]

    @classmethod
    def of(cls, sheet: CalamineSheet, id_column: str) -> _Table | None:
        """Find the header: the row with the id column's name, else the first with several cells."""
        first = None
        for row, cells in zip(range(_HEADER_ROWS), sheet.iter_rows(), strict=False):
            if id_column in (str(cell).strip() for cell in cells):
                return cls(sheet, row, cells, has_id=True)
            if first is None and sum(cell != "" for cell in cells) > 1:
                first = cls(sheet, row, cells, has_id=False)
        return first


def _lines(job: Job) -> Iterator[Any]:
    from python_calamine import CalamineWorkbook, SheetTypeEnum

    table: _Table | None = None
    with CalamineWorkbook.from_path(job.path) as book:
        sheets = [one for one in book.sheets_metadata if one.typ == SheetTypeEnum.WorkSheet]
        for one in sheets:
            sheet = book.get_sheet_by_name(one.name)
            rows, columns = (last + 1 for last in sheet.end or (0, 0))
            if rows * columns > job.cells:
                raise ValueError(
                    f"{one.name!r} spans {rows} rows and {columns} columns; clear the cells "
                    "outside the table, or save it as CSV"
                )
            found = _Table.of(sheet, job.id_column)
            if table is None or (found is not None and found.has_id):
                table = found
            if table is not None and table.has_id:
                break
    if table is None:
        raise ValueError("no sheet of it holds a table")
    yield Header(table.sheet.name, len(sheets), table.row, [name for name, _ in table.columns])
    places = [at for _, at in table.columns]
    for row, cells in enumerate(table.sheet.iter_rows()):
        if row > table.row:
            blank = all(cell == "" for cell in cells)
            yield None if blank else [_value(cells[at]) for at in places]


def _value(cell: Any) -> Any:
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return str(cell)
    return None if cell == "" else cell


def _limit(job: Job) -> None:
    """Set the resource limits that the operating system supports."""
    with suppress(ImportError):
        import resource

        for kind, most in (
            (resource.RLIMIT_AS, job.memory),
            (resource.RLIMIT_FSIZE, job.memory),
            (resource.RLIMIT_CPU, job.seconds),
            (resource.RLIMIT_CORE, 0),
        ):
            with suppress(ValueError, OSError):
                _, hard = resource.getrlimit(kind)
                least = most if hard == resource.RLIM_INFINITY else min(most, hard)
                resource.setrlimit(kind, (least, hard))


def _main() -> None:
    job = Job(*json.load(sys.stdin))
    _limit(job)
    output = open(1, "w", encoding="utf-8", newline="\n", closefd=False)  # noqa: SIM115
    try:
        for line in _lines(job):
            output.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        output.flush()
    except MemoryError:
        raise
    except Exception as err:
        reason = str(err).strip() or type(err).__name__
        print(f"\n{reason.splitlines()[0]}", file=sys.stderr)
        sys.exit(REFUSED)
    except BaseException as err:
        # A panic of the library, which prints lines of its own.
        if type(err).__name__ != "PanicException":
            raise
        print("\nit is damaged: " + " ".join(str(err).split()), file=sys.stderr)
        sys.exit(REFUSED)


if __name__ == "__main__":
    _main()
