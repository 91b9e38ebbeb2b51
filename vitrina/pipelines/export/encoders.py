"""Export of an encoder in the form of sentence-transformers, transformers, open_clip or timm.

The model is read by the same checks as for embedding and written anew, so that only its weights,
tokenizer and configuration get out: no code, no pickles, no product ids.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from vitrina.embedder.image import TorchImage
from vitrina.embedder.load import (
    MODELS_OWN,
    TextFiles,
    find_image,
    find_whole_text,
    load_image,
    load_text,
)
from vitrina.embedder.model_ref import ModelKind, ModelRef
from vitrina.embedder.precision import agreement
from vitrina.embedder.probes import PROBES, probe_images
from vitrina.embedder.text import HuggingFaceText
from vitrina.embedder.text_parts import load_parts, save_model
from vitrina.embedder.text_settings import TextSettings
from vitrina.errors import EncoderError
from vitrina.page.hub_card import Library
from vitrina.pipelines.common.encoder_record import (
    EncoderRecord,
    HubFacts,
    InputForm,
    hub_repository,
)
from vitrina.pipelines.common.encoders import Encoder
from vitrina.pipelines.export.named import GONE, NamedEncoder
from vitrina.pipelines.finetune.encoder_card import encoder_card
from vitrina.pipelines.finetune.encoder_files import README, library_of
from vitrina.store.store import OpenStore
from vitrina.types import Compute, Modality, Vectors

SAME = 0.9999
"""Cosine between the vectors before and after, at least."""

_LOCAL = ("is_local", "local_files_only", "name_or_path", "_name_or_path")
"""Keys that transformers writes of where a model was read from."""


def write_encoder(store: OpenStore, encoder: NamedEncoder, folder: Path) -> tuple[Library, int]:
    """Write an encoder into an empty folder, with its card. Returns its library and dimension.

    Raises EncoderError or HubUnreachableError if it does not load, EncoderError if its vectors
    would differ.
    """
    kept = store.folder(encoder.kept, GONE) if encoder.kept else None
    if encoder.model.modality is Modality.TEXT:
        _write_text(encoder, kept, folder)
    else:
        find_image(encoder.model, kept).parts.save(folder)
    _make_portable(folder)
    written = _load(encoder.model, folder)
    if written.card.fingerprint != encoder.fingerprint:
        _check_same(encoder, kept, written)
    library = library_of(folder, encoder.model.modality)
    record = _record(store, encoder, kept, written)
    (folder / README).write_text(encoder_card(record, library), encoding="utf-8")
    return library, written.card.dim


def _write_text(encoder: NamedEncoder, kept: Path | None, folder: Path) -> None:
    model = encoder.model
    found = TextFiles(kept, str(model), None) if kept else find_whole_text(model)
    what = f"{found.model}: {found.folder} does not load as a text model"
    parts = load_parts(found.folder, found.model, what, settings=_settings(encoder))
    form = replace(parts.form, max_length=parts.limit)
    save_model(folder, parts.network, parts.tokenizer, form)


def _make_portable(folder: Path) -> None:
    """Remove paths of this machine from the configuration files of a model, and what transformers
    before version 5 can't read."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        if path.exists():
            value = json.loads(path.read_text(encoding="utf-8"))
            kept = {key: one for key, one in value.items() if key not in _LOCAL}
            if kept.get("tokenizer_class") == "TokenizersBackend":
                # Its name before version 5, which later ones know too.
                kept["tokenizer_class"] = "PreTrainedTokenizerFast"
            path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def _settings(encoder: NamedEncoder) -> TextSettings:
    return TextSettings.of_card(encoder.space.card) if encoder.space else TextSettings()


def _load(model: ModelRef, folder: Path | None, settings: TextSettings = MODELS_OWN) -> Encoder:
    if model.modality is Modality.TEXT:
        return load_text(model, folder, Compute.FLOAT32, settings)
    return load_image(model, folder, Compute.FLOAT32)


def _check_same(encoder: NamedEncoder, kept: Path | None, written: Encoder) -> None:
    """Compare vectors, since a fingerprint may change with the version of a library."""
    before = _load(encoder.model, kept, _settings(encoder))
    if encoder.space is not None:
        before.card.check(encoder.fingerprint, f"the space {encoder.space.name}")
    found = agreement(_probe(before), _probe(written))
    if found < SAME:
        raise EncoderError(
            f"{encoder.name} can't be exported: read again, it would give other vectors (cosine "
            f"{found:.4f}); the installed library does not save all its settings"
        )


def _probe(encoder: Encoder) -> Vectors:
    if isinstance(encoder, HuggingFaceText):
        # The last one is longer than most limits.
        return encoder.encode([*PROBES, " ".join(PROBES) * 20])
    assert isinstance(encoder, TorchImage)
    return encoder.encode([encoder.prepare(image) for image in probe_images()])


def _record(
    store: OpenStore, encoder: NamedEncoder, kept: Path | None, written: Encoder
) -> EncoderRecord:
    if kept is not None:
        return EncoderRecord.read(kept)
    card = written.card
    known = {name: card.details.get(name) for name in ("pooling", "max_length", "edge")}
    return EncoderRecord(
        name=_title(encoder.model),
        modality=card.modality,
        base=encoder.model.text,
        fingerprint=card.fingerprint,
        dim=card.dim,
        details=InputForm(**known),
        hub=HubFacts(hub_repository(store, encoder.model, look_up=True)),
    )


def _title(model: ModelRef) -> str:
    """A model's name without where it is on this machine."""
    return Path(model.place).name if model.kind is ModelKind.DIRECTORY else model.place
