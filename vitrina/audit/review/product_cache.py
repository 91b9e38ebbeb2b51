"""What the page shows of products: their texts from the table, their photos made small."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np

from vitrina.audit.results import Suspect
from vitrina.audit.thumbs import thumbnail
from vitrina.ids import id_keys
from vitrina.store.store import Store
from vitrina.types import Modality, ProductId

SMALL, LARGE = 320, 1200
"""Pixels on the longer edge: of a neighbour's photo on a sharp screen, and of an enlarged one."""
COLUMNS = ("product_id", "title", "description", "attributes", "characteristics", "shop")

_ROWS = 20_000
_BYTES = 64 * 2**20

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Lately(Generic[Key, Value]):
    """What was used lately, up to some size in all."""

    def __init__(self, most: int, size: Callable[[Value], int]) -> None:
        self._most, self._size, self._held = most, size, 0
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
                self._held -= self._size(self._all.pop(key))
            self._all[key] = value
            self._held += self._size(value)
            while self._held > self._most and len(self._all) > 1:
                self._held -= self._size(self._all.popitem(last=False)[1])


class Shelf:
    """The products that suspects and their neighbours are.

    photo: the bytes of a product's photo, None where it has none.
    """

    def __init__(self, store: Store, photo: Callable[[ProductId], bytes | None]) -> None:
        self._products, self._photo = store.products, photo
        self._has = store.products.has(Modality.IMAGE)
        self._rows: _Lately[int, Mapping[str, Any]] = _Lately(_ROWS, lambda _: 1)
        self._thumbs: _Lately[tuple[int, int], bytes] = _Lately(_BYTES, len)
        self._lock = Lock()

    def rows(self, ids: Iterable[ProductId]) -> dict[ProductId, int]:
        """The row in the table of each product that is there."""
        wanted = [*dict.fromkeys(ids)]
        at = self._products.table.positions(id_keys(wanted)).tolist()
        return {key: row for key, row in zip(wanted, at, strict=True) if row >= 0}

    def texts(self, ids: Iterable[ProductId]) -> dict[ProductId, Mapping[str, Any]]:
        """`COLUMNS` of products, with `row`, and `photo`: whether there is one."""
        rows = self.rows(ids)
        found = {key: self._rows.get(row) for key, row in rows.items()}
        missing = [key for key, one in found.items() if one is None]
        if missing:
            # The table keeps the group that it read last, and is not made for two at once.
            with self._lock:
                at = np.array([rows[key] for key in missing], dtype=np.int64)
                read = self._products.take(at, COLUMNS).to_pylist()
            for key, one in zip(missing, read, strict=True):
                row = rows[key]
                found[key] = {**one, "row": row, "photo": bool(self._has[row])}
                self._rows.put(row, found[key] or {})
        return {key: one for key, one in found.items() if one is not None}

    def thumbnail(self, row: int, pixels: int) -> bytes | None:
        """The photo of a row's product as a WebP; None where it has none that can be read."""
        if not (0 <= row < len(self._has) and self._has[row]):
            return None
        kept = self._thumbs.get((row, pixels))
        if kept is None:
            original = self._photo(self._products.ids[row].as_py())
            kept = (thumbnail(original, pixels) if original else None) or b""
            self._thumbs.put((row, pixels), kept)
        return kept or None

    def warm(self, suspects: Iterable[Suspect]) -> None:
        """Read ahead what the next cards show."""
        for one in suspects:
            self.texts(mentioned(one))


def mentioned(one: Suspect) -> list[ProductId]:
    """The products that a suspect's card shows."""
    return [one.product_id, *(near.product_id for near in (*one.neighbours, *one.copies))]
