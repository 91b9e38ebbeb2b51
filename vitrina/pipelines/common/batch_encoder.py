"""Embedding of new products with the encoders of a store's spaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Batch, Product
from vitrina.data.sources import ColumnImages, ImageSource
from vitrina.embedder.base import ImageEncoder, TextEncoder
from vitrina.embedder.photos import encode_photos
from vitrina.pipelines.common.encoders import Encoder, encoder_of
from vitrina.store.space import ERRORS_SCHEMA, FIND, REPAIR, Space, error_row
from vitrina.store.store import OpenStore
from vitrina.tables.destination import Destination
from vitrina.tables.write import write_table
from vitrina.types import Floats, Mask, Modality

BATCH_ROWS = 2048
"""Products to embed at once."""


@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """Vectors of n products, by modality in the encoders' order.

    Attributes:
        vectors: (n, dim) float32 each, zeros for a product without the modality.
        present: (n,) bool each, products that have the modality.
        failures: a row of `ERRORS_SCHEMA` for each product with unusable, missing or repaired
            photos.
    """

    vectors: list[Floats]
    present: list[Mask]
    failures: list[dict[str, Any]]


class BatchEncoder:
    """Embeds new products like those of a store. encoders: by modality, text first."""

    def __init__(self, encoders: Mapping[Modality, Encoder]) -> None:
        self.encoders = encoders

    @classmethod
    def of(cls, store: OpenStore, spaces: Iterable[Space]) -> BatchEncoder:
        """Load the encoders of some spaces.

        Raises FingerprintError if the model of a space has changed.
        """
        return cls({space.modality: encoder_of(store, space) for space in spaces})

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each encoder, by modality."""
        return {mode: encoder.card.fingerprint for mode, encoder in self.encoders.items()}

    def encode(self, products: Sequence[Product], catalogue: Catalogue) -> EncodedBatch:
        """Embed products of a catalogue, with photos from its source."""
        vectors, present = [], []
        failures: list[dict[str, Any]] = []
        for modality, encoder in self.encoders.items():
            block = np.zeros((len(products), encoder.card.dim), dtype=np.float32)
            mask = np.zeros(len(products), dtype=bool)
            if modality is Modality.TEXT:
                mask[:] = [bool(product.text) for product in products]
                texts = [product.text for product in products if product.text]
                if texts:
                    block[mask] = cast("TextEncoder", encoder).encode(texts)
            elif catalogue.images is not None:
                photos = [catalogue.images.references(product) for product in products]
                failures += _not_found(products, photos, catalogue.images)
                at = np.array([row for row, one in enumerate(photos) if one], dtype=np.int64)
                encoded = encode_photos(
                    cast("ImageEncoder", encoder),
                    [photos[row] for row in at],
                    catalogue.images.read,
                    max_pixels=catalogue.reading.max_pixels,
                )
                block[at], mask[at] = encoded.vectors, encoded.ok
                failures += [
                    error_row(products[at[row]].product_id, stage=one.stage, error=one.reason)
                    for row, one in encoded.errors.items()
                ]
                failures += [
                    error_row(products[at[row]].product_id, stage=REPAIR, error=what)
                    for row, what in encoded.mended.items()
                ]
            vectors.append(block)
            present.append(mask)
        return EncodedBatch(vectors, present, failures)


def _not_found(
    products: Sequence[Product], photos: Sequence[Sequence[str]], source: ImageSource
) -> list[dict[str, Any]]:
    """A row for each product whose named photos are missing."""
    without = [product for product, found in zip(products, photos, strict=True) if not found]
    named = [one for one in without if one.images or isinstance(source, ColumnImages)]
    reasons = ((product, source.not_found(product)) for product in named)
    return [
        error_row(product.product_id, stage=FIND, error=reason, row=product.row)
        for product, reason in reasons
        if reason
    ]


def unusable(failures: Sequence[dict[str, Any]]) -> int:
    """Number of `failures` of a batch, repaired photos excluded."""
    return sum(row["stage"] != REPAIR for row in failures)


def rejections(batch: Batch) -> list[dict[str, Any]]:
    """The rows of a batch that can't be used, as rows of `ERRORS_SCHEMA`."""
    return [
        error_row(one.product_id, stage="read", error=one.reason, row=one.row)
        for one in batch.rejected
    ]


def write_errors(out: Destination, errors: Sequence[dict[str, Any]]) -> Path | None:
    """Write rows of `ERRORS_SCHEMA`, if there are any, to a file next to `out`; return it."""
    if not errors:
        return None
    beside = out.beside("errors")
    table = pa.Table.from_pylist(list(errors), schema=ERRORS_SCHEMA)
    write_table([table], ERRORS_SCHEMA, beside)
    return beside.path
