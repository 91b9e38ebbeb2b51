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
    from vitrina.data.readers.columns import Missing


@dataclass(frozen=True)
class TableOptions:
    """How to read a table. `delimiter` None: find it out; both matter to text files only."""

    columns: Columns = DEFAULT_COLUMNS
    delimiter: str | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Fault:
    """A row whose values can't be had, and why; `undecodable`: for its bytes' encoding."""

    reason: str
    undecodable: bool = False


class Records(Protocol):
    """The rows of one file, or of one directory of files, as bare values."""

    @property
    def path(self) -> Path:
        """The file or directory."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are there."""

    def id_types(self, columns: Sequence[str]) -> tuple[IdType | None, ...]:
        """The type of the ids in each of `columns`; None where there is no id at all.

        Raises CatalogueError for a column that can't hold ids.
        """

    def holds_bytes(self, column: str) -> bool:
        """Whether a column holds binary data, or lists of it."""

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...] | Fault]:
        """Every row from the first, its values in the order of `columns`."""


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
        """The same of every category id."""

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
        """What was mended in the file on the way, and how often; whole once `rows` has ended."""

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
