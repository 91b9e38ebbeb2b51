"""Models of a store by name: trained encoders, spaces with their encoders, and heads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from vitrina.embedder.model_ref import ModelRef
from vitrina.errors import EncoderError, StoreError
from vitrina.pipelines.common.encoder_record import EncoderRecord
from vitrina.pipelines.common.encoders import model_of
from vitrina.store.entries import FolderEntry
from vitrina.store.space import Space
from vitrina.store.store import OpenStore

GONE = "run `vitrina finetune` or `vitrina pretrain` again"


@dataclass(frozen=True)
class NamedEncoder:
    """An encoder. kept: its folder in the store, if it was trained there. space: the one that it
    was named by, if any."""

    name: str
    model: ModelRef
    kept: FolderEntry | None
    fingerprint: str
    space: Space | None = None


@dataclass(frozen=True)
class NamedHead:
    """A head."""

    name: str


def find_model(store: OpenStore, name: str) -> NamedEncoder | NamedHead:
    """Find a model. name: of a trained encoder, a space (with its modality or without), a space's
    model, or a head.

    Raises EncoderError if it is an encoder that only Vitrina opens, StoreError that lists the names
    for any other.
    """
    encoder = _encoder(store, name)
    if name in store.manifest.models:
        if encoder is not None:
            raise StoreError(
                f"{store.place} has both an encoder and a head named {name}; train one of them "
                "under another name"
            )
        return NamedHead(name)
    if encoder is None:
        raise _unknown(store, name)
    if encoder.model.is_fitted:
        others = ", ".join(_names(store)) or "none"
        raise EncoderError(
            f"{name} is a {encoder.model} encoder, which no other library opens; "
            f"models that can be exported: {others}"
        )
    return encoder


def _encoder(store: OpenStore, name: str) -> NamedEncoder | None:
    manifest = store.manifest
    if name in manifest.encoders:
        record = EncoderRecord.read(store.encoder_folder(name))
        model = ModelRef.of_trained(name, record.modality)
        return NamedEncoder(name, model, manifest.encoders[name], record.fingerprint)
    active = set(manifest.active.values())
    # Of several spaces with one model, that in use.
    for space_name in sorted(manifest.spaces, key=lambda one: one not in active):
        space = store.open_space(space_name)
        if name in (space_name, space_name.removeprefix(f"{space.modality}-"), space.card["model"]):
            model, entry = model_of(space), space.entry
            return NamedEncoder(name, model, entry.encoder, entry.fingerprint, space)
    return None


def _names(store: OpenStore) -> Iterator[str]:
    """Names of the models that can be exported."""
    yield from sorted(store.manifest.encoders)
    for name in sorted(store.manifest.spaces):
        space = store.open_space(name)
        try:
            if not model_of(space).is_fitted:
                yield name
        except EncoderError:
            # A directory that is gone.
            continue
    yield from sorted(store.manifest.models)


def _unknown(store: OpenStore, name: str) -> StoreError:
    names = list(dict.fromkeys(_names(store)))
    if not names:
        return StoreError(
            f"{store.place} has no model that can be exported; `vitrina finetune` and "
            "`vitrina train` make some"
        )
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return StoreError(f"{store.place} has no model {name!r}; {hint}it has: {', '.join(names)}")
