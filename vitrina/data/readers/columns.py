"""Columns of a table by the part of a product that they hold, and errors for missing ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from vitrina.data.options import DEFAULT_COLUMNS, NO_COLUMN, Columns, flag
from vitrina.data.readers.base import Records
from vitrina.data.readers.marketplace import TEXT_FIELDS
from vitrina.errors import CatalogueError

LABELS = frozenset({"category_id", "category_name"})
TEXTS = frozenset({"title", "description", "attributes", "shop"})
"""Fields of `Columns` that the encoder's text is made of."""

DEFAULT_ID = "product_id"

_SHOWN_NAMES = 30
_LIKENED_NAMES = 10_000
_DEFAULTS = {
    "product_id": DEFAULT_ID,
    "title": "title",
    "description": "description",
    "shop": "shop_title",
    "category_id": "category_id",
    "category_name": "category_name",
}
_LISTS = ("attributes", "keep")
_FLAGS = {field.name: flag(field) for field in fields(Columns)}


@dataclass(frozen=True)
class Needs:
    """Requirements on a file of products.

    Attributes:
        optional: fields of `Columns` whose column may be absent though it is named.
        remembered: fields whose column a store remembers, and the user has not named now.
        photos: whether photos must be where they are said to be.
    """

    optional: frozenset[str] = frozenset()
    remembered: frozenset[str] = frozenset()
    photos: bool = True


ALL_NEEDED = Needs()
LABELS_OPTIONAL = Needs(optional=LABELS)


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
        flags = [_FLAGS[name] for name in _FLAGS if name in self.fields]
        unset = [self._unset(name) for name in _FLAGS if name in self.fields & self.remembered]
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
        return f"{_FLAGS[field]} {','.join(rest) if field in _LISTS and rest else 'none'}"


@dataclass(frozen=True)
class FoundColumns:
    """fields: the column of each field that has one of its own. columns: as named, with those
    attributes and kept columns that are there. missing: what was named and is not there."""

    fields: dict[str, str]
    columns: Columns
    missing: Missing

    @property
    def has_text(self) -> bool:
        """Whether there is a title, description or attribute; a shop's name is not enough."""
        own = {"title", "description", TEXT_FIELDS}
        return bool(own.intersection(self.fields) or self.columns.attributes)


def find_columns(records: Records, columns: Columns, needs: Needs) -> FoundColumns:
    """The columns of a table. Raises one CatalogueError for all that must be there and are not."""
    names = records.names
    found: dict[str, str] = {}
    missing: list[MissingColumn] = []

    def has(field: str, column: str) -> bool:
        count = names.count(column)
        if count != 1:
            missing.append(MissingColumn(field, column, ambiguous=count > 1))
        return count == 1

    for field in _FLAGS:
        if field in _LISTS:
            continue
        named: str | None = getattr(columns, field)
        if field == "product_id":
            # Without an id there is no product.
            named = named or _DEFAULTS[field]
        column = _DEFAULTS.get(field) if named is None else named
        if column and (named is not None or column in names) and has(field, column):
            found[field] = column
    listed: dict[str, Any] = {
        field: tuple(
            name for name in getattr(columns, field) if name != NO_COLUMN and has(field, name)
        )
        for field in _LISTS
    }
    if names.count(TEXT_FIELDS) > 1:
        raise CatalogueError(
            f"{records.path}: more than one column {TEXT_FIELDS!r}; leave one of them in the file"
        )
    if TEXT_FIELDS in names:
        found["text_fields"] = TEXT_FIELDS
        for field in ("title", "description"):
            if getattr(columns, field) is None:
                found.pop(field, None)
    elif columns.title is None and "title" not in found and _DEFAULTS["title"] not in names:
        described = columns.description and "description" in found
        if not (described or listed["attributes"] or (columns.image and "image" in found)):
            missing.append(MissingColumn("title", _DEFAULTS["title"]))
    all_missing = Missing(records.path, names, tuple(missing), columns, needs.remembered)
    required = all_missing.of(_FLAGS.keys() - (needs.optional - {"product_id"}))
    if required.columns:
        raise required.error()
    return FoundColumns(found, replace(columns, **listed), all_missing)


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
