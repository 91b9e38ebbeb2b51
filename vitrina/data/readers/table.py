"""From a table's rows to products, marketplace or plain, whatever file the rows come from."""

from __future__ import annotations

import json
import re
import shlex
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from vitrina.data.product import Metadata, Product, Rejection
from vitrina.data.readers.base import Columns, Fault, IdType, Records, Unreadable
from vitrina.data.readers.ids import read_id
from vitrina.data.readers.labels import NO_LABEL, Labels
from vitrina.data.readers.marketplace import METADATA, TEXT_FIELDS, parse_text_fields, text_of
from vitrina.data.readers.metadata import metadata_of
from vitrina.data.readers.survey import Survey
from vitrina.data.text import clean
from vitrina.errors import CatalogueError
from vitrina.types import ProductId

DEFAULT_ID = "product_id"

_SHOWN_NAMES = 30
_LIKE_CATEGORY = re.compile(
    r"categ|катег|раздел|рубрик|каталог|product.?type|taxonomy|^cat(?:$|[_ ])|^груп", re.IGNORECASE
)

_DEFAULTS = {
    "product_id": DEFAULT_ID,
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

    Attributes:
        category_separator: between the names of a category's path, given or found; None where
            there is none, or paths have the stored form already.
    """

    def __init__(
        self,
        records: Records,
        columns: Columns,
        *,
        labels_needed: bool = True,
        separator: str | None = None,
    ) -> None:
        """Find the columns, and read what must be known of them before the first product.

        With `labels_needed` false, category columns may be absent though they are named: the
        settings of a labelled file serve a new batch. separator: of category paths; None to
        find it out, `none` for names that are no paths.

        Raises CatalogueError for a column that isn't there, or can't hold what it should.
        """
        self._records = records
        self.source: str | None = None
        self.notes: list[str] = [*records.notes]
        self.repairs: dict[str, int] = {}
        found = self._find(columns, labels_needed)
        self._survey = self._read_ahead(found, columns, separator)
        if records.names_grow and (more := self._find(columns, labels_needed)) != found:
            # Keys that the first rows lack are known by now.
            found = more
            self._survey = self._read_ahead(found, columns, separator)
        image = found.get("image")
        self.image_bytes = found.pop("image") if image and records.holds_bytes(image) else None
        self._id_column = found["product_id"]
        self.id_type: IdType = self._survey.id_type(self._id_column) or str
        self._set_up_labels(found, separator)
        kept = _kept(records, columns)
        self._columns = tuple(dict.fromkeys((*found.values(), *columns.attributes, *kept)))
        self._at = {name: self._columns.index(column) for name, column in found.items()}
        self._attributes = [(clean(name), self._columns.index(name)) for name in columns.attributes]
        self._kept = [(name, self._columns.index(name)) for name in kept]
        self._forms = [(name, form) for name in kept if (form := self._survey.number_form(name))]
        for name, form in self._forms:
            unit = f", of {form.unit}" if form.unit else ""
            self.notes.append(f"column {name!r} is kept as numbers{unit}")

    @cached_property
    def integer_ids(self) -> bool:
        """Whether every product id can be read as a 64-bit integer without loss."""
        return self._survey.integers(self._id_column)

    @cached_property
    def integer_categories(self) -> bool:
        """The same of category ids."""
        return self._label_column is not None and self._survey.integers(self._label_column)

    @property
    def label_hint(self) -> str:
        """Why no product can have a label, and the way out; "" where some can."""
        if self.category_type is not None:
            return ""
        if self._label_column is not None:
            return (
                f"no category in column {self._label_column!r}: products get no label, and "
                "`train` needs them; name another one with --category-column"
            )
        names = self._records.names
        like = next((name for name in names if _LIKE_CATEGORY.search(name)), None)
        example = f", such as --category-column {shlex.quote(like)}" if like else ""
        return (
            "no category column: products get no label, and `train` needs them; name it with "
            f"--category-column{example}; there are {_listed(names)}"
        )

    def rows(self) -> Iterator[Product | Rejection]:
        """Every row, in order, as a product or as the reason why it isn't one."""
        self.repairs.clear()
        rows = self._records.rows(self._columns, self._id_column)
        for row, values in enumerate(rows, self._records.first_row):
            if isinstance(values, Fault):
                yield Rejection(row, values.reason, self._faulty_id(values.product_id))
            elif values is not None:
                yield self._product(row, values)

    def _find(self, columns: Columns, labels_needed: bool) -> dict[str, str]:
        """The column of each field; those of labels are left out where they can't be."""
        records = self._records
        try:
            found = _find_columns(records, columns, labels_needed)
        except CatalogueError:
            if not records.names_grow:
                raise
            deque(records.rows(()), maxlen=0)
            found = _find_columns(records, columns, labels_needed)
        label = found.get("category_id") or found.get("category_name")
        if label is not None:
            try:
                records.id_type(label, lists=True)
            except CatalogueError as err:
                if labels_needed:
                    raise
                self.notes.append(f"{err}; products get no label")
                for name in _LABELS:
                    found.pop(name, None)
        return found

    def _read_ahead(self, found: dict[str, str], columns: Columns, separator: str | None) -> Survey:
        label = found.get("category_id") or found.get("category_name")
        path = found.get("category_name") or label
        survey = Survey(
            self._records,
            product=found["product_id"],
            category=label,
            path=path if separator is None else None,
        )
        survey.find_numbers(_kept(self._records, columns))
        survey.read()
        return survey

    def _set_up_labels(self, found: dict[str, str], separator: str | None) -> None:
        ids, names = found.get("category_id"), found.get("category_name")
        self._labels = Labels(self._survey, ids, names, separator)
        self.notes += self._labels.notes
        self._label_column = ids or names
        self.has_categories = self._label_column is not None
        self.category_type = self._labels.kind
        self.category_separator = self._labels.separator
        if self._label_column is not None:
            # One column may be both.
            found["category_id"] = self._label_column
            found.setdefault("category_name", self._label_column)

    def _faulty_id(self, value: Any) -> ProductId | None:
        """The id that a row has that can't be read otherwise, if it is one."""
        with suppress(ValueError):
            return read_id("product_id", value, self.id_type)
        return None

    def _product(self, row: int, values: tuple[Any, ...]) -> Product | Rejection:
        at = self._at
        product_id = None
        try:
            product_id = read_id("product_id", values[at["product_id"]], self.id_type)
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
            label = NO_LABEL
            if "category_id" in at:
                label = self._labels.read(values[at["category_id"]], values[at["category_name"]])
            return Product(
                row=row,
                product_id=product_id,
                title=title,
                description=description,
                attributes=attributes,
                characteristics=characteristics,
                shop=text_of(values[at["shop"]]) if "shop" in at else "",
                category_id=label.category_id,
                category_name=label.name,
                images=_references(values[at["image"]]) if "image" in at else (),
                metadata=self._metadata(values) if self._kept else (),
                label_fault=label.fault,
            )
        except UnicodeDecodeError as err:
            return Rejection(row, f"a text is not valid {err.encoding}", product_id)
        except ValueError as err:
            return Rejection(row, str(err), product_id)
        except RecursionError:
            return Rejection(row, "lists nested too deep", product_id)

    def _metadata(self, values: tuple[Any, ...]) -> Metadata:
        """The kept values. One that can't be read is left out and counted."""
        kept = {name: values[place] for name, place in self._kept}
        for name, value in kept.items():
            if isinstance(value, Unreadable):
                lost = f"values of column {name!r} left out that can't be read"
                self.repairs[lost] = self.repairs.get(lost, 0) + 1
        for name, form in self._forms:
            kept[name] = form.read(kept[name])
        return metadata_of(kept.items())


def _find_columns(records: Records, columns: Columns, labels_needed: bool) -> dict[str, str]:
    """The column of each field that has one. Raises CatalogueError for all that are missing."""
    found: dict[str, str] = {}
    wanted: list[tuple[str, str]] = []
    for name in _OPTIONS:
        named: str | None = getattr(columns, name)
        if named is not None and (labels_needed or name not in _LABELS or named in records.names):
            found[name] = named
        elif named is None and _DEFAULTS.get(name) in records.names:
            found[name] = _DEFAULTS[name]
        elif name == "product_id":
            found[name] = DEFAULT_ID
    if TEXT_FIELDS in records.names:
        found["text_fields"] = TEXT_FIELDS
        for name in ("title", "description"):
            if getattr(columns, name) is None:
                found.pop(name, None)
    elif "title" not in found and not (columns.description or columns.attributes or columns.image):
        found["title"] = _DEFAULTS["title"]
    wanted += [(column, _OPTIONS[name]) for name, column in found.items() if name in _OPTIONS]
    wanted += [(column, "--attribute-columns") for column in columns.attributes]
    wanted += [(column, "--keep-columns") for column in columns.keep]
    _require(records, wanted)
    return found


def _kept(records: Records, columns: Columns) -> tuple[str, ...]:
    """Columns that are metadata; those of the marketplace form are without being asked for."""
    own: tuple[str, ...] = ()
    if TEXT_FIELDS in records.names:
        own = tuple(name for name in METADATA if records.names.count(name) == 1)
    return tuple(dict.fromkeys((*own, *columns.keep)))


def _require(records: Records, wanted: list[tuple[str, str]]) -> None:
    """Raise CatalogueError where the table doesn't have each of these columns just once.

    wanted: names of columns, and the options that would name other ones.
    """
    faults = {
        column: (f"{'no' if not count else 'more than one'} column {column!r}", option)
        for column, option in wanted
        if (count := records.names.count(column)) != 1
    }
    if not faults:
        return
    if len(faults) == 1:
        ((said, option),) = faults.values()
        ask = f"say which one to take with {option}"
    else:
        said = ", ".join(f"{fault} ({option})" for fault, option in faults.values())
        ask = "say which ones to take with these options"
    raise CatalogueError(f"{records.path}: {said}; there are {_listed(records.names)}; {ask}")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _references(value: Any) -> tuple[str, ...]:
    """Names of photos: a string, a list of them, or such a list in JSON (all CSV can hold)."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, list):
        return tuple(name for part in value for name in _references(part))
    if isinstance(value, bytes):
        value = value.decode()
    name = value.strip() if isinstance(value, str) else text_of(value)
    return (name.encode("utf-8", "replace").decode(),) if name else ()
