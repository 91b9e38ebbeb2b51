"""Categories that have come and gone since a head was trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow.compute as pc

from vitrina.errors import StoreError
from vitrina.pipelines.train_report import Category, Since
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


def unknown_in_store(store: Store, known: Iterable[CategoryId]) -> dict[CategoryId, int]:
    """Categories that a store's products have and a head does not know, with the products of
    each, the most of them first."""
    if not len(store.products):
        return {}
    found = pc.value_counts(store.products.column("category_id").drop_null()).to_pylist()
    return unknown({one["values"]: one["counts"] for one in found}, known)


def unknown(counts: Mapping[CategoryId, int], known: Iterable[CategoryId]) -> dict[CategoryId, int]:
    """Those of some categories that a head does not know, the ones of most products first."""
    there = set(known)
    new = {key: count for key, count in counts.items() if key not in there}
    return dict(sorted(new.items(), key=lambda one: (-one[1], str(one[0]))))


def unknown_line(model: str, found: Mapping[CategoryId, int], listed: int = 5) -> str:
    """What to tell of them, for a terminal."""
    named = [f"{key} ({count})" for key, count in [*found.items()][:listed]]
    more = ", ..." if len(found) > listed else ""
    return (
        f"{len(found)} categories of {sum(found.values())} products are unknown to {model}: "
        f"{', '.join(named)}{more}; run `vitrina train` to teach it"
    )
