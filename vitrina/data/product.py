"""One product as its catalogue gives it, and the text that its encoder reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from vitrina.types import CategoryId, ProductId

Metadata: TypeAlias = "tuple[tuple[str, str | int | float | bool], ...]"
"""Names and values, each of which JSON can hold: no NaN, no infinity."""

TEXT_FIELDS = ("title", "attributes", "characteristics", "description", "shop")
"""The fields that `encoder_text` takes, in its order."""


def encoder_text(
    title: str,
    attributes: Iterable[str],
    characteristics: Iterable[str],
    description: str,
    shop: str,
) -> str:
    """What a text encoder reads: most telling first, since a length limit cuts the end."""
    parts = (title, *attributes, *characteristics, description, shop)
    return "\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Product:
    """One row of a catalogue, cleaned: no HTML is left in any field.

    `row` counts the catalogue's rows from 1. `images` are references that the catalogue's
    image source resolves (a member of an archive, a path below a folder, a row of a column);
    they are candidates, and none of them need exist. `metadata` is what else the catalogue says,
    such as a price: kept beside the product, and read by no encoder. `label_fault` is the reason
    why the row's category can't be used, "" if nothing is wrong with it: a faulty label costs the
    label, never the product.
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
        """What a text encoder reads of this product."""
        return encoder_text(
            self.title, self.attributes, self.characteristics, self.description, self.shop
        )


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that can't be used, and why. `row` counts from 1; the id is there if it was read."""

    row: int
    reason: str
    product_id: ProductId | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A bounded run of consecutive catalogue rows."""

    products: tuple[Product, ...]
    rejected: tuple[Rejection, ...] = ()
