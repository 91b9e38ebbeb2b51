"""Snapshot of the product table before a catalogue is ingested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vitrina.ids import IdTable, Keys, typed_id
from vitrina.pipelines.common.photo_hashes import NO_PHOTO, Photographed
from vitrina.store.products import HASH_COLUMNS, Categories, hash_bytes
from vitrina.store.space import read_errors
from vitrina.store.store import OpenStore
from vitrina.types import CategoryId, Codes, IdType, Mask, Modality

_LABEL = ("category_id", "category_name")
_REST = (*_LABEL, "metadata")
_PHOTO = ("images", "image_hash", "image_stamp")

Hashes = npt.NDArray[np.int64]
"""(n,) int64: Python's hash of some fields of each product, which tells changes in one run."""


class ProductSnapshot:
    """The product table by position; about 110 bytes of memory per product.

    Attributes:
        category_id: type of category ids for comparing rows.
        categories: the catalogue's label of each product, in the store's type.
        source_names, source_codes: the sources, and (n,) int64, the source of each product.
    """

    def __init__(self, store: OpenStore, category_id: IdType) -> None:
        self._products = store.products
        self.category_id = category_id
        self._reasons: dict[str, str] = {}
        self.source_names: tuple[str, ...] = ()
        self.source_codes: Codes = np.empty(0, dtype=np.int64)
        self.categories = Categories((), np.empty(0, dtype=np.int64), ())
        self._titles: Hashes = np.empty(0, dtype=np.int64)
        if not len(self._products):
            self._table = IdTable(np.empty(0, dtype=np.uint64))
            return
        self._table = self._products.table
        self._hashes = {modality: self._products.hashes(modality) for modality in Modality}
        self._stamp = self._products.stamps()
        self.source_names, self.source_codes = self._products.sources()
        self.categories = store.categories()
        self._titles, self._rest = self._field_hashes()
        for name, entry in store.manifest.spaces.items():
            if store.open_space(name).modality is Modality.IMAGE:
                for row in read_errors(store.files, entry.errors).to_pylist():
                    if row["content_hash"] is None and row["stage"] == "read":
                        self._reasons[row["product_id"]] = row["error"]

    def __len__(self) -> int:
        return len(self._products)

    def positions(self, keys: Keys) -> Codes:
        """Positions of products in the table, (n,) int64; -1 for a new one."""
        return self._table.positions(keys)

    def same_hashes(
        self, modality: Modality, positions: Codes, rows: Sequence[Mapping[str, Any]]
    ) -> Mask:
        """Find products with unchanged content: (n,) bool."""
        column, kept = HASH_COLUMNS[modality], self._hashes[modality]
        now = b"".join([hash_bytes(row[column]) for row in rows])
        mask: Mask = kept[positions] == np.frombuffer(now, dtype="V16")
        return mask

    def same_rest(self, positions: Codes, rows: Sequence[Mapping[str, Any]]) -> Mask:
        """Find products with unchanged category and metadata: (n,) bool."""
        now = [hash((row["category_id"], row["category_name"], row["metadata"])) for row in rows]
        mask: Mask = self._rest[positions] == np.array(now, dtype=np.int64)
        return mask

    def same_title(self, position: int, title: str) -> bool:
        """Return True if the title is unchanged."""
        return bool(self._titles[position] == hash(title))

    def labels(self, positions: Codes) -> list[tuple[CategoryId | None, str | None]]:
        """Category id and name of some products, as in their rows."""
        if not len(positions):
            return []
        taken = self._products.take(positions, _LABEL)
        ids, names = (taken.column(name).to_pylist() for name in _LABEL)
        return [
            (typed_id(key, self.category_id), name) for key, name in zip(ids, names, strict=True)
        ]

    def titles(self, positions: Codes) -> list[str]:
        """Titles of some products."""
        if not len(positions):
            return []
        column = self._products.take(positions, ["title"]).column("title")
        return [title or "" for title in column.to_pylist()]

    @cached_property
    def titled(self) -> Mask:
        """Find products that had a title: (n,) bool."""
        mask: Mask = self._titles != hash("")
        return mask

    def has_photo(self, positions: Codes) -> Mask:
        """Find products that had a readable photo: (n,) bool."""
        return self._photographed[positions]

    @cached_property
    def _photographed(self) -> Mask:
        return self._products.has(Modality.IMAGE)

    def stamped(self, positions: Codes, *, retry_failed: bool) -> list[Photographed]:
        """Known photos of each product, as far as their files' stamps can confirm them.

        retry_failed: leave out photos that could not be read.
        """
        known = [NO_PHOTO] * len(positions)
        for at, position in enumerate(positions.tolist()):
            stamp = self._stamp[position].tobytes() if position >= 0 else b""
            if not any(stamp):
                continue
            image = self._hashes[Modality.IMAGE][position].tobytes()
            if any(image):
                known[at] = Photographed((), image.hex(), stamp.hex())
            elif not retry_failed and self._reasons:
                reason = self._reasons.get(str(self._products.ids[position].as_py()))
                known[at] = replace(NO_PHOTO, stamp=stamp.hex(), reason=reason or "")
        return known

    def photos(self, positions: Codes) -> Iterator[Photographed]:
        """Known photos of each product."""
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

    def category_names(self, source: str) -> dict[Any, frozenset[str]]:
        """All names of each category id of a source.

        "" stands for none. Names from before an id was reused are left out.
        """
        if source not in self.source_names:
            return {}
        own = self.source_codes == self.source_names.index(source)
        found: dict[Any, set[str]] = {}
        labels = self.categories
        for start, batch in self._products.batches(["category_name"]):
            rows = np.arange(start, start + batch.num_rows)
            codes = np.where(own[rows], labels.codes[rows], -1)
            names = batch.column("category_name").fill_null("").dictionary_encode()
            pairs = np.column_stack([codes, names.indices.to_numpy(zero_copy_only=False)])
            for code, name in np.unique(pairs[codes >= 0], axis=0).tolist():
                found.setdefault(labels.ids[code], set()).add(names.dictionary[name].as_py())
        return {key: frozenset(names) for key, names in found.items()}

    def _field_hashes(self) -> tuple[Hashes, Hashes]:
        titles, rest = [], []
        for _, batch in self._products.batches(("title", *_REST)):
            if self.category_id is str:
                ids = batch.column("category_id").cast(pa.string())
                batch = batch.set_column(1, "category_id", ids)
            title, *others = (column.to_pylist() for column in batch.columns)
            titles.append(np.array([hash(one or "") for one in title], dtype=np.int64))
            rows = [hash(row) for row in zip(*others, strict=True)]
            rest.append(np.array(rows, dtype=np.int64))
        return np.concatenate(titles), np.concatenate(rest)
