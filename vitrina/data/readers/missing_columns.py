"""Columns that a table lacks, and the error that names them with the ways on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from vitrina.data.options import DEFAULT_COLUMNS, Columns, flag
from vitrina.errors import CatalogueError

_SHOWN_NAMES = 30
_LIKENED_NAMES = 10_000

LISTS = ("attributes", "keep")
FLAGS = {field.name: flag(field) for field in fields(Columns)}


@dataclass(frozen=True)
class MissingColumn:
    """A column that a table does not have just once. field: of `Columns`, that it was named for."""

    field: str
    column: str
    ambiguous: bool = False


@dataclass(frozen=True)
class Missing:
    """The columns that a table lacks.

    Attributes:
        path: the table's file.
        names: the columns that are there.
        columns: those that are not.
        named: the columns that were looked for.
        remembered: as of `Needs`.
    """

    path: Path
    names: tuple[str, ...]
    columns: tuple[MissingColumn, ...] = ()
    named: Columns = DEFAULT_COLUMNS
    remembered: frozenset[str] = frozenset()

    def of(self, wanted: Collection[str]) -> Missing:
        """Those of some fields."""
        columns = tuple(one for one in self.columns if one.field in wanted)
        return replace(self, columns=columns)

    @property
    def fields(self) -> frozenset[str]:
        """The fields of `Columns` that lack one."""
        return frozenset(one.field for one in self.columns)

    def error(self) -> CatalogueError:
        """All of them as one error, with the nearest names that exist and the ways on."""
        flags = [FLAGS[name] for name in FLAGS if name in self.fields]
        unset = [self._unset(name) for name in FLAGS if name in self.fields & self.remembered]
        which = "which one" if len(self.columns) == 1 else "which ones"
        ways = f"say {which} to take with {enumerated(flags)}"
        if unset := [way for way in unset if way]:
            ways += f", or go on without by {enumerated(unset)}"
        return CatalogueError(
            f"{self.path}: {', '.join(map(self._told, self.columns))}; "
            f"there are {listed_names(self.names)}; {ways}"
        )

    def _told(self, one: MissingColumn) -> str:
        told = f"{'more than one' if one.ambiguous else 'no'} column {one.column!r}"
        if one.field in self.remembered:
            told += ", which the store remembers"
        if not one.ambiguous and (near := _nearest(one.column, self.names)):
            told += f" (nearest: {', '.join(map(repr, near))})"
        return told

    def _unset(self, field: str) -> str:
        """The option that forgets what is missing of a field, and nothing else."""
        if field == "product_id":
            return ""
        gone = {one.column for one in self.columns if one.field == field}
        rest = [name for name in getattr(self.named, field) if name not in gone]
        return f"{FLAGS[field]} {','.join(rest) if field in LISTS and rest else 'none'}"


def listed_names(names: Sequence[str]) -> str:
    """The names of a table's columns, for a message."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _nearest(name: str, names: Collection[str]) -> list[str]:
    """Names that one may have been mistaken for, the likeliest first."""
    some = list(islice(names, _LIKENED_NAMES))
    plain = {there.strip().casefold(): there for there in reversed(some)}
    return [plain[one] for one in get_close_matches(name.strip().casefold(), plain, n=2)]


def enumerated(words: Collection[str]) -> str:
    """Words as a sentence lists them: a, b and c."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
