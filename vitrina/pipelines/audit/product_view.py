"""Titles and photos of products, for the audit's pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vitrina.data.sources import ImageSource
from vitrina.errors import ImageError, ImageSourceError
from vitrina.ids import id_keys
from vitrina.parallel import map_ahead
from vitrina.store.store import OpenStore
from vitrina.types import Codes, ProductId

BLOCK_ROWS = 2000


class Shown:
    """Titles and photos of a store's products. images: source of the photos, None for none."""

    def __init__(self, store: OpenStore, images: ImageSource | None) -> None:
        self._store, self._images = store, images

    def titles(self, ids: Sequence[ProductId]) -> Mapping[ProductId, str]:
        """The titles, "" for none, of the products that are in the store, by id."""
        out: dict[ProductId, str] = {}
        for start in range(0, len(ids), BLOCK_ROWS):
            some, rows = self._there(ids[start : start + BLOCK_ROWS])
            told = self._store.products.take(rows, ["title"]).column("title").to_pylist()
            out |= {key: title or "" for key, title in zip(some, told, strict=True)}
        return out

    def photos(self, ids: Sequence[ProductId]) -> Iterator[tuple[ProductId, bytes]]:
        """The bytes of each product's first photo; products without a readable one are left out."""
        if self._images is None:
            return
        images = self._images

        def read(place: tuple[ProductId, str]) -> tuple[ProductId, bytes | None]:
            try:
                return place[0], images.read(place[1])
            except (ImageError, ImageSourceError, OSError):
                return place[0], None

        for start in range(0, len(ids), BLOCK_ROWS):
            places = self._places(ids[start : start + BLOCK_ROWS])
            for key, photo in map_ahead(read, places, images.workers):
                if photo is not None:
                    yield key, photo

    def photo(self, product: ProductId) -> bytes | None:
        """The bytes of a product's first photo; None if it has no readable one."""
        return next((photo for _, photo in self.photos([product])), None)

    def _places(self, ids: Sequence[ProductId]) -> list[tuple[ProductId, str]]:
        some, rows = self._there(ids)
        table = self._store.products.take(rows, ["images", "image_hash"]).to_pylist()
        return [
            (key, row["images"][0])
            for key, row in zip(some, table, strict=True)
            if row["image_hash"] is not None and row["images"]
        ]

    def _there(self, ids: Sequence[ProductId]) -> tuple[list[ProductId], Codes]:
        positions: Codes = self._store.products.table.positions(id_keys(ids))
        there = np.flatnonzero(positions >= 0)
        return [ids[at] for at in there.tolist()], positions[there]
