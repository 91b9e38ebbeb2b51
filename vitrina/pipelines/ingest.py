"""Catalogue in: every product with the hash of its contents, into the store's product table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Batch, Product, Rejection
from vitrina.errors import CatalogueError, StoreError
from vitrina.ids import IdSet, id_keys
from vitrina.pipelines.before import Before
from vitrina.pipelines.photos import NO_PHOTO, Photographed, PhotoHasher
from vitrina.pipelines.progress import Meter
from vitrina.stages import timed_each
from vitrina.store.manifest import FileEntry
from vitrina.store.products import ProductWriter, content_hash, schema
from vitrina.store.shards import array_keys
from vitrina.store.store import Store
from vitrina.store.writer import Writer
from vitrina.types import ProductId


@dataclass(frozen=True)
class IngestOptions:
    """How to read a catalogue into a store.

    photos: whether to look at the photos. prune: drop the products that the catalogue does not
    mention. retry_failed: read photos again that could not be read. rehash: read all photos
    again, though their files look unchanged.
    """

    photos: bool = True
    prune: bool = False
    retry_failed: bool = False
    rehash: bool = False
    quiet: bool = True


@dataclass(frozen=True)
class Unreadable:
    """A photo that can't be read. tried: in this run; else it failed before and looks the same."""

    product_id: ProductId
    reason: str
    tried: bool


@dataclass
class Ingested:
    """What reading the catalogue gave, in products.

    products: parts of the new table. fresh: rows of this catalogue, which come first in it:
    `new` ones, `changed` in text or photo, `relabelled` in category or metadata alone, and
    `unchanged`. kept: rows of earlier catalogues that stand after them; removed: those pruned.
    unreadable: photos that are there and can't be read.
    """

    products: tuple[FileEntry, ...] = ()
    fresh: int = 0
    new: int = 0
    changed: int = 0
    relabelled: int = 0
    unchanged: int = 0
    kept: int = 0
    removed: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    def rejections(self) -> str:
        """The reasons and how often each came up, for the summary."""
        counted = Counter(rejection.reason for rejection in self.rejected)
        return "; ".join(f"{reason}: {count}" for reason, count in counted.most_common(3))


def ingest(catalogue: Catalogue, store: Store, writer: Writer, options: IngestOptions) -> Ingested:
    """Stream a catalogue into new parts of the product table; nothing is live until a commit.

    Raises CatalogueError if no row can be used, StoreError if the catalogue's ids are of another
    type than the store's.
    """
    result = Ingested()
    table = ProductWriter(writer, schema(*_id_types(catalogue, store)))
    reading = _Reading(catalogue, Before(store), options, result)
    seen = IdSet()
    try:
        with Meter("reading", unit="rows", quiet=options.quiet) as meter:
            for batch in catalogue.batches():
                seen.add(_mentioned(batch))
                table.add(reading.rows(batch.products))
                result.rejected.extend(batch.rejected)
                result.fresh += len(batch.products)
                meter.advance(len(batch.products) + len(batch.rejected))
        if result.fresh == 0:
            raise CatalogueError(
                f"{catalogue.path}: no row can be used ({result.rejections() or 'it has no rows'})"
            )
        _keep_others(store, seen, table, result, prune=options.prune)
        result.products = table.finish()
    finally:
        table.close()
    return result


def _id_types(catalogue: Catalogue, store: Store) -> tuple[pa.DataType, pa.DataType]:
    arrow = {int: pa.int64(), str: pa.string(), None: None}
    product_id, category_id = arrow[catalogue.id_type], arrow[catalogue.category_type]
    if not len(store.products):
        return product_id, category_id or pa.int64()
    there = store.products.schema
    have = there.field("product_id").type, there.field("category_id").type
    labelled = store.products.counts()["category"] > 0
    for what, old, new in (
        ("product", have[0], product_id),
        ("category", have[1], category_id if labelled else None),
    ):
        if new is not None and new != old:
            raise StoreError(
                f"{catalogue.path}: {what} ids are {new}, but those in {store.place} are {old}; "
                "use a store of its own for this catalogue"
            )
    return product_id, have[1] if labelled else category_id or have[1]


def _mentioned(batch: Batch) -> Any:
    """Keys of the ids in a batch; a row that can't be used is no reason to prune its product."""
    ids = [product.product_id for product in batch.products]
    kind = type(ids[0]) if ids else None
    ids += [row.product_id for row in batch.rejected if isinstance(row.product_id, kind or str)]
    return id_keys(ids)


class _Reading:
    """Turns batches of products into rows, and counts what became of each."""

    def __init__(
        self, catalogue: Catalogue, before: Before, options: IngestOptions, result: Ingested
    ) -> None:
        self._before, self._options, self._result = before, options, result
        self._hasher = None
        if options.photos and catalogue.images is not None:
            self._hasher = PhotoHasher(catalogue.images, anew=options.rehash)

    def rows(self, products: Sequence[Product]) -> Iterator[dict[str, Any]]:
        """One row of the table for each product, in order."""
        keys = id_keys([product.product_id for product in products])
        positions = self._before.positions(keys)
        hashes = [content_hash(text.encode()) if (text := one.text) else None for one in products]
        photos = self._photos(products, positions)
        for product, text_hash, photo, position in zip(
            products, hashes, photos, positions.tolist(), strict=True
        ):
            if photo.reason:
                self._result.unreadable.append(
                    Unreadable(product.product_id, photo.reason, photo.tried)
                )
            metadata = None
            if product.metadata:
                metadata = json.dumps(dict(product.metadata), ensure_ascii=False)
            row = {
                "product_id": product.product_id,
                "title": product.title,
                "description": product.description,
                "attributes": product.attributes,
                "characteristics": product.characteristics,
                "shop": product.shop,
                "category_id": product.category_id,
                "category_name": product.category_name,
                "metadata": metadata,
                "images": photo.references,
                "text_hash": text_hash,
                "image_hash": photo.hash,
                "image_stamp": photo.stamp,
            }
            self._count(row, position)
            yield row

    def _photos(self, products: Sequence[Product], positions: Any) -> Iterable[Photographed]:
        if self._hasher is None:
            # Nobody looked at the photos: what was known of them stands.
            return self._before.photos(positions)
        known = [NO_PHOTO] * len(products)
        if not self._options.rehash:
            known = self._before.stamped(positions, retry_failed=self._options.retry_failed)
        return timed_each("hashing photos", self._hasher.hash(products, known))

    def _count(self, row: dict[str, Any], position: int) -> None:
        result = self._result
        if position < 0:
            result.new += 1
        elif not self._before.same_content(position, row):
            result.changed += 1
        elif not self._before.same_rest(position, row):
            result.relabelled += 1
        else:
            result.unchanged += 1


def _keep_others(
    store: Store, seen: IdSet, table: ProductWriter, result: Ingested, *, prune: bool
) -> None:
    """Carry over the products that this catalogue does not mention, or count them as removed."""
    if not len(store.products):
        return
    columns = ["product_id"] if prune else table.schema.names
    for _, batch in store.products.batches(columns):
        others = ~seen.contains(array_keys(batch.column("product_id")))
        count = int(np.count_nonzero(others))
        if prune:
            result.removed += count
        elif count:
            table.add(batch.filter(pa.array(others)).to_pylist())
            result.kept += count
