"""References to models: a model's name, parsed once."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from vitrina.errors import EncoderError, did_you_mean, wrong_usage
from vitrina.types import Modality

ALIASES = {
    "rubert-tiny2": "hf:cointegrated/rubert-tiny2",
    "cointegrated/rubert-tiny2": "hf:cointegrated/rubert-tiny2",
    "clip": "open_clip:ViT-B-32-quickgelu/openai",
    "ViT-B-32": "open_clip:ViT-B-32-quickgelu/openai",
    "efficientnet_b1": "timm:efficientnet_b1",
}


class ModelKind(StrEnum):
    """Kinds of models, by where they come from."""

    LEXICAL = "lexical"
    THUMBNAIL = "thumbnail"
    NONE = "none"
    HUGGING_FACE = "hf"
    OPEN_CLIP = "open_clip"
    TIMM = "timm"
    DIRECTORY = "directory"
    TRAINED = "trained"


RESERVED = (ModelKind.LEXICAL, ModelKind.THUMBNAIL, ModelKind.NONE)
"""Kinds that are a whole name each; no trained encoder may have one of them as its name."""

_FITTED = {ModelKind.LEXICAL: Modality.TEXT, ModelKind.THUMBNAIL: Modality.IMAGE}
_PREFIXES = (ModelKind.HUGGING_FACE, ModelKind.OPEN_CLIP, ModelKind.TIMM)


@dataclass(frozen=True)
class ModelRef:
    """A parsed model name. References are equal if they mean the same model, however it is spelled.

    place: a repository, ARCH/TAG, a timm name, an absolute directory, or the name of an encoder
    that was trained for the store. revision: of a repository, None for the newest. text: the name
    as it was given.
    """

    modality: Modality
    kind: ModelKind
    place: str
    revision: str | None = None
    text: str = field(compare=False, kw_only=True)

    @classmethod
    def parse(cls, text: str, modality: Modality, trained: Container[str] = ()) -> ModelRef:
        """Parse a model's name, as users give it and stores remember it.

        trained: names of the encoders that were trained for the store, which precede all others.
        Raises EncoderError if it has no known form, or is a model of the other modality.
        """
        if text == ModelKind.NONE:
            return cls(modality, ModelKind.NONE, text, text=text)
        if text in _FITTED:
            fits = _FITTED[ModelKind(text)]
            if fits is not modality:
                raise wrong_usage(
                    EncoderError(f"{text} is a model for {fits}; it can't serve {modality}")
                )
            return cls(modality, ModelKind(text), text, text=text)
        if text in trained:
            return cls.of_trained(text, modality)
        prefix, _, rest = ALIASES.get(text, text).partition(":")
        if prefix in _PREFIXES and rest:
            place, _, revision = rest.partition("@")
            return cls(modality, ModelKind(prefix), place, revision or None, text=text)
        folder = Path(text).expanduser()
        if text and folder.is_dir():
            return cls(modality, ModelKind.DIRECTORY, str(folder.absolute()), text=text)
        raise unknown_model(text, modality, trained)

    @classmethod
    def of_trained(cls, name: str, modality: Modality) -> ModelRef:
        """Reference to an encoder that was trained for a store, by its name there."""
        return cls(modality, ModelKind.TRAINED, name, text=name)

    @property
    def is_fitted(self) -> bool:
        """True for a model that is fitted on the catalogue, and cannot be loaded by its name."""
        return self.kind in _FITTED

    @property
    def card_text(self) -> str:
        """The name in the encoder's card: of a directory, the absolute path."""
        return self.place if self.kind is ModelKind.DIRECTORY else self.text

    def __str__(self) -> str:
        """The name as it was given, which is what the store remembers."""
        return self.text


def unknown_model(text: str, modality: Modality, trained: Container[str] = ()) -> EncoderError:
    """The error for a name that is no model's. trained: as of `ModelRef.parse`."""
    fitted = next(kind for kind, fits in _FITTED.items() if fits is modality)
    own = trained if isinstance(trained, Iterable) else ()
    hint = did_you_mean(text, [*ALIASES, fitted, *own])
    return wrong_usage(
        EncoderError(
            f"{text!r} names no {modality} model{hint or ';'} give hf:REPO, open_clip:ARCH/TAG, "
            f"timm:NAME, a directory that exists, or {fitted}"
        )
    )
