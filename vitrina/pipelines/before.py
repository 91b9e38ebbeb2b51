"""What a store knew of each product before a catalogue was read into it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from vitrina.ids import IdTable, Keys
from vitrina.pipelines.photos import NO_PHOTO, Photographed
from vitrina.store.products import hash_bytes
from vitrina.store.space import read_errors
from vitrina.store.store import Store
from vitrina.types import Codes, Modality

_REST = ("category_id", "category_name", "metadata")
_PHOTO = ("images", "image_hash", "image_stamp")


class Before:
    """The product table as it is, by position; about 80 bytes of memory a product."""

    def __init__(self, store: Store) -> None:
        self._products = store.products
        self._reasons: dict[str, str] = {}
        if not len(self._products):
            self._table = IdTable(np.empty(0, dtype=np.uint64))
            return
        self._table = self._products.table
        self._text = self._products.hashes(Modality.TEXT)
        self._image = self._products.hashes(Modality.IMAGE)
        self._stamp = self._products.stamps()
        self._rest = np.concatenate(
            [
                np.array([hash(row) for row in zip(*columns, strict=True)], dtype=np.int64)
                for _, batch in self._products.batches(_REST)
                for columns in [[batch.column(name).to_pylist() for name in _REST]]
            ]
        )
        for name, entry in store.manifest.spaces.items():
            if store.open_space(name).modality is Modality.IMAGE:
                for row in read_errors(store.files, entry.errors).to_pylist():
                    if row["content_hash"] is None:
                        self._reasons[row["product_id"]] = row["error"]

    def positions(self, keys: Keys) -> Codes:
        """(n,) int64: where each product stands in the table, -1 for a new one."""
        return self._table.positions(keys)

    def same_content(self, position: int, row: dict[str, Any]) -> bool:
        """Whether text and photos are what they were."""
        return bool(
            self._text[position].tobytes() == hash_bytes(row["text_hash"])
            and self._image[position].tobytes() == hash_bytes(row["image_hash"])
        )

    def same_rest(self, position: int, row: dict[str, Any]) -> bool:
        """Whether category and metadata are what they were."""
        return bool(self._rest[position] == hash(tuple(row[name] for name in _REST)))

    def stamped(self, positions: Codes, *, retry_failed: bool) -> list[Photographed]:
        """What was known of each product's photos, where a stamp tells whether it still holds.

        retry_failed: nothing is known of photos that could not be read.
        """
        known = [NO_PHOTO] * len(positions)
        for at, position in enumerate(positions.tolist()):
            stamp = self._stamp[position].tobytes() if position >= 0 else b""
            if not any(stamp):
                continue
            image = self._image[position].tobytes()
            if any(image):
                known[at] = Photographed((), image.hex(), stamp.hex())
            elif not retry_failed and self._reasons:
                reason = self._reasons.get(str(self._products.ids[position].as_py()))
                known[at] = replace(NO_PHOTO, stamp=stamp.hex(), reason=reason or "")
        return known

    def photos(self, positions: Codes) -> Iterator[Photographed]:
        """All that was known of each product's photos."""
        there = positions >= 0
        rows: Iterator[dict[str, Any]] = iter(())
        if there.any():
            rows = iter(self._products.take(positions[there], _PHOTO).to_pylist())
        for old in there:
            if not old:
                yield NO_PHOTO
                continue
            row = next(rows)
            yield Photographed(tuple(row["images"] or ()), row["image_hash"], row["image_stamp"])
