"""The ids of a catalogue as its store has them: integers or strings, with their source in front."""

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
    """The types of a store's ids once a catalogue is in it, and how the catalogue's become these.

    Attributes:
        product, category: the types.
        retyped: whether the store's product ids were integers and become strings.
    """

    product: IdType
    category: IdType
    retyped: bool
    _product_id: Convert | None
    _category_id: Convert | None

    @classmethod
    def of(cls, catalogue: Catalogue, store: OpenStore, source: Source) -> IdForms:
        """Integers stay integers as long as every id of the catalogue is one or is written like
        one, and the source's name need not stand in front of it."""
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
        """Both types as Arrow's."""
        return _ARROW[self.product], _ARROW[self.category]

    def product_ids(self, ids: Sequence[ProductId]) -> Sequence[ProductId]:
        """Product ids of the catalogue as they stand in the store."""
        return ids if self._product_id is None else [*map(self._product_id, ids)]

    def category_id(self, category: CategoryId | None) -> CategoryId | None:
        """A category id of the catalogue as it stands in the store."""
        if category is None or self._category_id is None:
            return category
        converted: CategoryId = self._category_id(category)
        return converted

    def rejected_id(self, product_id: ProductId | None) -> ProductId | None:
        """The id of a row that can't be used, which may be of any type."""
        if product_id is None or self._product_id is None:
            return product_id
        try:
            converted: ProductId = self._product_id(product_id)
        except ValueError:
            return product_id
        return converted


def _common(now: IdType | None, given: IdType | None, integers: bool, source: Source) -> IdType:
    """The type of a store's ids after a catalogue was added. now: None where there is none yet;
    given: None where the catalogue has none."""
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
