"""Conversion of a catalogue's ids to the store's: integers, or strings prefixed with the source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.store.sources import Source
from vitrina.store.store import OpenStore
from vitrina.types import CategoryId, IdType, ProductId

Convert = Callable[[Any], Any]

_ARROW: dict[IdType, pa.DataType] = {int: pa.int64(), str: pa.string()}


@dataclass(frozen=True)
class IdForms:
    """Types of a store's ids after a catalogue is added, and the conversion of the catalogue's ids.

    Attributes:
        product, category: the types.
        retyped: whether the store's product ids change from integers to strings.
    """

    product: IdType
    category: IdType
    retyped: bool
    _product_id: Convert | None
    _category_id: Convert | None

    @classmethod
    def of(cls, catalogue: Catalogue, store: OpenStore, source: Source) -> IdForms:
        """Determine the types. Ids stay integers if every id of the catalogue is one, or is written
        as one, and needs no prefix of its source."""
        held = len(store.products) > 0
        labelled = held and store.products.counts()["category"] > 0
        product_now, category_now = store.id_types
        product = _common(
            product_now if held else None, catalogue.id_type, catalogue.integer_ids, source
        )
        category = _common(
            category_now if labelled else None,
            catalogue.category_type,
            catalogue.integer_categories,
            source,
        )
        return cls(
            product,
            category,
            retyped=held and product is str and product_now is int,
            _product_id=_convert(catalogue.id_type, product, source.prefix),
            _category_id=_convert(catalogue.category_type, category, source.prefix),
        )

    @property
    def arrow(self) -> tuple[pa.DataType, pa.DataType]:
        """Both types as Arrow types."""
        return _ARROW[self.product], _ARROW[self.category]

    def product_ids(self, ids: Sequence[ProductId]) -> Sequence[ProductId]:
        """Convert product ids of the catalogue to the store's."""
        return ids if self._product_id is None else [*map(self._product_id, ids)]

    def category_id(self, category: CategoryId | None) -> CategoryId | None:
        """Convert a category id of the catalogue to the store's."""
        if category is None or self._category_id is None:
            return category
        converted: CategoryId = self._category_id(category)
        return converted

    def rejected_id(self, product_id: ProductId | None) -> ProductId | None:
        """Convert the id of a rejected row, which may have any type."""
        if product_id is None or self._product_id is None:
            return product_id
        try:
            converted: ProductId = self._product_id(product_id)
        except ValueError:
            return product_id
        return converted


def _common(now: IdType | None, given: IdType | None, integers: bool, source: Source) -> IdType:
    """Return the type of a store's ids after a catalogue is added. now: the current type, None for
    a new store; given: the catalogue's, None if it has no such ids."""
    if given is None:
        return now or int
    if source.prefix or now is str:
        return str
    if now is int:
        return int if integers else str
    return given


def _convert(given: IdType | None, to: IdType, prefix: str) -> Convert | None:
    if prefix:
        return lambda one: f"{prefix}{one}"
    return None if given is to else to
