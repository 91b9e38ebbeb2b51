"""Encoders of a store: selection of a model by its name, and loading of its encoder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from vitrina.embedder.base import ImageEncoder, TextEncoder
from vitrina.embedder.fingerprint_cache import remember, unchanged
from vitrina.embedder.load import load_image, load_text, load_text_tower, may_have_text_tower
from vitrina.embedder.model_ref import ModelKind, ModelRef
from vitrina.embedder.text_settings import TextSettings
from vitrina.errors import EncoderError, HubUnreachableError
from vitrina.pipelines.common.reading import remembered_models
from vitrina.stage_timer import stage
from vitrina.store.entries import FolderEntry
from vitrina.store.space import Space
from vitrina.store.store import OpenStore
from vitrina.typed_json import read_json_as
from vitrina.types import Compute, Modality

DEFAULT_MODELS = {
    Modality.TEXT: "hf:cointegrated/rubert-tiny2",
    Modality.IMAGE: "open_clip:ViT-B-32-quickgelu/openai",
}
"""Default models by modality."""

ENCODER_CARD = "encoder.json"
"""File with the card of an encoder trained for the store, beside its files."""

Encoder = TextEncoder | ImageEncoder


def choose_model(
    store: OpenStore, modality: Modality, name: str | None, *, ignored: Collection[str] = ()
) -> ModelRef:
    """Select the model of a modality: the given name, else the one that the store remembers, else
    the default.

    ignored: remembered names to ignore.
    Raises EncoderError for a name of no known form, StoreError if the remembered value is no
    name.
    """
    remembered = remembered_models(store).get(modality)
    if remembered in ignored:
        remembered = None
    chosen = name or remembered or DEFAULT_MODELS[modality]
    return ModelRef.parse(chosen, modality, store.manifest.encoders)


@stage("loading models")
def load_encoder(
    model: ModelRef,
    kept: Path | None = None,
    compute: Compute | None = None,
    *,
    before: Compute | None = None,
    settings: TextSettings | None = None,
) -> Encoder:
    """Load the encoder of either modality.

    kept: its folder in the store, for an encoder that was fitted or trained there. compute: the
    numeric format, None for the fastest. before: the format used so far, which is kept if this
    machine has it, so that the bytes stay the same. settings: of a text encoder; None for the
    model's own.
    """

    def load(compute: Compute | None) -> Encoder:
        if model.modality is Modality.TEXT:
            return load_text(model, kept, compute, settings or TextSettings())
        return load_image(model, kept, compute)

    if compute is None and before is not None:
        try:
            return load(before)
        except HubUnreachableError:
            raise
        except EncoderError:
            # Another kind of machine; any other cause is raised by the call below.
            pass
    return load(compute)


@dataclass(frozen=True)
class TrainedCard:
    """The fields of `encoder.json` that code relies on; further fields are for readers."""

    modality: Modality
    fingerprint: str


def trained_card(store: OpenStore, model: ModelRef) -> TrainedCard:
    """Read the card of an encoder that was trained for the store.

    Raises EncoderError if it is of the other modality, StoreError if it is damaged.
    """
    way_out = "run `vitrina finetune` again"
    card = read_json_as(store.encoder_folder(model.place) / ENCODER_CARD, TrainedCard, way_out)
    if card.modality is not model.modality:
        raise EncoderError(
            f"{model} was trained for {card.modality}; it can't serve {model.modality}"
        )
    return card


def trained_entry(store: OpenStore, model: ModelRef) -> FolderEntry | None:
    """Return the files of an encoder that was trained for the store; None for another model."""
    return store.manifest.encoders.get(model.place) if model.kind is ModelKind.TRAINED else None


def model_of(space: Space) -> ModelRef:
    """Return the model that made a space.

    Raises EncoderError if its name no longer means a model, as for a deleted directory.
    """
    name = space.card["model"]
    # What was fitted or trained here has its files in the store.
    return ModelRef.parse(name, space.modality, [name] if space.entry.encoder else ())


def settings_of(space: Space) -> TextSettings:
    """Return the prompt and dimension that a space was made with, as its card remembers them."""
    return TextSettings.of_card(space.card)


def remembered_settings(store: OpenStore, model: ModelRef) -> TextSettings:
    """Return the prompt and dimension that a store uses a text model with: those of its active
    space, if that is of this model, else the prompt that a short name brings."""
    first = TextSettings(model.prompt)
    name = store.manifest.active.get(Modality.TEXT)
    if model.modality is not Modality.TEXT or name is None:
        return first
    space = store.open_space(name)
    try:
        return settings_of(space) if model_of(space) == model else first
    except EncoderError:
        # The directory it came from is gone, or is another machine's.
        return first


def encoder_of(store: OpenStore, space: Space) -> Encoder:
    """Load the encoder that made a space.

    Raises FingerprintError if the model of that name has changed.
    """
    kept = space.entry.encoder
    folder = store.folder(kept, "run `vitrina embed` with --refit") if kept else None
    settings = settings_of(space)
    encoder = load_encoder(model_of(space), folder, before=space.compute, settings=settings)
    encoder.card.check(space.entry.fingerprint, f"the space {space.name}")
    return encoder


def is_searched_by_text(space: Space) -> bool:
    """True for a space of photos whose model may have a text tower.

    Texts lie in a cone of their own, so an index of such photos alone is not whitened: it ranks
    them by the cosines that both towers were trained for.
    """
    if space.modality is not Modality.IMAGE:
        return False
    try:
        return may_have_text_tower(model_of(space))
    except EncoderError:
        # A directory that is gone: no text can be encoded either.
        return False


def text_tower_of(store: OpenStore, space: Space) -> TextEncoder:
    """Load the text tower of the model that made a space of photos.

    Its vectors and those of the space are of one kind, since both towers were trained together; so
    the space must be of the model as it is now.
    Raises EncoderError if it has no text tower, FingerprintError if it has changed.
    """
    model = model_of(space)
    if not unchanged(model, space.entry.fingerprint):
        encoder_of(store, space)
        remember(model, space.entry.fingerprint)
    tower = load_text_tower(model, space.card["revision"])
    if tower.card.dim != space.dim:
        raise EncoderError(
            f"the text tower of {model} gives {tower.card.dim} numbers, and the space "
            f"{space.name} holds {space.dim}"
        )
    return tower
