"""Reads a spreadsheet in a process of its own, under limits of the operating system.

The library that parses spreadsheets takes whatever memory and time a file asks for, and aborts or
panics on some. Here that ends this process and no other.

Run as a script, which imports nothing of Vitrina. Standard input holds a `Job` as a JSON list.
Standard output gets JSON lines: a `Header`, then every row below the header, as the list of its
named cells or null for a blank one. Where the file can't be read the exit code is `REFUSED`, and
the last line on standard error says why.
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

# A title, the date of the price list and the like stand above the header.
_HEADER_ROWS = 50


class Job(NamedTuple):
    """path: of the spreadsheet. id_column: the name to look for. cells: the most that a sheet may
    span. memory: bytes of address space. seconds: of the CPU."""

    path: str
    id_column: str
    cells: int
    memory: int
    seconds: int


class Header(NamedTuple):
    """sheet: the name of the sheet that is read, one of so many sheets. row: where its header
    stands, from 0. names: of its columns, without those that have none."""

    sheet: str
    sheets: int
    row: int
    names: list[str]


class _Table:
    """A sheet, the row of its header, and the names of its columns with their places."""

    def __init__(self, sheet: CalamineSheet, row: int, cells: list[Any], *, has_id: bool) -> None:
        self.sheet, self.row, self.has_id = sheet, row, has_id
        named = ((str(_value(cell) or "").strip(), at) for at, cell in enumerate(cells))
        self.columns = [(name, at) for name, at in named if name]

    @classmethod
    def of(cls, sheet: CalamineSheet, id_column: str) -> _Table | None:
        """Find the header: the row with the id column's name, else the first one with text."""
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
                    f"{one.name!r} spans {rows} rows and {columns} columns; clear what stands "
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
    """Limit this process as far as the operating system can."""
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
        # A panic of the library, which has told about it in lines of its own.
        if type(err).__name__ != "PanicException":
            raise
        print("\nit is damaged: " + " ".join(str(err).split()), file=sys.stderr)
        sys.exit(REFUSED)


if __name__ == "__main__":
    _main()
