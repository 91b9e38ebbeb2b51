"""References to models: a model's name, parsed once."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from vitrina.embedder.known_models import BY_HUB, BY_NAME, KnownModel
from vitrina.errors import EncoderError, did_you_mean, wrong_usage
from vitrina.types import Modality

ALIASES = {
    "rubert-tiny2": "hf:cointegrated/rubert-tiny2",
    "cointegrated/rubert-tiny2": "hf:cointegrated/rubert-tiny2",
    "clip": "open_clip:ViT-B-32-quickgelu/openai",
    "ViT-B-32": "open_clip:ViT-B-32-quickgelu/openai",
    "efficientnet_b1": "timm:efficientnet_b1",
}
"""Names that were short before `known_models` had any; a directory of such a name needs `./`."""


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
        if text in BY_NAME:
            return cls._of_known(BY_NAME[text], modality)
        raise unknown_model(text, modality, trained)

    @classmethod
    def _of_known(cls, model: KnownModel, modality: Modality) -> ModelRef:
        # A CLIP model, listed for its photos, has a tower for texts.
        if model.modality is Modality.TEXT and modality is Modality.IMAGE:
            raise wrong_usage(
                EncoderError(f"{model.name} is a model for text; it can't serve {modality}")
            )
        prefix, _, place = model.hub.partition(":")
        return cls(modality, ModelKind(prefix), place, text=model.name)

    @classmethod
    def of_trained(cls, name: str, modality: Modality) -> ModelRef:
        """Reference to an encoder that was trained for a store, by its name there."""
        return cls(modality, ModelKind.TRAINED, name, text=name)

    @property
    def is_fitted(self) -> bool:
        """True for a model that is fitted on the catalogue, and cannot be loaded by its name."""
        return self.kind in _FITTED

    @property
    def known(self) -> KnownModel | None:
        """The record of this model in the list of known models; None if it is not listed."""
        return BY_HUB.get(f"{self.kind}:{self.place}")

    @property
    def prompt(self) -> str | None:
        """The prompt that comes with a short name; None for the model's own.

        A longer name of the same model brings none, so that stores that use it stay as they are.
        """
        short = self.known is not None and self.text in BY_NAME
        return BY_NAME[self.text].prompt or None if short else None

    @property
    def card_text(self) -> str:
        """The name in the encoder's card: of a directory, the absolute path; of a short name, what
        it stands for, since a directory may have that name elsewhere."""
        if self.kind is ModelKind.DIRECTORY:
            return self.place
        short = self.text in BY_NAME and self.text not in ALIASES and self.kind in _PREFIXES
        return BY_NAME[self.text].hub if short else self.text

    def __str__(self) -> str:
        """The name as it was given, which is what the store remembers."""
        return self.text


def unknown_model(text: str, modality: Modality, trained: Container[str] = ()) -> EncoderError:
    """The error for a name that is no model's. trained: as of `ModelRef.parse`."""
    fitted = next(kind for kind, fits in _FITTED.items() if fits is modality)
    own = trained if isinstance(trained, Iterable) else ()
    known = [name for name, model in BY_NAME.items() if model.modality is modality]
    hint = did_you_mean(text, [*ALIASES, *known, fitted, *own])
    return wrong_usage(
        EncoderError(
            f"{text!r} names no {modality} model{hint or ';'} give hf:REPO, open_clip:ARCH/TAG, "
            f"timm:NAME, a directory that exists, a name of `vitrina models`, or {fitted}"
        )
    )
