"""Neighbour search: products with titles and scores for a product, a text or an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vitrina.data.image_limits import MAX_PIXELS
from vitrina.errors import (
    StoreError,
)
from vitrina.index.card import IndexCard
from vitrina.index.exact import ExcludedRows
from vitrina.index.results import AGAIN, SearchResult
from vitrina.index.search import VectorIndex
from vitrina.index.vote import DEFAULT_RULE, Vote, VoteRule, vote
from vitrina.page.summary import Summarised, Summary, size
from vitrina.pipelines.common.group_keys import by_row, duplicate_codes, shop_codes
from vitrina.pipelines.index.index_state import (
    Staleness,
    card_of,
    folder_of,
    open_vectors,
    warn_if_behind,
)
from vitrina.pipelines.index.neighbour_products import NeighbourProduct, NeighbourTable
from vitrina.pipelines.index.query_encoder import IndexQueries
from vitrina.store.filters import Condition, matching
from vitrina.store.products import Categories
from vitrina.store.shards import array_keys
from vitrina.store.store import OpenStore
from vitrina.types import CategoryId, Codes, Features, Floats, Mask, ProductId


@dataclass(frozen=True)
class SearchFilter:
    """Search filter: the products that may be neighbours.

    category: those of a category id, or below a category path. where: those that meet all
    conditions. no_duplicates: none with the title or a photo of the query product.
    other_shops: none of its own shop.
    """

    category: CategoryId | None = None
    where: tuple[Condition, ...] = ()
    no_duplicates: bool = False
    other_shops: bool = False


EVERYTHING = SearchFilter()


class Index(Summarised):
    """A store's index with the products behind it.

    behind: its staleness, None if it is up to date.
    """

    def __init__(self, store: OpenStore, described: IndexCard) -> None:
        """described: its card."""
        self.store = store
        self._card = described

    def __len__(self) -> int:
        return self._card.rows

    def summary(self) -> Summary:
        """Its card; whether it is up to date, if it was opened."""
        card = self._card
        recall, update, whitened = card.recall, card.update, card.whitened or ()
        opened = self.__dict__.get("_opened")
        facts: list[tuple[str, Any]] = [
            ("products", f"{card.rows:,} x {card.dim}"),
            ("vectors", [f"{one}{', whitened' * (one in whitened)}" for one in card.modalities]),
            ("kind", f"{card.kind} ({card.factory}), {size(card.bytes)}"),
            (
                f"recall at {recall.at}",
                f"{recall.value:.4f} ({recall.low:.4f} to {recall.high:.4f}), "
                f"{recall.queries:,} queries",
            ),
            ("queries a second", f"{card.queries_per_second:,.0f}"),
            (
                "last update",
                f"{update.added:,} added, {update.changed:,} changed, {update.removed:,} removed",
            ),
            ("vote", None if card.vote is None else f"weighted F1 {card.vote.weighted_f1:.4f}"),
        ]
        behind = opened[1] if opened else None
        notes = () if behind is None else (str(behind),)
        return Summary(f"Index {card.features} of {self.store.place}", facts, notes=notes)

    def __bool__(self) -> bool:
        # An empty index is an index.
        return True

    @property
    def card(self) -> dict[str, Any]:
        """Content of `index.json`: factory string, parameters, measured recall."""
        return dict(self._card.told)

    @classmethod
    def open(cls, store: OpenStore, features: Features | None = None) -> Index:
        """Open the index of some features; by default the fused one, or the only one there is.

        If it is stale, the logger `vitrina` warns. Raises StoreError if it was not built,
        FingerprintError if the store's spaces have changed since.
        """
        built = [Features(name) for name in store.manifest.indexes]
        if features is None:
            features = built[0] if len(built) == 1 else Features.FUSED
        index = cls.described(store, features)
        _ = index.vectors
        return index

    @classmethod
    def kept(cls, store: OpenStore, features: Features | None = None) -> Index:
        """As `open`, but a store opens each index once per commit, and keeps its encoders."""
        key = (cls, features)
        if key not in store.kept:
            store.kept[key] = cls.open(store, features)
        index: Index = store.kept[key]
        return index

    @classmethod
    def described(cls, store: OpenStore, features: Features) -> Index:
        """The index of some features, opened only when it is searched."""
        return cls(store, card_of(folder_of(store, features), features))

    @property
    def vectors(self) -> VectorIndex:
        """The vectors that are searched."""
        return self._opened[0]

    @property
    def behind(self) -> Staleness | None:
        """Staleness of the index, None if it is up to date."""
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[VectorIndex, Staleness | None]:
        vectors, behind = open_vectors(self.store, self._card.features)
        warn_if_behind(behind)
        return vectors, behind

    def search(
        self,
        *,
        product: ProductId | None = None,
        text: str | None = None,
        image: str | Path | Any = None,
        k: int = 10,
        category: CategoryId | None = None,
        where: Sequence[str] = (),
        no_duplicates: bool = False,
        other_shops: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> NeighbourTable:
        """The k nearest products of a product, a text, an image, or a text with an image.

        Args:
            product: an id; the product itself is never its own neighbour.
            text: any text, instead of a product. An index of photos alone is searched by the text
                tower of the model that encoded them.
            image: an image file, its bytes, a PIL image or (h, w, 3) uint8 pixels, instead of a
                product, or together with a text.
            k: how many.
            category: only products of this category id, or below this category path.
            where: only products that meet all of these, such as "shop=Foo" or "price<100".
            no_duplicates: leave out products with the product's title or photo.
            other_shops: leave out the product's own shop.
            max_pixels: an image of more is refused.

        Raises StoreError for a product that the index lacks or an invalid filter, ImageSourceError
        for an image that can't be used.
        """
        conditions = tuple(Condition.parse(text) for text in where)
        only = SearchFilter(category, conditions, no_duplicates, other_shops)
        if product is not None:
            found = self.of_products(self._row_of(product), k, only)
        else:
            vectors = self._queries.encode(text, image, max_pixels)
            found = self.vectors.search(vectors, k, allowed=self.allowed(only))
        near = found.neighbours(0)
        rows = self.store.products.titles([one.product_id for one in near])
        products = [
            NeighbourProduct(
                one.product_id,
                round(one.score, 6),
                row["title"],
                row["category_id"],
                row["category_name"],
            )
            for one, row in zip(near, rows, strict=True)
        ]
        schema = self.store.products.schema
        kinds = (schema.field(name).type for name in ("product_id", "category_id"))
        return NeighbourTable.of(products, *kinds)

    def of_products(
        self, positions: Codes, k: int, only: SearchFilter = EVERYTHING
    ) -> SearchResult:
        """Neighbours of products of the index, (q,) int64 rows of it, without themselves."""
        vectors = self.vectors.read(positions)
        rows = self._barring(only)
        barred = ExcludedRows(rows, [codes[positions] for codes in rows])
        return self.vectors.search_rows(
            vectors, k, own=positions, allowed=self.allowed(only), barred=barred
        )

    def find(
        self,
        vectors: Sequence[Floats],
        present: Sequence[Mask],
        k: int,
    ) -> SearchResult:
        """Neighbours of new products; `vectors` and `present` in the index's modalities' order."""
        return self.vectors.search(self.vectors.fusion.fuse(vectors, present), k)

    def vote(self, found: SearchResult) -> tuple[Vote, Codes]:
        """The category vote of the neighbours, and each neighbour's own code, (q, k)."""
        labels = np.where(found.positions >= 0, self.labels[found.positions], -1)
        classes = len(self.categories.ids)
        counts = self._counts if self.rule.prior else None
        return vote(labels, found.scores, classes=classes, rule=self.rule, counts=counts), labels

    @cached_property
    def rule(self) -> VoteRule:
        """The voting rule: as `vitrina index --evaluate` chose, or `DEFAULT_RULE`."""
        chosen = self._card.vote
        return chosen.rule.rule if chosen else DEFAULT_RULE

    @cached_property
    def products_at(self) -> Codes:
        """(n,) int64: the row of the product table behind each row of the index, -1 for none."""
        products, ids = self.store.products, self.vectors.product_ids
        at = products.table.positions(array_keys(ids))
        if ids.type != products.ids.type or (at[~self.vectors.dead] < 0).any():
            raise StoreError(
                f"the index at {self.vectors.where} names products that are not in its store; "
                f"{AGAIN}"
            )
        return np.where(self.vectors.dead, -1, at)

    @cached_property
    def categories(self) -> Categories:
        """The store's labels, which vote."""
        return self.store.labels()

    @cached_property
    def labels(self) -> Codes:
        """(n,) int64: the category code of each row of the index, -1 for none."""
        return self._by_row(self.categories.codes)

    @cached_property
    def _counts(self) -> Codes:
        known = self.labels[self.labels >= 0]
        return np.bincount(known, minlength=len(self.categories.ids))

    def allowed(self, only: SearchFilter) -> Mask | None:
        """(n,) bool: the rows of the index that pass a filter; None for all."""
        if only.category is None and not only.where:
            return None
        if self._filtered is None or self._filtered[0] != (only.category, only.where):
            there = matching(self.store.products, only.where, only.category)
            at = self.products_at
            self._filtered = ((only.category, only.where), (at >= 0) & there[at])
        return self._filtered[1]

    _filtered: tuple[Any, Mask] | None = None

    def _barring(self, only: SearchFilter) -> list[Codes]:
        """Codes of the index's rows; rows that share a code with the query are excluded."""
        codes = [*self.duplicates] if only.no_duplicates else []
        return [*codes, self._shops] if only.other_shops else codes

    @cached_property
    def duplicates(self) -> tuple[Codes, ...]:
        """Numbers of each row's title and photo, (n,) int64 each; see `duplicate_codes`."""
        return tuple(self._by_row(codes) for codes in duplicate_codes(self.store.products))

    @cached_property
    def _shops(self) -> Codes:
        return self._by_row(shop_codes(self.store.products))

    def _by_row(self, codes: Codes) -> Codes:
        return by_row(codes, self.products_at)

    @cached_property
    def _queries(self) -> IndexQueries:
        return IndexQueries(self.store, self.vectors)

    def _row_of(self, product: ProductId) -> Codes:
        typed = _typed(product, self.vectors.product_ids.type)
        position = self.vectors.positions([typed])
        if position[0] < 0:
            raise StoreError(
                f"product {product} is not in the index at {self.vectors.where}; it is unknown, "
                "has no vector, or came after the index was built (`vitrina index`)"
            )
        return position


def _typed(product: ProductId, kind: pa.DataType) -> ProductId | None:
    """Convert an id to the store's type; the command line passes only strings."""
    if not pa.types.is_int64(kind):
        return str(product)
    try:
        typed = int(product)
    except ValueError:
        return None
    return typed if -(2**63) <= typed < 2**63 else None
