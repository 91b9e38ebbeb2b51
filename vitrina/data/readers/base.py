"""What readers of every form share: how columns are named, and what a reader gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from vitrina.data.product import Product, Rejection

IdType: TypeAlias = type[int] | type[str]

INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns; None stands for the default name, if it is there.

    Attributes:
        product_id: default "product_id".
        title: default "title".
        description: default "description".
        attributes: further columns whose text joins the attributes as "name: value".
        shop: default "shop_title".
        category_id: default "category_id".
        category_name: default "category_name".
        image: names or paths of photos (a string or a list of them), or the photos' bytes;
            no default.
        keep: further columns to keep as metadata, which joins no text.
    """

    product_id: str | None = None
    title: str | None = None
    description: str | None = None
    attributes: tuple[str, ...] = ()
    shop: str | None = None
    category_id: str | None = None
    category_name: str | None = None
    image: str | None = None
    keep: tuple[str, ...] = ()


DEFAULT_COLUMNS = Columns()


@dataclass(frozen=True)
class TableOptions:
    """How to read a table or a feed; what is None is found out.

    Attributes:
        columns: a table's columns.
        delimiter: of a CSV file.
        encoding: of a CSV or JSONL file, which is UTF-8 by default, or of a feed.
    """

    columns: Columns = DEFAULT_COLUMNS
    delimiter: str | None = None
    encoding: str | None = None


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
    def image_bytes(self) -> str | None:
        """The column that holds the photos themselves, if there is one."""

    def rows(self) -> Iterator[Product | Rejection]:
        """Every row, in order, as a product or as the reason why it isn't one."""
