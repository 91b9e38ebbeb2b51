"""Catalogue in: every product with the hash of its contents, into the store's product table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Product, Rejection
from vitrina.errors import CatalogueError, ImageError, StoreError
from vitrina.ids import IdSet, id_keys
from vitrina.pipelines.progress import Meter
from vitrina.store.manifest import FileEntry
from vitrina.store.products import ProductWriter, content_hash, schema
from vitrina.store.store import Store
from vitrina.types import ProductId


@dataclass
class Ingested:
    """What reading the catalogue gave.

    products: parts of the new table. fresh: rows of this catalogue, which come first in it;
    kept: rows from earlier catalogues after them. unreadable: product id and reason of photos
    that are there and can't be read.
    """

    products: tuple[FileEntry, ...] = ()
    fresh: int = 0
    kept: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    unreadable: list[tuple[ProductId, str]] = field(default_factory=list)

    def rejections(self) -> str:
        """The reasons and how often each came up, for the summary."""
        counted = Counter(rejection.reason for rejection in self.rejected)
        return "; ".join(f"{reason}: {count}" for reason, count in counted.most_common(3))


def ingest(catalogue: Catalogue, store: Store, *, photos: bool, quiet: bool) -> Ingested:
    """Stream a catalogue into new parts of the product table; nothing is live until a commit.

    photos: whether to read and hash the photos.
    Raises StoreError if the catalogue's ids are of another type than the store's.
    """
    result = Ingested()
    columns = schema(*_id_types(catalogue, store))
    writer = ProductWriter(store.layout, columns)
    seen = IdSet()
    try:
        with Meter("reading", unit="rows", quiet=quiet) as meter:
            for batch in catalogue.batches():
                result.rejected.extend(batch.rejected)
                seen.add(id_keys([product.product_id for product in batch.products]))
                writer.add(_row(product, catalogue, photos, result) for product in batch.products)
                result.fresh += len(batch.products)
                meter.advance(len(batch.products) + len(batch.rejected))
        if result.fresh == 0:
            raise CatalogueError(
                f"{catalogue.path}: no row can be used ({result.rejections() or 'it has no rows'})"
            )
        result.kept = _keep_others(store, seen, writer)
        result.products = writer.finish()
    except BaseException:
        writer.abandon()
        raise
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
                f"{catalogue.path}: {what} ids are {new}, but those in {store.path} are {old}; "
                "use a store of its own for this catalogue"
            )
    return product_id, have[1] if labelled else category_id or have[1]


def _row(product: Product, catalogue: Catalogue, photos: bool, result: Ingested) -> dict[str, Any]:
    references: tuple[str, ...] = ()
    image_hash = None
    if photos and catalogue.images is not None:
        references, image_hash = _hash_photos(product, catalogue, result)
    text = product.text
    return {
        "product_id": product.product_id,
        "title": product.title,
        "description": product.description,
        "attributes": product.attributes,
        "characteristics": product.characteristics,
        "shop": product.shop,
        "category_id": product.category_id,
        "category_name": product.category_name,
        "images": references,
        "text_hash": content_hash(text.encode()) if text else None,
        "image_hash": image_hash,
    }


def _hash_photos(
    product: Product, catalogue: Catalogue, result: Ingested
) -> tuple[tuple[str, ...], str | None]:
    assert catalogue.images is not None
    hashes: dict[str, str] = {}
    reason = ""
    for reference in catalogue.images.references(product):
        try:
            hashes[reference] = content_hash(catalogue.images.read(reference))
        except ImageError as err:
            reason = str(err)
    if reason and not hashes:
        result.unreadable.append((product.product_id, reason))
    if not hashes:
        return (), None
    whole = "".join(hashes.values())
    return tuple(hashes), whole if len(hashes) == 1 else content_hash(whole.encode())


def _keep_others(store: Store, seen: IdSet, writer: ProductWriter) -> int:
    """Carry over the products that this catalogue does not mention."""
    kept = 0
    if not len(store.products):
        return 0
    for _, batch in store.products.batches(writer.schema.names):
        known = seen.contains(id_keys(batch.column("product_id").to_pylist()))
        others = batch.filter(pa.array(~known))
        writer.add(others.to_pylist())
        kept += others.num_rows
    return kept
