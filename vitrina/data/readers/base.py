"""Interfaces and options shared by the readers of all file formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vitrina.data.location import Location
from vitrina.data.options import DEFAULT_COLUMNS as DEFAULT_COLUMNS
from vitrina.data.options import Columns as Columns
from vitrina.data.product import Product, Rejection
from vitrina.ids import INT64
from vitrina.types import IdType

__all__ = ["DEFAULT_COLUMNS", "INT64", "Columns", "IdType"]

if TYPE_CHECKING:
    from vitrina.data.readers.missing_columns import Missing

UTF8 = "utf-8"
"""Default encoding of a text file without a byte order mark."""


@dataclass(frozen=True)
class TableOptions:
    """Options for reading a table or a feed; None means that a value is detected.

    Attributes:
        columns: a table's columns.
        delimiter: of a CSV file.
        encoding: of a feed or a text file; the default for text is the encoding of the byte order
            mark, else UTF-8.
        category_separator: between the names of a category path; `none` for names that are no
            paths.
    """

    columns: Columns = DEFAULT_COLUMNS
    delimiter: str | None = None
    encoding: str | None = None
    category_separator: str | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """An unreadable row, with the reason.

    undecodable: whether its bytes don't fit the encoding. product_id: the raw value of the id
    column if it could be recovered, else None.
    """

    reason: str
    undecodable: bool = False
    product_id: Any = None


@dataclass(frozen=True, slots=True)
class UnreadableValue:
    """Placeholder for one unreadable value in a readable row, with the reason."""

    reason: str


class Records(Protocol):
    """Rows of one file, or of one directory of files, as raw values."""

    @property
    def path(self) -> Location:
        """The file or directory; of a database or a table in memory, its name for messages."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns known so far; complete once `rows` has ended."""

    @property
    def first_row(self) -> int:
        """Number of the first row of `rows`: 1, except for spreadsheets."""

    @property
    def names_grow(self) -> bool:
        """True if `names` may be incomplete before `rows` has ended."""

    @property
    def typed(self) -> bool:
        """True if the file distinguishes numbers from text; CSV doesn't."""

    @property
    def notes(self) -> Sequence[str]:
        """Notes for the user; see `Reader.notes`."""

    def id_type(self, column: str, *, lists: bool = False) -> IdType | None:
        """Return the declared type of a column's ids; None if only its values determine it.

        lists: whether a list of texts may be an id. Raises CatalogueError for a column whose
        declared type can't hold ids.
        """

    def holds_text(self, column: str) -> bool:
        """Return True if a column may hold text or lists by its declared type."""

    def holds_bytes(self, column: str) -> bool:
        """Return True if a column holds binary data, or lists of it."""

    def rows(
        self, columns: Sequence[str], id_column: str | None = None
    ) -> Iterator[tuple[Any, ...] | Fault | None]:
        """Yield every row from the first, with values in the order of `columns`.

        A numbered blank row is None, an unreadable value an `UnreadableValue`. id_column: the
        column whose value a `Fault` carries if it can be recovered.
        """


class Reader(Protocol):
    """An opened catalogue file. Each call of `rows` starts over."""

    @property
    def id_type(self) -> IdType:
        """Type of all product ids."""

    @property
    def category_type(self) -> IdType | None:
        """Type of all category ids; None if the file names no category."""

    @property
    def integer_ids(self) -> bool:
        """True if every product id converts to a 64-bit integer without loss.

        It is an integer, or the canonical text of one.
        """

    @property
    def integer_categories(self) -> bool:
        """True if every category id converts to a 64-bit integer without loss."""

    @property
    def has_categories(self) -> bool:
        """True if the file has category ids."""

    @property
    def source(self) -> str | None:
        """Source name that the file gives, such as a feed's shop; None if it gives none."""

    @property
    def notes(self) -> Sequence[str]:
        """Notes for the user on how the file was read, one sentence each.

        Examples are an encoding other than the declared one, or a detected category separator.
        """

    @property
    def repairs(self) -> Mapping[str, int]:
        """Counts of repairs made while reading; complete once `rows` has ended."""

    @property
    def missing(self) -> Missing:
        """Columns that the options name and the file lacks."""

    @property
    def has_text(self) -> bool:
        """True if the file has a title, description or attributes."""

    @property
    def image_bytes(self) -> str | None:
        """Name of the column that holds the photos' bytes; None if there is none."""

    @property
    def image_file(self) -> Path | None:
        """The Parquet file with that column, if it is not the catalogue's own file."""

    def rows(self) -> Iterator[Product | Rejection]:
        """Yield every row in order, as a product or as a rejection."""
