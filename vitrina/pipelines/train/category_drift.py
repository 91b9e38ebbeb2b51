"""Category drift: categories added and removed since a head was trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vitrina.classifier.card import ModelCard
from vitrina.errors import StoreError
from vitrina.ids import typed_id
from vitrina.pipelines.train.report import LISTED, CategoryCount, CategoryDrift, listed
from vitrina.store.products import Categories
from vitrina.store.store import OpenStore
from vitrina.types import CategoryId, Codes


def drift_of(store: OpenStore, name: str, labels: Categories, rows: Codes) -> CategoryDrift | None:
    """Category drift since a head of this name was trained; None if there is no such head.

    rows: (categories,) int64, labelled products of each category.
    """
    if name not in store.manifest.models:
        return None
    try:
        known = head_categories(store, ModelCard.read(store.model_folder(name)))
    except StoreError:
        return None
    for key in reused(store, known):
        # The id is still in use, but for another category.
        del known[key]
    added = [
        CategoryCount(key, title or "", int(count))
        for key, title, count in zip(labels.ids, labels.names, rows, strict=True)
        if key not in known and count
    ]
    counts = dict(zip(labels.ids, rows.tolist(), strict=True))
    gone = [
        CategoryCount(key, title or "", 0) for key, title in known.items() if not counts.get(key)
    ]
    return CategoryDrift(tuple(added), tuple(gone))


def head_categories(store: OpenStore, card: ModelCard) -> dict[CategoryId, str]:
    """The categories that a head was trained on, with their names at that time, "" for none. Ids
    are converted to the store's current type."""
    kind = store.id_types[1]
    return {typed_id(one.id, kind): one.name or "" for one in card.categories}


def reused(store: OpenStore, known: Mapping[CategoryId, str]) -> dict[CategoryId, str]:
    """A head's categories whose ids now mean other categories in the store."""
    retired = store.sources.retired
    return {key: name for key, name in known.items() if name in retired.get(str(key), ())}


def reused_line(model: str, found: Mapping[CategoryId, str]) -> str:
    """A warning about reused category ids, for a terminal."""
    listing = "; ".join(f"{key} was {name!r}" for key, name in [*found.items()][:LISTED])
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return (
        f"{len(found)} category ids mean other categories since {model} was trained "
        f"({listing}{more}): no prediction of these is accepted; run `vitrina train`"
    )


def unknown(counts: Mapping[CategoryId, int], known: Iterable[CategoryId]) -> dict[CategoryId, int]:
    """Categories that a head was not trained on, with their products. counts: see
    `Products.category_counts`. known: the head's categories."""
    trained = set(known)
    return {key: count for key, count in counts.items() if key not in trained}


def unknown_line(model: str, found: Mapping[CategoryId, int]) -> str:
    """A warning about unknown categories, for a terminal."""
    named = listed([CategoryCount(key, "", count) for key, count in found.items()], LISTED)
    return (
        f"{len(found)} categories of {sum(found.values())} products are unknown to {model}: "
        f"{named}; run `vitrina train` to teach it"
    )
