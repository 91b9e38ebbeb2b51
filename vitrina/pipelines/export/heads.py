"""Export of a head: its files as they are, and its card where the Hub looks for it."""

from __future__ import annotations

import shutil
from pathlib import Path

from vitrina.classifier.card import AGAIN, CARD_FILE, ModelCard, ReportCard
from vitrina.classifier.model import Model
from vitrina.page.hub_card import (
    Library,
    classification_metrics,
    has_front_matter,
    with_front_matter,
)
from vitrina.pipelines.common.encoder_record import languages_in, repositories_of
from vitrina.pipelines.export.named import NamedHead
from vitrina.pipelines.finetune.encoder_files import README
from vitrina.pipelines.train.model_card import head_metadata
from vitrina.store.damage import blamed_on
from vitrina.store.store import OpenStore
from vitrina.typed_json import convert_json

FILES = ("head.safetensors", CARD_FILE)


def write_head(store: OpenStore, head: NamedHead, folder: Path) -> Library:
    """Write a head into an empty folder. Raises StoreError if it is damaged."""
    kept = store.model_folder(head.name)
    Model.load(kept, store.id_types[1])
    for name in FILES:
        shutil.copyfile(kept / name, folder / name)
    with blamed_on(str(kept / "card.md"), AGAIN):
        card = (kept / "card.md").read_text(encoding="utf-8")
    if not has_front_matter(card):
        card = _with_metadata(store, ModelCard.read(kept), card)
    (folder / README).write_text(card, encoding="utf-8")
    return Library.VITRINA


def _with_metadata(store: OpenStore, card: ModelCard, body: str) -> str:
    """The card of a head of an older Vitrina, with the front matter that it lacks."""
    report = convert_json(card.report, ReportCard, CARD_FILE, AGAIN)
    best, used = report.validation, {one.fingerprint for one in card.inputs}
    spaces = [store.open_space(name) for name in store.manifest.spaces]
    metadata = head_metadata(
        card.name,
        card.features,
        store=store.place,
        split=report.split,
        metrics=classification_metrics(best.weighted_f1, best.macro_f1),
        base_models=repositories_of(
            store, (space for space in spaces if space.entry.fingerprint in used)
        ),
        languages=languages_in(store.products),
    )
    return with_front_matter(metadata, body)
