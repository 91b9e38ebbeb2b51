"""`encoder.json` as a model card shows it, and the Hub repository that an encoder derives from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from vitrina.data.language import languages_of
from vitrina.embedder.model_ref import ModelKind, ModelRef
from vitrina.errors import VitrinaError
from vitrina.pipelines.common.encoders import ENCODER_CARD, model_of
from vitrina.pipelines.common.product_inputs import texts
from vitrina.store.products import Products
from vitrina.store.space import Space
from vitrina.store.store import OpenStore
from vitrina.typed_json import Count, read_json_as
from vitrina.types import Modality

AGAIN = "run `vitrina finetune` again"
SAMPLE_BATCHES = 4
"""Batches of products to tell the language from."""

_REPOSITORY = r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,95}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,95})?\Z"
RepoId = Annotated[str, Meta(pattern=_REPOSITORY)]
Language = Annotated[str, Meta(pattern=r"\A[a-z]{2,3}\Z")]


@dataclass(frozen=True)
class HubFacts:
    """Facts for an encoder's card on the Hub, metrics apart. base_model: the repository that its
    weights derive from, if there is one."""

    base_model: RepoId | None = None
    languages: tuple[Language, ...] = ()


@dataclass(frozen=True)
class HeadMetrics:
    """Metrics of an encoder's own classification head."""

    weighted_f1: float
    macro_f1: float
    accuracy: float
    rows: Count


@dataclass(frozen=True)
class InputForm:
    """The part of an encoder's details that describes its input."""

    pooling: str | None = None
    max_length: Count | None = None
    edge: Count | None = None


@dataclass(frozen=True)
class EncoderRecord:
    """An encoder's description.

    rows, classes, split, validation: of fine-tuning. texts, likelihood: of pretraining, the latter
    NaN without held-out texts; see `FinetuneReport` and `PretrainReport`. They are None or empty
    for an encoder that was not trained in the store.
    """

    name: str
    modality: Modality
    base: str
    fingerprint: str
    dim: Count
    store: str = ""
    rows: Count | None = None
    classes: Count | None = None
    split: str | None = None
    validation: HeadMetrics | None = None
    texts: Count | None = None
    likelihood: tuple[float, ...] = ()
    details: InputForm = field(default_factory=InputForm)
    hub: HubFacts = field(default_factory=HubFacts)

    @classmethod
    def read(cls, folder: Path) -> EncoderRecord:
        """Read that of a trained encoder. Raises StoreError if it is damaged."""
        return read_json_as(folder / ENCODER_CARD, cls, AGAIN)

    @property
    def is_trained(self) -> bool:
        """True for an encoder that was fine-tuned or pretrained in a store."""
        return self.validation is not None or self.texts is not None


def hub_repository(store: OpenStore, model: ModelRef, *, look_up: bool = False) -> str | None:
    """The repository that a model's weights come or derive from; None if it is not known.

    look_up: import open_clip or timm to find the repository of a model of theirs.
    """
    found = None
    try:
        match model.kind:
            case ModelKind.HUGGING_FACE:
                found = model.place
            case ModelKind.TRAINED:
                found = EncoderRecord.read(store.encoder_folder(model.place)).hub.base_model
            case ModelKind.OPEN_CLIP | ModelKind.TIMM if look_up:
                from vitrina.embedder.image_models import weights_repository

                found = weights_repository(model)
    except VitrinaError:
        # No card is worth failing for.
        return None
    return found if found is not None and re.fullmatch(_REPOSITORY, found) else None


def repositories_of(store: OpenStore, spaces: Iterable[Space]) -> list[str]:
    """Repositories that the encoders of some spaces derive from."""
    found = []
    for space in spaces:
        try:
            repository = hub_repository(store, model_of(space))
        except VitrinaError:
            # A directory that is gone.
            continue
        if repository is not None and repository not in found:
            found.append(repository)
    return found


def languages_in(products: Products) -> tuple[str, ...]:
    """Language of a store's products, from a sample; see `languages_of`."""
    sample = islice(texts(products), SAMPLE_BATCHES)
    return languages_of(text for batch in sample for text in batch)
