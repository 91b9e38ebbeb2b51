"""Categories that have come and gone since a head was trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vitrina.errors import StoreError
from vitrina.pipelines.train_report import LISTED, Category, Since, listed
from vitrina.store.files import read_json
from vitrina.store.products import Categories
from vitrina.store.store import Store
from vitrina.types import CategoryId, Codes


def since(store: Store, name: str, labels: Categories, rows: Codes) -> Since | None:
    """What has changed since a head of this name was trained; None where there was none.

    rows: (categories,) int64, how many products there are to learn each from.
    """
    if name not in store.manifest.models:
        return None
    try:
        before = read_json(store.model_folder(name) / "model.json")["categories"]
        known = {one["id"]: one["name"] for one in before}
    except (StoreError, KeyError, TypeError):
        return None
    added = [
        Category(key, title or "", int(count))
        for key, title, count in zip(labels.ids, labels.names, rows, strict=True)
        if key not in known and count
    ]
    counts = dict(zip(labels.ids, rows.tolist(), strict=True))
    gone = [Category(key, title or "", 0) for key, title in known.items() if not counts.get(key)]
    return Since(tuple(added), tuple(gone))


def unknown(counts: Mapping[CategoryId, int], known: Iterable[CategoryId]) -> dict[CategoryId, int]:
    """Those of some categories that a head does not know, with the products of each. counts: see
    `Products.category_counts`."""
    there = set(known)
    return {key: count for key, count in counts.items() if key not in there}


def unknown_line(model: str, found: Mapping[CategoryId, int]) -> str:
    """What to tell of them, for a terminal."""
    named = listed([Category(key, "", count) for key, count in found.items()], LISTED)
    return (
        f"{len(found)} categories of {sum(found.values())} products are unknown to {model}: "
        f"{named}; run `vitrina train` to teach it"
    )
