"""Summary of a store's contents, from its newest commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitrina.audit.results import Audit
from vitrina.classifier.card import AGAIN, CARD_FILE, ModelCard, ReportCard
from vitrina.index.card import CARD_FILE as INDEX_CARD
from vitrina.index.card import IndexCard
from vitrina.pipelines.common.description import Description
from vitrina.pipelines.train.category_drift import head_categories, reused, unknown
from vitrina.store.store import OpenStore
from vitrina.typed_json import convert_json
from vitrina.types import Action, CategoryId


def info(store: OpenStore) -> Description:
    """Describe a store as JSON values: products, spaces, indexes, heads, how it was read."""
    manifest = store.manifest
    counts = store.products.counts() if len(store.products) else {}
    # Read once for all heads.
    labelled = store.products.category_counts() if manifest.models else {}
    spaces = []
    for name, entry in manifest.spaces.items():
        space = store.open_space(name)
        spaces.append(
            {
                "name": name,
                "model": space.card["model"],
                "fingerprint": entry.fingerprint,
                "dim": space.dim,
                "dtype": space.card["dtype"],
                "compute": space.compute,
                "rows": entry.rows,
                "shards": len(entry.shards),
                "errors": entry.errors.rows if entry.errors else 0,
                "active": manifest.active.get(space.modality) == name,
            }
        )
    return Description(
        store=store.place,
        commit=manifest.sequence,
        products=len(store.products),
        **{f"with_{name}": count for name, count in counts.items() if name != "categories"},
        categories=counts.get("categories", 0),
        rejected=manifest.rejected.rows if manifest.rejected else 0,
        sources=_sources(store),
        spaces=spaces,
        indexes=[_index(store, name) for name in manifest.indexes],
        models=[
            {
                "name": name,
                "active": name == manifest.model,
                **_model(store, labelled, store.model_folder(name)),
            }
            for name in manifest.models
        ],
        decisions=_decisions(store),
        reading=dict(manifest.reading),
    )


def _decisions(store: OpenStore) -> dict[str, int]:
    """Counts of products kept, moved and skipped in review, and of open suspects."""
    decisions = store.decisions()
    told = Counter(one.action for one in decisions.standing.values())
    suspects = Audit.of(store).suspects if store.manifest.audit else ()
    return {
        "kept": told[Action.KEEP],
        "moved": told[Action.MOVE],
        "skipped": told[Action.SKIP],
        "open": sum(one.product_id not in decisions.settled for one in suspects),
    }


def _sources(store: OpenStore) -> list[dict[str, Any]]:
    """The sources of products, each with the prefix of its ids and its number of products."""
    if not len(store.products):
        return []
    names, codes = store.products.sources()
    count = {name: int((codes == at).sum()) for at, name in enumerate(names)}
    return [
        {
            "name": one.name or one.alias,
            "prefix": one.prefix,
            "products": count.get(one.name, 0),
            "reused_categories": {key: list(before) for key, before in one.retired.items()},
        }
        for one in store.sources
    ]


def _index(store: OpenStore, name: str) -> dict[str, Any]:
    return dict(IndexCard.read(store.index_files(name)[INDEX_CARD]).told)


def _model(store: OpenStore, labelled: Mapping[CategoryId, int], folder: Path) -> dict[str, Any]:
    card = ModelCard.read(folder)
    report = convert_json(card.report, ReportCard, str(folder / CARD_FILE), AGAIN)
    known = head_categories(store, card)
    new = unknown(labelled, known)
    return {
        "features": report.features.value,
        "head": report.head.value,
        "categories": len(card.categories),
        "unknown_categories": len(new),
        "unknown_products": sum(new.values()),
        "reused_categories": reused(store, known),
        "split": report.split,
        "weighted_f1": report.validation.weighted_f1,
        "macro_f1": report.validation.macro_f1,
        "fingerprints": [one.fingerprint for one in card.inputs],
    }
