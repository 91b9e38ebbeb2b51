"""Summaries of objects: as lines of a terminal (`repr`), and as a table in a notebook.

An object describes itself once, as a `Summary`; `Summarised` makes `__repr__` and `_repr_html_`
from it. Neither ever raises: an object whose files are gone is shown as one line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from textwrap import shorten
from typing import Any

from vitrina.errors import printable
from vitrina.page.words import plain

WIDTH = 100
"""Columns of a terminal."""
MOST_LINES = 15
MOST_ROWS = 10
"""Rows of a table in a notebook; a terminal shows what `MOST_LINES` leaves."""
LONGEST = 300
"""Characters of a value in a notebook."""
_COLUMN = 28
_SIZES = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class SummaryTable:
    """Table of a summary. rows: the first ones. more: number of rows left out of `rows`."""

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    more: int = 0


@dataclass(frozen=True)
class Summary:
    """Short description of an object, for `repr` and notebooks.

    title: one line. facts: pairs of name and value; values that are None, "" or empty are left out.
    notes: sentences below them.
    """

    title: str
    facts: Sequence[tuple[str, Any]] = ()
    table: SummaryTable | None = None
    notes: Sequence[str] = ()

    @property
    def told(self) -> list[tuple[str, str]]:
        """The facts that have a value, as texts."""
        return [(name, shown(value)) for name, value in self.facts if _is_there(value)]


class Summarised:
    """Mixin: `__repr__` and `_repr_html_` made from `summary`."""

    def summary(self) -> Summary:
        """Return the short description of the object."""
        raise NotImplementedError

    def __repr__(self) -> str:
        try:
            return as_text(self.summary())
        except Exception as err:
            return _unshown(self, err)

    def _repr_html_(self) -> str:
        """Return the summary as HTML, for notebooks."""
        try:
            return as_html(self.summary())
        except Exception as err:
            return as_html(Summary(_unshown(self, err)))


def _unshown(broken: object, err: Exception) -> str:
    kind = type(broken).__name__
    try:
        reason = one_line(str(err)) or type(err).__name__
    except Exception:
        reason = type(err).__name__
    return cut(f"<{kind} that can't be shown: {reason}>", WIDTH)


def as_text(summary: Summary) -> str:
    """Return a summary as at most `MOST_LINES` lines of at most `WIDTH` columns."""
    lines = [cut(one_line(summary.title), WIDTH)]
    told = summary.told
    width = min(max((len(one_line(name)) for name, _ in told), default=0), _COLUMN)
    lines += [
        cut(f"  {cut(one_line(name), width):<{width}}  {one_line(value)}", WIDTH)
        for name, value in told
    ]
    notes = [cut(f"  {one_line(note)}", WIDTH) for note in summary.notes]
    free = MOST_LINES - len(lines) - len(notes)
    if summary.table is not None and free >= 3:
        lines += _table_lines(summary.table, free)
    lines += notes
    if len(lines) > MOST_LINES:
        hidden = len(lines) - MOST_LINES + 1
        lines = [*lines[: MOST_LINES - 1], f"  and {hidden} more lines"]
    return "\n".join(lines)


def _table_lines(table: SummaryTable, most: int) -> list[str]:
    """Lines of a table: its head, rows, and one line of what is left out."""
    count = len(table.rows) + table.more
    fits = most - 1 if len(table.rows) <= most - 1 and not table.more else most - 2
    rows = table.rows[: min(fits, MOST_ROWS)]
    cells = [[cut(cell, _COLUMN) for cell in map(shown, row)] for row in (table.head, *rows)]
    right = [bool(rows) and all(_is_number(row[at]) for row in rows) for at in range(len(cells[0]))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    shown_columns, used = 0, 2
    for width in widths:
        if used + width > WIDTH and shown_columns:
            break
        used += width + 2
        shown_columns += 1
    lines = []
    for row in cells:
        parts = [
            f"{cell:>{width}}" if to_right else f"{cell:<{width}}"
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append(cut(f"  {'  '.join(parts[:shown_columns])}".rstrip(), WIDTH))
    left_out = []
    if hidden := count - len(rows):
        left_out.append(f"{hidden:,} more rows")
    if names := [one_line(str(name)) for name in table.head[shown_columns:]]:
        left_out.append(f"columns {', '.join(names)}")
    if left_out:
        lines.append(cut(f"  and {'; '.join(left_out)}", WIDTH))
    return lines


def as_html(summary: Summary) -> str:
    """Return a summary as an HTML fragment, escaped, legible in light and dark notebooks."""
    table = None
    if summary.table is not None:
        rows = summary.table.rows[:MOST_ROWS]
        table = {
            "head": [shown(name) for name in summary.table.head],
            "rows": [
                [(cut(shown(cell), LONGEST), _is_number(cell)) for cell in row] for row in rows
            ],
            "more": summary.table.more + len(summary.table.rows) - len(rows),
        }
    told = [(one_line(name), cut(value, LONGEST)) for name, value in summary.told]
    return str(
        _template().render(
            title=cut(one_line(summary.title), LONGEST),
            facts=told,
            table=table,
            notes=[cut(one_line(note), LONGEST) for note in summary.notes],
        )
    )


@cache
def _template() -> Any:
    # Imported here: `repr` alone needs no templates.
    from vitrina.page.markup import on_one_line
    from vitrina.page.templates import HERE, environment

    return environment(HERE, finalize=on_one_line).get_template("summary.html")


def shown(value: Any) -> str:
    """Return a value as short text on one line."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        # Ids are integers too, and those are not grouped.
        return str(value)
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{shown(key)} {shown(one)}" for key, one in _first(value.items()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(map(shown, _first(value)))
    if isinstance(value, bytes):
        return size(len(value))
    return one_line(str(value))


def _first(values: Iterable[Any]) -> list[Any]:
    several = list(values)
    return [*several[:5], f"and {len(several) - 5} more"] if len(several) > 6 else several


def size(count: int) -> str:
    """Return a number of bytes as text: "12.3 MB"."""
    number, unit = float(count), 0
    while number >= 999.5 and unit < len(_SIZES) - 1:
        number, unit = number / 1000, unit + 1
    return f"{count} bytes" if not unit else f"{number:.3g} {_SIZES[unit]}"


def counted(count: int, noun: str, nouns: str = "") -> str:
    """Return a count with its noun: "1 product", "3,000 products"."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def leaf(path: str) -> str:
    """Return the last name of a category path, with a mark in place of those before it."""
    above, _, last = path.rpartition("->")
    return f"… › {last.strip()}" if above and last.strip() else path


def one_line(text: str) -> str:
    """Return untrusted text on one line, with what would control a terminal escaped."""
    return printable(plain(text))


def cut(text: str, width: int) -> str:
    """Return text of at most `width` characters, shortened at its end."""
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"


def words(text: str, width: int) -> str:
    """Return text of at most `width` characters, shortened between words."""
    return shorten(one_line(text), width, placeholder=" …")


def _is_there(value: Any) -> bool:
    empty = isinstance(value, (str, Mapping, list, tuple)) and not value
    return value is not None and not empty


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
