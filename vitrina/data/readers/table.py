"""From a table's rows to products, marketplace or plain, whatever file the rows come from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from vitrina.data.photo_names import parse_references
from vitrina.data.product import Product, Rejection
from vitrina.data.readers.base import INT64, Columns, Fault, IdType, Records
from vitrina.data.readers.marketplace import METADATA, TEXT_FIELDS, parse_text_fields, text_of
from vitrina.data.readers.metadata import metadata_of
from vitrina.data.text import clean
from vitrina.errors import CatalogueError
from vitrina.types import ProductId

_EXACT_FLOAT = 2**53
_SHOWN_NAMES = 30

_DEFAULTS = {
    "product_id": "product_id",
    "title": "title",
    "description": "description",
    "shop": "shop_title",
    "category_id": "category_id",
    "category_name": "category_name",
}
_OPTIONS = {
    "product_id": "--id-column",
    "title": "--title-column",
    "description": "--description-column",
    "shop": "--shop-column",
    "category_id": "--category-column",
    "category_name": "--category-name-column",
    "image": "--image-column",
}
_LABELS = ("category_id", "category_name")


class TableReader:
    """Makes products of the rows of a table, marketplace or plain.

    A column `text_fields` makes a table a marketplace one: title and description are taken from
    there unless columns for them are named. See `Reader` for the properties.
    """

    def __init__(self, records: Records, columns: Columns, *, labels_needed: bool = True) -> None:
        """Find the columns. Raises CatalogueError for one that isn't there.

        With `labels_needed` false, category columns may be absent though they are named: the
        settings of a labelled file serve a new batch.
        """
        self._records = records
        found = _find_columns(records, columns, labels_needed)
        image = found.get("image")
        self.image_bytes = found.pop("image") if image and records.holds_bytes(image) else None
        self.has_categories = "category_id" in found
        id_columns = [found[name] for name in ("product_id", "category_id") if name in found]
        id_type, *category_types = records.id_types(id_columns)
        self.id_type: IdType = id_type or str
        self.category_type = category_types[0] if category_types else None
        self.integer_ids = self.id_type is int
        self.integer_categories = self.category_type is int
        self.source: str | None = None
        self.notes: list[str] = []
        self.repairs: dict[str, int] = {}
        kept = tuple(dict.fromkeys((*_always_kept(records), *columns.keep)))
        self._columns = tuple(dict.fromkeys((*found.values(), *columns.attributes, *kept)))
        self._at = {name: self._columns.index(column) for name, column in found.items()}
        self._attributes = [(clean(name), self._columns.index(name)) for name in columns.attributes]
        self._kept = [(name, self._columns.index(name)) for name in kept]

    def rows(self) -> Iterator[Product | Rejection]:
        """Every row, in order, as a product or as the reason why it isn't one."""
        for row, values in enumerate(self._records.rows(self._columns), 1):
            if isinstance(values, Fault):
                yield Rejection(row, values.reason)
            else:
                yield self._product(row, values)

    def _product(self, row: int, values: tuple[Any, ...]) -> Product | Rejection:
        at = self._at
        product_id = None
        try:
            product_id = _read_id("product_id", values[at["product_id"]], self.id_type)
            if product_id is None:
                return Rejection(row, "no product_id")
            title = text_of(values[at["title"]]) if "title" in at else ""
            description = text_of(values[at["description"]]) if "description" in at else ""
            attributes: tuple[str, ...] = ()
            characteristics: tuple[str, ...] = ()
            if "text_fields" in at:
                fields = parse_text_fields(values[at["text_fields"]])
                title = title if "title" in at else fields.title
                description = description if "description" in at else fields.description
                attributes, characteristics = fields.attributes, fields.characteristics
            for name, place in self._attributes:
                if value := text_of(values[place]):
                    attributes = (*attributes, f"{name}: {value}")
            category_id = None
            if "category_id" in at and self.category_type is not None:
                value = values[at["category_id"]]
                category_id = _read_id("category_id", value, self.category_type)
            name_at = at.get("category_name")
            category_name = None if name_at is None else text_of(values[name_at])
            return Product(
                row=row,
                product_id=product_id,
                title=title,
                description=description,
                attributes=attributes,
                characteristics=characteristics,
                shop=text_of(values[at["shop"]]) if "shop" in at else "",
                category_id=category_id,
                category_name=category_name or None,
                images=parse_references(values[at["image"]]) if "image" in at else (),
                metadata=metadata_of((name, values[place]) for name, place in self._kept),
            )
        except UnicodeDecodeError as err:
            return Rejection(row, f"a text is not valid {err.encoding}", product_id)
        except ValueError as err:
            return Rejection(row, str(err), product_id)
        except RecursionError:
            return Rejection(row, "lists nested too deep", product_id)


def _find_columns(records: Records, columns: Columns, labels_needed: bool) -> dict[str, str]:
    """The column of each field that has one. Raises CatalogueError for one that is missing."""
    found: dict[str, str] = {}
    for name in _OPTIONS:
        named: str | None = getattr(columns, name)
        if named is not None and (labels_needed or name not in _LABELS or named in records.names):
            found[name] = _require(records, named, _OPTIONS[name])
        elif named is None and _DEFAULTS.get(name) in records.names:
            found[name] = _require(records, _DEFAULTS[name], _OPTIONS[name])
    for column in columns.attributes:
        _require(records, column, "--attribute-columns")
    for column in columns.keep:
        _require(records, column, "--keep-columns")
    if "product_id" not in found:
        _require(records, _DEFAULTS["product_id"], _OPTIONS["product_id"])
    if TEXT_FIELDS in records.names:
        found["text_fields"] = TEXT_FIELDS
        for name in ("title", "description"):
            if getattr(columns, name) is None:
                found.pop(name, None)
    elif "title" not in found and not (columns.description or columns.attributes or columns.image):
        _require(records, _DEFAULTS["title"], _OPTIONS["title"])
    return found


def _always_kept(records: Records) -> tuple[str, ...]:
    """Columns of the marketplace form that are metadata without being asked for."""
    if TEXT_FIELDS not in records.names:
        return ()
    return tuple(name for name in METADATA if records.names.count(name) == 1)


def _require(records: Records, column: str, option: str) -> str:
    """Return `column`, or raise CatalogueError where the table doesn't have it just once."""
    count = records.names.count(column)
    if count == 1:
        return column
    names = ", ".join(records.names[:_SHOWN_NAMES])
    more = len(records.names) - _SHOWN_NAMES
    raise CatalogueError(
        f"{records.path}: {'no' if not count else 'more than one'} column {column!r}; "
        f"there are {names}{f' and {more} more' if more > 0 else ''}; "
        f"say which one to take with {option}"
    )


def _read_id(label: str, value: Any, kind: IdType) -> ProductId | None:
    """An id of the file's type; None for a missing one. Raises ValueError with the reason."""
    if isinstance(value, bytes):
        value = value.decode()
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float | Decimal):
        if math.isnan(value):
            return None
        if not math.isfinite(value) or value != int(value):
            raise ValueError(f"{label} {value} is not a whole number")
        if isinstance(value, float) and abs(value) > _EXACT_FLOAT:
            # Past this, neighbouring integers are the same float.
            raise ValueError(f"{label} {value} is a float too large to tell ids apart")
        value = int(value)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ValueError(f"{label} {_shown(value)} is neither an integer nor text")
    if not isinstance(value, kind):
        other, own = ("text", "an integer") if kind is int else ("an integer", "text")
        raise ValueError(f"{label} {_shown(value)} is {other}, but the file's first is {own}")
    if isinstance(value, int):
        if value not in INT64:
            raise ValueError(f"{label} {_shown(value)} does not fit into 64 bits")
    elif not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{label} is not valid text") from None
    return value


def _shown(value: Any) -> str:
    return repr(value)[:80].encode("utf-8", "backslashreplace").decode()
