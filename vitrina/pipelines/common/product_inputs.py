"""Inputs of the encoders for every product of a store: its text and its photos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vitrina.data.product import TEXT_FIELDS, encoder_text
from vitrina.data.sources import ImageSource, open_images
from vitrina.errors import ImageSourceError
from vitrina.parallel import Progress
from vitrina.pipelines.common.reading import remembered_reading, warn_of_private
from vitrina.store.products import Products
from vitrina.store.store import OpenStore


def remembered_images(store: OpenStore) -> ImageSource:
    """The photo source of the store's catalogue.

    Raises ImageSourceError if it had none, or one that is part of the catalogue's file.
    """
    images = remembered_reading(store).images
    if images is None:
        raise ImageSourceError(
            f"{store.place} has no recorded folder or archive of photos; give the catalogue's "
            "file with --catalogue, and --images if its photos are separate"
        )
    return opened_images(store, images)


def opened_images(store: OpenStore, images: str) -> ImageSource:
    """Open a folder or archive of photos with the store's settings. Raises ImageSourceError."""
    reading = replace(remembered_reading(store), images=images)
    warn_of_private(reading)
    return open_images(
        images,
        template=None,
        photos=reading.photos,
        sample=(),
        splits=(),
        fetching=reading.fetching,
    )


def references(products: Products, progress: Progress) -> Iterator[list[str]]:
    """References of every product's photos, in the table's order; empty if none was read."""
    for _, batch in products.batches(["images", "image_hash"]):
        for row in batch.to_pylist():
            yield row["images"] if row["image_hash"] is not None else []
        progress(batch.num_rows)


def texts(products: Products) -> Iterator[list[str]]:
    """The encoder text of every product, in the table's order, a batch at a time."""
    for _, batch in products.batches(TEXT_FIELDS):
        yield [encoder_text(**row) for row in batch.to_pylist()]
