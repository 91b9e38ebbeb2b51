"""What readers of every form share: how columns are named, and what a reader gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vitrina.data.options import DEFAULT_COLUMNS as DEFAULT_COLUMNS
from vitrina.data.options import Columns as Columns
from vitrina.data.product import Product, Rejection
from vitrina.ids import INT64
from vitrina.types import IdType

__all__ = ["DEFAULT_COLUMNS", "INT64", "Columns", "IdType"]

if TYPE_CHECKING:
    from vitrina.data.readers.missing_columns import Missing

UTF8 = "utf-8"
"""The encoding of a text file for which none is given and which has no byte order mark."""


@dataclass(frozen=True)
class TableOptions:
    """How to read a table or a feed; what is None is found out.

    Attributes:
        columns: a table's columns.
        delimiter: of a CSV file.
        encoding: of a text file, which is the one its byte order mark gives, else UTF-8, by
            default; or of a feed.
        category_separator: between the names in a category's path; `none` for names that are no
            paths.
    """

    columns: Columns = DEFAULT_COLUMNS
    delimiter: str | None = None
    encoding: str | None = None
    category_separator: str | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A row whose values can't be had, and why.

    undecodable: its bytes don't fit the encoding. product_id: the value of the id column, as the
    file has it, where it could be had all the same; None if not.
    """

    reason: str
    undecodable: bool = False
    product_id: Any = None


@dataclass(frozen=True, slots=True)
class UnreadableValue:
    """The place of one value that can't be had in a row whose other values can, and why."""

    reason: str


class Records(Protocol):
    """The rows of one file, or of one directory of files, as bare values."""

    @property
    def path(self) -> Path:
        """The file or directory."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns known so far; all of them once `rows` has come to its end."""

    @property
    def first_row(self) -> int:
        """The number of the first row that `rows` gives: 1, but for spreadsheets."""

    @property
    def names_grow(self) -> bool:
        """Whether `names` may not be complete yet."""

    @property
    def typed(self) -> bool:
        """Whether the file tells numbers from text; CSV doesn't."""

    @property
    def notes(self) -> Sequence[str]:
        """As of a `Reader`."""

    def id_type(self, column: str, *, lists: bool = False) -> IdType | None:
        """The type of a column's ids where the file declares one; None where its values tell.

        lists: whether a list of texts may be an id. Raises CatalogueError for a column whose
        declared type can't be an id's.
        """

    def holds_text(self, column: str) -> bool:
        """Whether a column may hold text or lists; false where the file declares another type."""

    def holds_bytes(self, column: str) -> bool:
        """Whether a column holds binary data, or lists of it."""

    def rows(
        self, columns: Sequence[str], id_column: str | None = None
    ) -> Iterator[tuple[Any, ...] | Fault | None]:
        """Every row from the first, its values in the order of `columns`; None for a blank row
        that counts. A value that can't be had is an `UnreadableValue`.

        id_column: the one whose value a `Fault` carries along where it can be had.
        """


class Reader(Protocol):
    """A catalogue's file, opened. `rows` may be called again and starts over."""

    @property
    def id_type(self) -> IdType:
        """The type of every product's id."""

    @property
    def category_type(self) -> IdType | None:
        """The type of every category's id; None where the file names no category."""

    @property
    def integer_ids(self) -> bool:
        """Whether every product id can be read as a 64-bit integer without loss: it is one, or it
        is the text that the integer would be written as."""

    @property
    def integer_categories(self) -> bool:
        """Whether every category id can be read as a 64-bit integer without loss."""

    @property
    def has_categories(self) -> bool:
        """Whether there is a column of category ids."""

    @property
    def source(self) -> str | None:
        """The name that the file itself gives of where its products come from: a feed's shop."""

    @property
    def notes(self) -> Sequence[str]:
        """How the file was read, where its owner may want to know: an encoding that is not the
        declared one, a separator of category paths that was detected. One sentence each."""

    @property
    def repairs(self) -> Mapping[str, int]:
        """Counts of what was mended in the file on the way; complete once `rows` has ended."""

    @property
    def missing(self) -> Missing:
        """The columns that are named in the options and are not in the file."""

    @property
    def has_text(self) -> bool:
        """Whether there is a title, description or attribute of any product."""

    @property
    def image_bytes(self) -> str | None:
        """The column that holds the photos themselves, if there is one."""

    def rows(self) -> Iterator[Product | Rejection]:
        """Every row, in order, as a product or as the reason why it isn't one."""
