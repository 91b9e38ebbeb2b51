"""Reader that converts the rows of any table, marketplace or plain, to products."""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from vitrina.data.location import MemoryTableName
from vitrina.data.photo_names import parse_references
from vitrina.data.product import Metadata, Product, Rejection
from vitrina.data.readers.base import Columns, Fault, IdType, Records, UnreadableValue
from vitrina.data.readers.columns import ALL_NEEDED, LABELS, FoundColumns, Needs, find_columns
from vitrina.data.readers.ids import read_id
from vitrina.data.readers.labels import NO_LABEL, Labels
from vitrina.data.readers.marketplace import METADATA, TEXT_FIELDS, parse_text_fields, text_of
from vitrina.data.readers.metadata import metadata_of
from vitrina.data.readers.missing_columns import listed_names
from vitrina.data.readers.spreadsheets import SpreadsheetRecords
from vitrina.data.readers.survey import ColumnSurvey
from vitrina.data.text import clean
from vitrina.errors import CatalogueError
from vitrina.types import ProductId

_LIKE_CATEGORY = re.compile(
    r"categ|катег|раздел|рубрик|каталог|product.?type|taxonomy|^cat(?:$|[_ ])|^груп", re.IGNORECASE
)


class TableReader:
    """Reader of products from the rows of a table, marketplace or plain.

    A table with a column `text_fields` is a marketplace table: title and description come from that
    column unless columns for them are named. See `Reader` for the properties.

    Attributes:
        category_separator: between the names of a category path, given or detected; None if
            there is none, or if paths have the stored form already.
    """

    def __init__(
        self,
        records: Records,
        columns: Columns,
        needs: Needs = ALL_NEEDED,
        separator: str | None = None,
    ) -> None:
        """Find the columns, and detect their types and formats.

        separator: of category paths; None to detect it, `none` for names that are no paths.

        Raises CatalogueError for missing required columns, and for columns of unsuitable types.
        """
        self._records = records
        self.source: str | None = None
        self.notes: list[str] = [*records.notes]
        self.repairs: dict[str, int] = {}
        located = self._locate(columns, needs)
        self._survey = self._read_ahead(located, separator)
        if records.names_grow and (more := self._locate(columns, needs)) != located:
            # Keys that the first rows lack are known at this point.
            located = more
            self._survey = self._read_ahead(located, separator)
        found, columns, self.missing = located.fields, located.columns, located.missing
        self.has_text = located.has_text
        image = found.get("image")
        self.image_bytes = found.pop("image") if image and records.holds_bytes(image) else None
        self._id_column = found["product_id"]
        self.image_file: Path | None = getattr(records, "file", None)
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

    @property
    def columns_read(self) -> list[str]:
        """Names of the columns that are read."""
        photos = [] if self.image_bytes is None else [self.image_bytes]
        return list(dict.fromkeys((*self._columns, *photos)))

    @cached_property
    def integer_ids(self) -> bool:
        """True if every product id converts to a 64-bit integer without loss."""
        return self._survey.integers(self._id_column)

    @cached_property
    def integer_categories(self) -> bool:
        """True if every category id converts to a 64-bit integer without loss."""
        return self._label_column is not None and self._survey.integers(self._label_column)

    @property
    def label_hint(self) -> str:
        """Reason why no product can have a label, with the remedy; "" if some can."""
        if self.category_type is not None:
            return ""
        if self._label_column is not None:
            return (
                f"no category in column {self._label_column!r}: products get no label, and "
                "`train` needs them; name another one with --category-column"
            )
        names = self._records.names
        python = isinstance(self._records.path, MemoryTableName)
        like = next((name for name in names if _LIKE_CATEGORY.search(name)), None)
        example = f", such as --category-column {shlex.quote(like)}" if like else ""
        if python:
            return (
                "no category column: products get no label, and `train` needs them; name it with "
                f"columns=vt.Columns(category_id={like or '...'!r}); there are "
                f"{listed_names(names)}"
            )
        return (
            "no category column: products get no label, and `train` needs them; name it with "
            f"--category-column{example}; there are {listed_names(names)}"
        )

    def first(self, rows: int) -> list[Product]:
        """Return the first products, to show them; none of a spreadsheet, which is slow to open."""
        if isinstance(self._records, SpreadsheetRecords):
            return []
        # A reading may be under way, or its counts may be wanted later.
        counted = dict(self.repairs)
        found = [row for row in islice(self.rows(), rows) if isinstance(row, Product)]
        self.repairs.clear()
        self.repairs.update(counted)
        return found

    def rows(self) -> Iterator[Product | Rejection]:
        """Yield every row in order, as a product or as a rejection."""
        self.repairs.clear()
        rows = self._records.rows(self._columns, self._id_column)
        for row, values in enumerate(rows, self._records.first_row):
            if isinstance(values, Fault):
                yield Rejection(row, values.reason, self._faulty_id(values.product_id))
            elif values is not None:
                yield self._product(row, values)

    def _locate(self, columns: Columns, needs: Needs) -> FoundColumns:
        """Find the column of each field; label columns of an unsuitable type are left out."""
        records = self._records
        try:
            found = find_columns(records, columns, needs)
        except CatalogueError:
            if not records.names_grow:
                raise
            deque(records.rows(()), maxlen=0)
            found = find_columns(records, columns, needs)
        label = found.fields.get("category_id") or found.fields.get("category_name")
        if label is not None:
            try:
                records.id_type(label, lists=True)
            except CatalogueError as err:
                if not needs.optional >= LABELS:
                    raise
                self.notes.append(f"{err}; products get no label")
                for name in LABELS:
                    found.fields.pop(name, None)
        return found

    def _read_ahead(self, located: FoundColumns, separator: str | None) -> ColumnSurvey:
        found = located.fields
        label = found.get("category_id") or found.get("category_name")
        path = found.get("category_name") or label
        survey = ColumnSurvey(
            self._records,
            product=found["product_id"],
            category=label,
            path=path if separator is None else None,
        )
        survey.find_numbers(_kept(self._records, located.columns))
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
        """Return the id of an unreadable row if it is valid, else None."""
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
        """Return the kept values; unreadable ones are left out and counted."""
        kept = {name: values[place] for name, place in self._kept}
        for name, value in kept.items():
            if isinstance(value, UnreadableValue):
                lost = f"values of column {name!r} left out that can't be read"
                self.repairs[lost] = self.repairs.get(lost, 0) + 1
        for name, form in self._forms:
            kept[name] = form.read(kept[name])
        return metadata_of(kept.items())


def _references(value: Any) -> tuple[str, ...]:
    """Parse photo names. Raises ValueError for an unreadable value."""
    if isinstance(value, UnreadableValue):
        raise ValueError(value.reason)
    return parse_references(value)


def _kept(records: Records, columns: Columns) -> tuple[str, ...]:
    """Return the metadata columns: the given ones, and those of the marketplace format."""
    own: tuple[str, ...] = ()
    if TEXT_FIELDS in records.names:
        own = tuple(name for name in METADATA if records.names.count(name) == 1)
    return tuple(dict.fromkeys((*own, *columns.keep)))
