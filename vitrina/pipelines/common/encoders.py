"""Encoders of a modality: loaded by name, or fitted on the catalogue and saved in the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vitrina.data.catalogue import Catalogue
from vitrina.data.product import TEXT_FIELDS, encoder_text
from vitrina.embedder.base import EncoderCard, Fitted, ImageEncoder, TextEncoder
from vitrina.embedder.fingerprint_cache import remember, unchanged
from vitrina.embedder.load import (
    ModelName,
    ModelNameForm,
    fit_lexical,
    fit_thumbnail,
    load_image,
    load_text,
)
from vitrina.embedder.photos import decode_photos
from vitrina.errors import EncoderError, HubUnreachableError
from vitrina.stage_timer import stage
from vitrina.store import layout
from vitrina.store.entries import FolderEntry, SpaceEntry
from vitrina.store.products import Products
from vitrina.store.space import Space
from vitrina.store.store import Store
from vitrina.store.writer import Writer
from vitrina.typed_json import read_json_as
from vitrina.types import Compute, Modality

DEFAULT_MODELS = {
    Modality.TEXT: "hf:cointegrated/rubert-tiny2",
    Modality.IMAGE: "open_clip:ViT-B-32-quickgelu/openai",
}
"""Default models by modality."""

FIT_IMAGES = 20_000
"""Photos to fit `thumbnail` on, at most: its PCA converges long before."""
FIT_TEXTS = 200_000
"""Texts to fit `lexical` on, at most."""

ENCODER_CARD = "encoder.json"
"""File with the card of an encoder trained for the store, beside its files."""

_PLAIN_BYTES = 200
"""Bytes of a model's name in its space's name: folder names are limited."""

Encoder = TextEncoder | ImageEncoder


@stage("loading models")
def load_encoder(
    name: str,
    modality: Modality,
    kept: Path | None = None,
    compute: Compute | None = None,
    *,
    before: Compute | None = None,
) -> Encoder:
    """Load the encoder of either modality.

    kept: where the store keeps one that was fitted or trained here. compute: the numbers to run it
    in, None for the fastest. before: those it was run in so far,
    which are kept to where this machine has them, so that a run gives the bytes it gave before.
    """
    load = load_text if modality is Modality.TEXT else load_image
    if compute is None and before is not None:
        try:
            return load(name, kept, before)
        except HubUnreachableError:
            raise
        except EncoderError:
            # Another kind of machine; any other cause is raised by the call below.
            pass
    return load(name, kept, compute)


def load_if_named(
    name: str,
    modality: Modality,
    compute: Compute | None = None,
    *,
    before: Compute | None = None,
    store: Store | None = None,
) -> Encoder | None:
    """Load a model; None for one that is still to be fitted on the catalogue.

    store: whose encoders may be named too.
    Raises EncoderError, HubUnreachableError, StoreError.
    """
    if store is not None and name in store.manifest.encoders:
        trained_for(store, name, modality)
        kept = store.encoder_folder(name)
        return load_encoder(name, modality, kept, compute, before=before)
    if ModelName.parse(name, modality).form in (ModelNameForm.LEXICAL, ModelNameForm.THUMBNAIL):
        return None
    encoder = load_encoder(name, modality, compute=compute, before=before)
    remember(name, modality, encoder.card.fingerprint)
    return encoder


@dataclass(frozen=True)
class TrainedCard:
    """The part of `encoder.json` that code relies on; the rest of it is for people."""

    modality: Modality
    fingerprint: str


def trained_for(store: Store, name: str, modality: Modality) -> TrainedCard:
    """The card of an encoder that was trained for the store.

    Raises EncoderError if it serves the other modality, StoreError if it is damaged.
    """
    way_out = "run `vitrina finetune` again"
    card = read_json_as(store.encoder_folder(name) / ENCODER_CARD, TrainedCard, way_out)
    if card.modality is not modality:
        raise EncoderError(f"{name} was trained for {card.modality}; it can't serve {modality}")
    return card


def encoder_of(store: Store, space: Space) -> Encoder:
    """Load the encoder that made a space.

    Raises FingerprintError if the model under that name is another one by now.
    """
    fitted = space.entry.encoder
    folder = store.folder(fitted, "run `vitrina embed` with --refit") if fitted else None
    encoder = load_encoder(space.card["model"], space.modality, folder, before=space.compute)
    encoder.card.check(space.entry.fingerprint, f"the space {space.name}")
    return encoder


def known_space(store: Store, modality: Modality, model: str) -> Space | None:
    """The space that a model's vectors go to, where that can be told without the model.

    An encoder that was fitted here has the space of its fit; another one the space in use, if
    the model is still known to be the one that made it.
    """
    if model in store.manifest.encoders:
        return _trained_space(store, modality, model)
    parsed = ModelName.parse(model, modality)
    if parsed.form in (ModelNameForm.LEXICAL, ModelNameForm.THUMBNAIL):
        return _fitted_space(store, modality, parsed.form)
    name = store.manifest.active.get(modality)
    space = None if name is None else store.open_space(name)
    if space is None or space.card["model"] in (ModelNameForm.LEXICAL, ModelNameForm.THUMBNAIL):
        return None
    if space.card["model"] in store.manifest.encoders:
        return None
    try:
        same = ModelName.parse(space.card["model"], modality) == parsed
    except EncoderError:
        # The directory it came from is gone, or is another machine's.
        return None
    return space if same and unchanged(model, modality, space.entry.fingerprint) else None


def encoder_for(
    store: Store,
    writer: Writer,
    catalogue: Catalogue,
    modality: Modality,
    model: str,
    *,
    loaded: Encoder | None,
    dtype: str,
    seed: int,
) -> tuple[Encoder, Space]:
    """The encoder to embed with and the space for its vectors, which is made if need be.

    loaded: from `load_if_named`; None for an encoder that is to be fitted on the catalogue.
    """
    with stage(f"fitting {model}"):
        encoder = loaded or _fit(store.products, catalogue, modality, seed)
    kept = store.manifest.encoders.get(model)
    name = _space_name(store, encoder.card, model if kept else _plain_name(model, modality))
    if name not in store.manifest.spaces:
        if loaded is None:
            kept = _keep(writer, encoder)
        _make_space(store, writer, name, encoder, kept=kept, dtype=dtype)
    return encoder, store.open_space(name)


def _trained_space(store: Store, modality: Modality, model: str) -> Space | None:
    """The space of the newest encoder of that name; None if it has none yet."""
    fingerprint = trained_for(store, model, modality).fingerprint
    for name, entry in store.manifest.spaces.items():
        if entry.fingerprint == fingerprint and entry.card["model"] == model:
            return store.open_space(name)
    return None


def _fitted_space(store: Store, modality: Modality, form: ModelNameForm) -> Space | None:
    """The space of an encoder that was fitted here: the one in use, or else the newest."""
    names = list(store.manifest.spaces)
    active = store.manifest.active.get(modality)
    for name in [active, *reversed(names)] if active else reversed(names):
        space = store.open_space(name)
        if space.modality is modality and space.card["model"] == form:
            return space
    return None


def _fit(products: Products, catalogue: Catalogue, modality: Modality, seed: int) -> Encoder:
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


def _plain_name(model: str, modality: Modality) -> str:
    """A model's name without where it comes from."""
    parsed = ModelName.parse(model, modality)
    if parsed.form is ModelNameForm.OPEN_CLIP:
        return parsed.place.replace("/", "-")
    parts = [part for part in PurePosixPath(parsed.place).parts if part not in ("/", "model")]
    last = parts[-1] if parts else "model"
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in last)
    return plain.encode()[:_PLAIN_BYTES].decode(errors="ignore")


def _space_name(store: Store, card: EncoderCard, plain: str) -> str:
    """`text-rubert-tiny2`; with part of the fingerprint where that name is another encoder's."""
    name = f"{card.modality}-{plain}"
    entry = store.manifest.spaces.get(name)
    if entry is None or entry.fingerprint == card.fingerprint:
        return name
    return f"{name}-{card.fingerprint[:8]}"


def _keep(writer: Writer, encoder: Encoder) -> FolderEntry:
    """Publish an encoder that was fitted here."""
    folder = writer.scratch / "encoder"
    folder.mkdir()
    fitted: Fitted = encoder  # type: ignore[assignment]
    fitted.save(folder)
    name = layout.encoder(encoder.card.model, encoder.card.fingerprint)
    return writer.publish_folder(folder, lambda _: name)


def _make_space(
    store: Store,
    writer: Writer,
    name: str,
    encoder: Encoder,
    *,
    kept: FolderEntry | None,
    dtype: str,
) -> None:
    card = {**encoder.card.to_json(), "dtype": dtype, "normalised": True}
    if kept:
        card["encoder"] = kept.path
    entry = SpaceEntry(encoder.card.fingerprint, card, encoder=kept)
    writer.commit(store.manifest.with_space(name, entry))
