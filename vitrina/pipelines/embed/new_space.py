"""Creation of a space: its encoder, fitted on the catalogue if necessary, its name and its card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from vitrina.data.catalogue import Catalogue
from vitrina.data.product import TEXT_FIELDS, encoder_text
from vitrina.embedder.base import EncoderCard, Fitted
from vitrina.embedder.load import fit_lexical, fit_thumbnail
from vitrina.embedder.machine import Machine
from vitrina.embedder.model_ref import ModelKind, ModelRef
from vitrina.embedder.photos import decode_photos
from vitrina.pipelines.common.encoders import Encoder, trained_entry
from vitrina.pipelines.common.machine_pin import MACHINE
from vitrina.store import layout
from vitrina.store.entries import FolderEntry, SpaceEntry
from vitrina.store.plan import SHARD_ROWS
from vitrina.store.products import Products
from vitrina.store.space import Space
from vitrina.store.store import OpenStore
from vitrina.store.writer import Writer
from vitrina.types import Modality

FIT_IMAGES = 20_000
"""Photos to fit `thumbnail` on, at most: its PCA converges long before."""
FIT_TEXTS = 200_000
"""Texts to fit `lexical` on, at most."""

_PLAIN_BYTES = 200
"""Bytes of a model's name in its space's name: folder names are limited."""


def fit_encoder(products: Products, catalogue: Catalogue, modality: Modality, seed: int) -> Encoder:
    """Fit a modality's encoder that needs no download on the products of a catalogue."""
    if modality is Modality.TEXT:
        stride = max(1, -(-len(products) // FIT_TEXTS))
        return fit_lexical(lambda: _texts(products, stride), seed)
    source = catalogue.images
    assert source is not None
    with_photo = products.counts()["image"]
    stride = max(1, -(-with_photo // FIT_IMAGES))
    limit = catalogue.reading.max_pixels
    return fit_thumbnail(
        lambda: decode_photos(_photos(products, stride), source.read, max_pixels=limit)
    )


def space_for(
    store: OpenStore,
    writer: Writer,
    model: ModelRef,
    encoder: Encoder,
    machine: Machine,
    dtype: str,
    rows: int,
) -> Space:
    """Return the space for an encoder's vectors; create it if necessary.

    machine: this one, with the encoder. rows: maximum rows of a shard of a new space.
    """
    name = _space_name(store, encoder.card, _plain_name(model))
    if name not in store.manifest.spaces:
        kept = _keep(writer, encoder) if model.is_fitted else trained_entry(store, model)
        card = {**encoder.card.to_json(), "dtype": dtype, "normalised": True}
        if rows != SHARD_ROWS:
            card["shard_rows"] = rows
        if kept:
            card["encoder"] = kept.path
        # Workers of other processes compare themselves with it before the first shard.
        card[MACHINE] = machine.to_json()
        entry = SpaceEntry(encoder.card.fingerprint, card, encoder=kept)
        writer.commit(store.manifest.with_space(name, entry))
    return store.open_space(name)


def _texts(products: Products, stride: int) -> Iterator[list[str]]:
    for start, batch in products.batches(TEXT_FIELDS):
        rows = batch.slice(-start % stride).to_pylist()[::stride]
        yield [encoder_text(**row) for row in rows]


def _photos(products: Products, stride: int) -> Iterator[list[str]]:
    met = 0
    for _, batch in products.batches(["images", "image_hash"]):
        for row in batch.to_pylist():
            if row["image_hash"] is not None:
                if met % stride == 0:
                    yield row["images"]
                met += 1


def _plain_name(model: ModelRef) -> str:
    """Return the last part of a model's name."""
    if model.kind is ModelKind.TRAINED:
        return model.place
    if model.kind is ModelKind.OPEN_CLIP:
        return model.place.replace("/", "-")
    parts = [part for part in PurePosixPath(model.place).parts if part not in ("/", "model")]
    last = parts[-1] if parts else "model"
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in last)
    return plain.encode()[:_PLAIN_BYTES].decode(errors="ignore")


def _space_name(store: OpenStore, card: EncoderCard, plain: str) -> str:
    """Name a space: `text-rubert-tiny2`, with part of the fingerprint appended if another encoder
    has that name."""
    name = f"{card.modality}-{plain}"
    entry = store.manifest.spaces.get(name)
    if entry is None or entry.fingerprint == card.fingerprint:
        return name
    return f"{name}-{card.fingerprint[:8]}"


def _keep(writer: Writer, encoder: Encoder) -> FolderEntry:
    """Publish a fitted encoder in the store."""
    folder = writer.scratch / "encoder"
    folder.mkdir()
    fitted: Fitted = encoder  # type: ignore[assignment]
    fitted.save(folder)
    name = layout.encoder(encoder.card.model, encoder.card.fingerprint)
    return writer.publish_folder(folder, lambda _: name)
