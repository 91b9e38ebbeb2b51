"""Mapping of a table's columns to product fields, with errors for missing columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vitrina.data.options import NO_COLUMN, Columns
from vitrina.data.readers.base import Records
from vitrina.data.readers.marketplace import TEXT_FIELDS
from vitrina.data.readers.missing_columns import FLAGS, LISTS, Missing, MissingColumn
from vitrina.errors import CatalogueError

LABELS = frozenset({"category_id", "category_name"})
TEXTS = frozenset({"title", "description", "attributes", "shop"})
"""Fields of `Columns` that make up the encoder's text."""

DEFAULT_ID = "product_id"

_DEFAULTS = {
    "product_id": DEFAULT_ID,
    "title": "title",
    "description": "description",
    "shop": "shop_title",
    "category_id": "category_id",
    "category_name": "category_name",
}


@dataclass(frozen=True)
class Needs:
    """Requirements on a file of products.

    Attributes:
        optional: fields of `Columns` whose named column may be absent.
        remembered: fields whose column comes from the store's settings, not from the user.
        photos: whether photos must exist at the given location.
        located: whether the user gave the photos' location.
        find_photos: whether a table in memory may have photos in a column that nobody named.
    """

    optional: frozenset[str] = frozenset()
    remembered: frozenset[str] = frozenset()
    photos: bool = True
    located: bool = False
    find_photos: bool = False


ALL_NEEDED = Needs()
LABELS_OPTIONAL = Needs(optional=LABELS)


@dataclass(frozen=True)
class FoundColumns:
    """Columns found in a table.

    fields: the column of each field that has its own. columns: as named, limited to existing
    attribute and kept columns. missing: the named columns that the table lacks.
    """

    fields: dict[str, str]
    columns: Columns
    missing: Missing

    @property
    def has_text(self) -> bool:
        """True if there is a title, description or attribute; a shop's name is not enough."""
        own = {"title", "description", TEXT_FIELDS}
        return bool(own.intersection(self.fields) or self.columns.attributes)


def find_columns(records: Records, columns: Columns, needs: Needs) -> FoundColumns:
    """Find the columns of a table. Raises one CatalogueError for all missing required columns."""
    names = records.names
    found: dict[str, str] = {}
    missing: list[MissingColumn] = []

    def has(field: str, column: str) -> bool:
        count = names.count(column)
        if count != 1:
            missing.append(MissingColumn(field, column, ambiguous=count > 1))
        return count == 1

    for field in FLAGS:
        if field in LISTS:
            continue
        named: str | None = getattr(columns, field)
        if field == "product_id":
            # The id column is always required.
            named = named or _DEFAULTS[field]
        column = _DEFAULTS.get(field) if named is None else named
        if column and (named is not None or column in names) and has(field, column):
            found[field] = column
    listed: dict[str, Any] = {
        field: tuple(
            name for name in getattr(columns, field) if name != NO_COLUMN and has(field, name)
        )
        for field in LISTS
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
    required = all_missing.of(FLAGS.keys() - (needs.optional - {"product_id"}))
    if required.columns:
        raise required.error()
    return FoundColumns(found, replace(columns, **listed), all_missing)
