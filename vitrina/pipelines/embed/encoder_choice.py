"""Selection of a modality's encoder: of an existing space, loaded, or still to be fitted."""

from __future__ import annotations

from dataclasses import dataclass, field

from vitrina.embedder.fingerprint_cache import remember, unchanged
from vitrina.embedder.model_ref import ModelKind, ModelRef
from vitrina.embedder.text_settings import TextSettings
from vitrina.errors import EncoderError, StoreError, wrong_usage
from vitrina.pipelines.common.encoders import (
    Encoder,
    encoder_of,
    load_encoder,
    model_of,
    remembered_settings,
    settings_of,
    trained_card,
)
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.store.space import Space
from vitrina.store.store import OpenStore
from vitrina.types import Compute, Modality


@dataclass(frozen=True)
class EncoderChoice:
    """The encoder of a modality.

    space: name of an existing space for the model's vectors. loaded: the encoder, if it had to be
    loaded to find the space; otherwise the encoder of an existing space is loaded only when there
    is something to encode. If both are None, the encoder is still to be fitted on the catalogue.
    settings: prompt and dimension of a text encoder.
    """

    model: ModelRef
    space: str | None = None
    loaded: Encoder | None = None
    settings: TextSettings = field(default_factory=TextSettings)


def choose_encoder(store: OpenStore, model: ModelRef, options: EmbedOptions) -> EncoderChoice:
    """Select the encoder of a model, and load it unless its space can be found without it.

    Raises EncoderError, HubUnreachableError, StoreError.
    """
    settings = _settings(store, model, options)
    space = None if options.refit else _space_of(store, model)
    known = space is not None and settings == _settings_in(space, model)
    if space is not None and known and unchanged(model, space.entry.fingerprint, settings.key):
        check_requested(space, options)
        return EncoderChoice(model, space.name, settings=settings)
    if model.is_fitted:
        return EncoderChoice(model)
    before = None if space is None else space.compute
    loaded = load_model(store, model, options.compute, before=before, settings=settings)
    if space is not None and space.entry.fingerprint == loaded.card.fingerprint:
        return EncoderChoice(model, space.name, loaded, settings)
    return EncoderChoice(model, loaded=loaded, settings=settings)


def _settings(store: OpenStore, model: ModelRef, options: EmbedOptions) -> TextSettings:
    """Prompt and dimension of a model: those given, else those that the store uses it with.

    Raises EncoderError if they are given for a model that has its own.
    """
    if model.modality is not Modality.TEXT:
        return TextSettings()
    given = TextSettings(options.text_prompt, options.dim)
    if not (model.is_fitted or model.kind is ModelKind.TRAINED):
        return given.or_those_of(remembered_settings(store, model))
    if given != TextSettings():
        flag = "--dim" if given.prompt is None else "--text-prompt"
        raise wrong_usage(
            EncoderError(f"{flag} is for models that were not made in this store; {model} was")
        )
    return given


def _settings_in(space: Space, model: ModelRef) -> TextSettings:
    """Prompt and dimension of a space, as far as the user chooses them for its model."""
    own = model.is_fitted or model.kind is ModelKind.TRAINED
    chosen = model.modality is Modality.TEXT and not own
    return settings_of(space) if chosen else TextSettings()


def check_requested(space: Space, options: EmbedOptions) -> None:
    """Raise StoreError if a space has another dtype or numeric format than requested."""
    have = space.card["dtype"]
    if options.dtype not in (None, have):
        raise StoreError(
            f"the space {space.name} keeps {have} vectors, not {options.dtype}; leave --dtype out, "
            "or use a store of its own"
        )
    if options.compute is not None and space.compute not in (None, options.compute):
        raise StoreError(
            f"the vectors of the space {space.name} were made in {space.compute}, not "
            f"{options.compute}; leave --compute out, or use a store of its own"
        )


def load_for_space(
    store: OpenStore, choice: EncoderChoice, space: Space, compute: Compute | None
) -> Encoder:
    """Load the model of an existing space; its weights may have changed since.

    Raises EncoderError, HubUnreachableError, StoreError.
    """
    if choice.model.is_fitted:
        return encoder_of(store, space)
    return load_model(store, choice.model, compute, before=space.compute, settings=choice.settings)


def load_model(
    store: OpenStore,
    model: ModelRef,
    compute: Compute | None,
    *,
    before: Compute | None = None,
    settings: TextSettings | None = None,
) -> Encoder:
    """Load the encoder of a model that is not fitted on the catalogue. compute, before, settings:
    as in `load_encoder`.

    Raises EncoderError, HubUnreachableError, StoreError.
    """
    if model.kind is ModelKind.TRAINED:
        trained_card(store, model)
        kept = store.encoder_folder(model.place)
        return load_encoder(model, kept, compute, before=before)
    encoder = load_encoder(model, compute=compute, before=before, settings=settings)
    remember(model, encoder.card.fingerprint, (settings or TextSettings()).key)
    return encoder


def _space_of(store: OpenStore, model: ModelRef) -> Space | None:
    """Find the space for a model's vectors; None if the model has changed since.

    A fitted encoder has the space of its fit. Another model has the active space, if it made
    that.
    """
    if model.kind is ModelKind.TRAINED:
        return _trained_space(store, model)
    if model.is_fitted:
        return _fitted_space(store, model)
    name = store.manifest.active.get(model.modality)
    space = None if name is None else store.open_space(name)
    if space is None:
        return None
    try:
        return space if model_of(space) == model else None
    except EncoderError:
        # The directory it came from is gone, or is another machine's.
        return None


def _trained_space(store: OpenStore, model: ModelRef) -> Space | None:
    """Find the space of the newest encoder of that name; None if there is none yet."""
    fingerprint = trained_card(store, model).fingerprint
    for name, entry in store.manifest.spaces.items():
        if entry.fingerprint == fingerprint and entry.card["model"] == model.place:
            return store.open_space(name)
    return None


def _fitted_space(store: OpenStore, model: ModelRef) -> Space | None:
    """Find the space of a fitted encoder: the active one, or else the newest."""
    names = list(store.manifest.spaces)
    active = store.manifest.active.get(model.modality)
    for name in [active, *reversed(names)] if active else reversed(names):
        space = store.open_space(name)
        if space.modality is model.modality and space.card["model"] == model.place:
            return space
    return None
