"""Files of trained encoders: the base models they start from, and their folder in a store."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from vitrina.embedder.base import EncoderCard
from vitrina.embedder.finetuning.tokens import TokenLists
from vitrina.embedder.image_processor import PREPROCESSOR
from vitrina.embedder.load import ImageFiles, TextFiles, find_image, find_whole_text
from vitrina.embedder.model_folder import CLIP_CONFIG
from vitrina.embedder.model_ref import RESERVED, ModelKind, ModelRef
from vitrina.errors import EncoderError
from vitrina.page.hub_card import Library
from vitrina.pipelines.common.encoder_record import (
    EncoderRecord,
    HubFacts,
    hub_repository,
    languages_in,
)
from vitrina.pipelines.common.encoders import (
    ENCODER_CARD,
    choose_model,
    remembered_settings,
    trained_card,
)
from vitrina.pipelines.common.product_inputs import texts
from vitrina.pipelines.common.seen_rows import TRAINED_ON
from vitrina.pipelines.finetune.encoder_card import encoder_card
from vitrina.store import layout
from vitrina.store.files import write_json
from vitrina.store.products import Products
from vitrina.store.store import OpenStore
from vitrina.store.writer import Writer
from vitrina.types import Codes, Modality

README = "README.md"
"""An encoder's card, where the Hub looks for it."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def check_name(name: str) -> None:
    """Raise EncoderError if a name is not valid for an encoder."""
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise EncoderError(
            f"an encoder can't be named {name!r}; use small letters, digits, '.', '_' and '-', "
            f"100 at most, and none of {', '.join(RESERVED)}"
        )


def library_of(folder: Path, modality: Modality) -> Library:
    """The library that opens a model's directory."""
    if modality is Modality.TEXT:
        return Library.SENTENCE_TRANSFORMERS
    if (folder / CLIP_CONFIG).exists():
        return Library.OPEN_CLIP
    return Library.TRANSFORMERS if (folder / PREPROCESSOR).exists() else Library.TIMM


def base_text(store: OpenStore, model: ModelRef) -> TextFiles:
    """The files of the base text model. Raises EncoderError, HubUnreachableError, StoreError."""
    if model.kind is ModelKind.TRAINED:
        trained_card(store, model)
        return TextFiles(store.encoder_folder(model.place), str(model), None)
    # The prompt that the store embeds with is trained with, too.
    return replace(find_whole_text(model), settings=remembered_settings(store, model))


def base_image(
    store: OpenStore, model: ModelRef, *, size: int | None, from_scratch: bool, seed: int
) -> ImageFiles:
    """The base image model. size: of its input in pixels, None for its own. seed: of random
    weights.

    Raises EncoderError, HubUnreachableError, StoreError.
    """
    kept = None
    if model.kind is ModelKind.TRAINED:
        trained_card(store, model)
        kept = store.encoder_folder(model.place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return find_image(model, kept, size=size, from_scratch=from_scratch)


def chosen_base(store: OpenStore, modality: Modality, name: str | None) -> ModelRef:
    """The base model. name: None for the model that the store embeds with, if it can be trained.

    Raises EncoderError, StoreError.
    """
    return choose_model(store, modality, name, ignored=RESERVED)


def text_tokens(
    products: Products, tokenize: Callable[[Sequence[str]], Sequence[Sequence[int]]]
) -> TokenLists:
    """The tokens of every product's text, in the table's order."""
    return TokenLists.write(tokenize(batch) for batch in texts(products))


def write_encoder(
    store: OpenStore,
    writer: Writer,
    folder: Path,
    card: EncoderCard,
    report: dict[str, Any],
    trained_on: Codes,
    base: ModelRef | None,
) -> None:
    """Commit an encoder saved in `folder`. trained_on: (n,) int64, rows of the product table.
    base: what its weights derive from; None for random ones."""
    ids = store.products.ids.take(pa.array(trained_on))
    pq.write_table(pa.table({"product_id": ids}), folder / TRAINED_ON, compression="zstd")
    hub = HubFacts(
        hub_repository(store, base, look_up=True) if base else None,
        languages_in(store.products) if card.modality is Modality.TEXT else (),
    )
    details = {"fingerprint": card.fingerprint, "dim": card.dim, "details": card.details}
    write_json(folder / ENCODER_CARD, {**report, **details, "hub": asdict(hub)})
    readme = encoder_card(EncoderRecord.read(folder), library_of(folder, card.modality))
    (folder / README).write_text(readme, encoding="utf-8")
    name = report["name"]
    # Named by its whole content: the same weights may have another report.
    entry = writer.publish_folder(folder, lambda digest: layout.encoder(name, digest))
    writer.commit(store.manifest.with_encoder(name, entry))
