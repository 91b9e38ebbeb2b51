"""Columns that a table lacks, and the error that names them with remedies."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from itertools import islice

from vitrina.data.location import Location, MemoryTableName
from vitrina.data.options import DEFAULT_COLUMNS, Columns
from vitrina.errors import CatalogueError
from vitrina.options import flag, join_values, quoted, split_values

_SHOWN_NAMES = 30
_LIKENED_NAMES = 10_000

LISTS = ("attributes", "keep")
FLAGS = {field.name: flag(field) for field in fields(Columns)}


@dataclass(frozen=True)
class MissingColumn:
    """A column that a table has never or, if `ambiguous`, several times.

    field: the field of `Columns` that names it.
    """

    field: str
    column: str
    ambiguous: bool = False


@dataclass(frozen=True)
class Missing:
    """The columns that a table lacks.

    Attributes:
        path: the table's file.
        names: the table's columns.
        columns: the missing columns.
        named: the requested columns.
        remembered: see `Needs`.
    """

    path: Location
    names: tuple[str, ...]
    columns: tuple[MissingColumn, ...] = ()
    named: Columns = DEFAULT_COLUMNS
    remembered: frozenset[str] = frozenset()

    def of(self, wanted: Collection[str]) -> Missing:
        """Return the missing columns of some fields."""
        columns = tuple(one for one in self.columns if one.field in wanted)
        return replace(self, columns=columns)

    @property
    def fields(self) -> frozenset[str]:
        """Fields of `Columns` with a missing column."""
        return frozenset(one.field for one in self.columns)

    def error(self) -> CatalogueError:
        """Build one error for all missing columns, with the nearest existing names and remedies."""
        flags = [FLAGS[name] for name in FLAGS if name in self.fields]
        unset = [self._unset(name) for name in FLAGS if name in self.fields & self.remembered]
        which = "which one" if len(self.columns) == 1 else "which ones"
        ways = f"say {which} to take with {enumerated(flags)}"
        if isinstance(self.path, MemoryTableName):
            named = ", ".join(f"{name}=..." for name in FLAGS if name in self.fields)
            ways, unset = f"say {which} to take with columns=vt.Columns({named})", []
        if unset := [way for way in unset if way]:
            ways += f", or go on without by {enumerated(unset)}"
        ways += self._quotes()
        return CatalogueError(
            f"{self.path}: {', '.join(map(self._describe, self.columns))}; "
            f"there are {listed_names(self.names)}; {ways}"
        )

    def _describe(self, one: MissingColumn) -> str:
        text = f"{'more than one' if one.ambiguous else 'no'} column {one.column!r}"
        if one.field in self.remembered:
            text += ", which the store remembers"
        if not one.ambiguous and (near := _nearest(one.column, self.names)):
            text += f" (nearest: {', '.join(map(repr, near))})"
        return text

    def _unset(self, field: str) -> str:
        """Return the option that unsets only the missing columns of a field; "" for the id."""
        if field == "product_id":
            return ""
        gone = {one.column for one in self.columns if one.field == field}
        rest = [name for name in getattr(self.named, field) if name not in gone]
        return f"{FLAGS[field]} {_typed(rest) if field in LISTS and rest else 'none'}"

    def _quotes(self) -> str:
        """Return how to name a column with a comma, if two parts of its name are missing."""
        if isinstance(self.path, MemoryTableName):
            return ""
        for field in LISTS:
            gone = {one.column for one in self.columns if one.field == field}
            for name in self.names:
                if len(parts := set(split_values(name))) > 1 and parts <= gone:
                    return f"; a name with a comma is quoted: {FLAGS[field]} {_typed([name])}"
        return ""


def _typed(names: Sequence[str]) -> str:
    """Names of columns as they are typed in a shell."""
    text = join_values(names)
    return shlex.quote(text) if '"' in text or " " in text else text


def listed_names(names: Sequence[str]) -> str:
    """List the names of a table's columns for a message, at most 30."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(map(quoted, names[:_SHOWN_NAMES])) + (f" and {more} more" if more > 0 else "")


def _nearest(name: str, names: Collection[str]) -> list[str]:
    """Return up to two existing names similar to `name`, the most similar first."""
    some = list(islice(names, _LIKENED_NAMES))
    plain = {there.strip().casefold(): there for there in reversed(some)}
    return [plain[one] for one in get_close_matches(name.strip().casefold(), plain, n=2)]


def enumerated(words: Collection[str]) -> str:
    """Join words as in a sentence: a, b and c."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
