"""Product records of a catalogue, and the encoder's input text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from vitrina.types import CategoryId, ProductId

Metadata: TypeAlias = "tuple[tuple[str, str | int | float | bool], ...]"
"""Pairs of name and value that JSON can hold: no NaN, no infinity."""

TEXT_FIELDS = ("title", "attributes", "characteristics", "description", "shop")
"""Fields that `encoder_text` takes, in its order."""


def encoder_text(
    title: str,
    attributes: Iterable[str],
    characteristics: Iterable[str],
    description: str,
    shop: str,
) -> str:
    """Join fields into the text encoder's input, the most informative first.

    A length limit cuts the end.
    """
    parts = (title, *attributes, *characteristics, description, shop)
    return "\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Product:
    """One row of a catalogue, cleaned: no HTML is left in any field.

    `row` counts the catalogue's rows from 1. `images` are candidate references that the
    catalogue's image source resolves (a member of an archive, a path below a folder, a row of a
    column); none of them need exist. `metadata` holds further values, such as a price, which are
    kept with the product but not encoded. `label_fault` is the reason why the row's category can't
    be used, "" if it can; a faulty label never rejects the product.
    """

    row: int
    product_id: ProductId
    title: str
    description: str = ""
    attributes: tuple[str, ...] = ()
    characteristics: tuple[str, ...] = ()
    shop: str = ""
    category_id: CategoryId | None = None
    category_name: str | None = None
    images: tuple[str, ...] = ()
    metadata: Metadata = ()
    label_fault: str = ""

    @property
    def text(self) -> str:
        """Input of the text encoder; see `encoder_text`."""
        return encoder_text(
            self.title, self.attributes, self.characteristics, self.description, self.shop
        )


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that can't be used, with the reason. `row` counts from 1; the id is set if known."""

    row: int
    reason: str
    product_id: ProductId | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A bounded run of consecutive catalogue rows."""

    products: tuple[Product, ...]
    rejected: tuple[Rejection, ...] = ()
