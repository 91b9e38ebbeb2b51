"""Cache of the products on review pages: texts from the table, and thumbnails."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np

from vitrina.audit.results import Suspect
from vitrina.audit.thumbs import thumbnail
from vitrina.ids import id_keys
from vitrina.store.store import OpenStore
from vitrina.types import Modality, ProductId

SMALL, LARGE = 320, 1200
"""Longer edge in pixels: of a neighbour's photo on a sharp screen, and of an enlarged one."""
COLUMNS = ("product_id", "title", "description", "attributes", "characteristics", "shop")

_ROWS = 20_000
_BYTES = 64 * 2**20

Key = TypeVar("Key")
Value = TypeVar("Value")


class _LRUCache(Generic[Key, Value]):
    """LRU cache of limited total size, safe for threads."""

    def __init__(self, most: int, size: Callable[[Value], int]) -> None:
        self._most, self._size, self._used = most, size, 0
        self._all: OrderedDict[Key, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key) -> Value | None:
        with self._lock:
            if key in self._all:
                self._all.move_to_end(key)
            return self._all.get(key)

    def put(self, key: Key, value: Value) -> None:
        with self._lock:
            if key in self._all:
                self._used -= self._size(self._all.pop(key))
            self._all[key] = value
            self._used += self._size(value)
            while self._used > self._most and len(self._all) > 1:
                self._used -= self._size(self._all.popitem(last=False)[1])


class ProductCache:
    """The products of suspects and their neighbours, cached.

    photo: the bytes of a product's photo, None where it has none.
    """

    def __init__(self, store: OpenStore, photo: Callable[[ProductId], bytes | None]) -> None:
        self._products, self._photo = store.products, photo
        self._has = store.products.has(Modality.IMAGE)
        self._rows: _LRUCache[int, Mapping[str, Any]] = _LRUCache(_ROWS, lambda _: 1)
        self._thumbs: _LRUCache[tuple[int, int], bytes] = _LRUCache(_BYTES, len)
        self._lock = Lock()

    def rows(self, ids: Iterable[ProductId]) -> dict[ProductId, int]:
        """Row of each product in the table; missing products are left out."""
        wanted = [*dict.fromkeys(ids)]
        at = self._products.table.positions(id_keys(wanted)).tolist()
        return {key: row for key, row in zip(wanted, at, strict=True) if row >= 0}

    def texts(self, ids: Iterable[ProductId]) -> dict[ProductId, Mapping[str, Any]]:
        """`COLUMNS` of products, with `row`, and `photo`, true if the product has one."""
        rows = self.rows(ids)
        found = {key: self._rows.get(row) for key, row in rows.items()}
        missing = [key for key, one in found.items() if one is None]
        if missing:
            # The table caches the row group it read last, and is not safe for threads.
            with self._lock:
                at = np.array([rows[key] for key in missing], dtype=np.int64)
                read = self._products.take(at, COLUMNS).to_pylist()
            for key, one in zip(missing, read, strict=True):
                row = rows[key]
                found[key] = {**one, "row": row, "photo": bool(self._has[row])}
                self._rows.put(row, found[key] or {})
        return {key: one for key, one in found.items() if one is not None}

    def thumbnail(self, row: int, pixels: int) -> bytes | None:
        """Thumbnail of a row's product as WebP; None without a readable photo."""
        if not (0 <= row < len(self._has) and self._has[row]):
            return None
        kept = self._thumbs.get((row, pixels))
        if kept is None:
            original = self._photo(self._products.ids[row].as_py())
            kept = (thumbnail(original, pixels) if original else None) or b""
            self._thumbs.put((row, pixels), kept)
        return kept or None

    def warm(self, suspects: Iterable[Suspect]) -> None:
        """Read the texts of the next cards in advance."""
        for one in suspects:
            self.texts(mentioned(one))


def mentioned(one: Suspect) -> list[ProductId]:
    """The products that a suspect's card shows."""
    return [one.product_id, *(near.product_id for near in (*one.neighbours, *one.copies))]
