"""A small sound store with all that one may hold."""

from __future__ import annotations

import csv
import json
from contextlib import closing
from pathlib import Path
from typing import Any

OWNERS = {
    "products/notes.txt": b"mine",
    "products/part-of-mine.parquet": b"mine",
    "retired/keep.txt": b"mine",
    "retired/part-00000-mine.parquet": b"mine",
    "spaces/part-mine.bin": b"mine",
    "spaces/text-lexical/part-notes.txt": b"mine",
    "models/mine/notes.txt": b"mine",
    "notes.txt": b"mine",
}
"""Files that the store's owner put beside Vitrina's own; they are never deleted or changed."""


def make_store(folder: Path) -> None:
    """A small store with all that one may hold: two sources' commits, indexes of three kinds, a
    head, an audit, decisions, files put aside, errors, and files of its owner's."""
    from vitrina import api
    from vitrina.sample import write_sample
    from vitrina.store.decisions import Decision, add_decisions
    from vitrina.types import Action

    sample = write_sample(folder / "catalogue", products=50, seed=0)
    with closing(api.Catalogue.read(sample.train)) as catalogue:
        rows = [
            {
                "product_id": one.product_id,
                "title": one.title,
                "description": one.description,
                "category_id": one.category_id,
                "category_name": one.category_name,
            }
            for batch in catalogue.batches()
            for one in batch.products
        ]
    bad = {
        "product_id": "",
        "title": "без номера",
        "description": "",
        "category_id": "",
        "category_name": "",
    }
    _write_csv(folder / "first.csv", [*rows, bad])
    changed = [
        {**row, "title": f"{row['title']} новый"} if at % 9 == 0 else row
        for at, row in enumerate(rows)
    ]
    _write_csv(folder / "again.csv", [*changed[2:], bad])
    _write_csv(
        folder / "second.csv", [*rows[4:], {**rows[0], "product_id": 9999, "title": "Новая ваза"}]
    )
    _write_csv(
        folder / "batch.csv", [{**row, "product_id": f"{row['product_id']}0"} for row in rows[:6]]
    )
    place = folder / "store"
    template = "images/train/{product_id}.jpg"
    for name in ("first.csv", "again.csv"):
        store = api.Store.open(place, create=True)
        with closing(
            api.Catalogue.read(folder / name, images=sample.images, image_template=template)
        ) as catalogue:
            api.embed(
                catalogue,
                store,
                text="lexical",
                image="thumbnail",
                max_failures=1.0,
                accept_changes=True,
            )
    store = api.Store.open(place)
    api.build_index(store, "fused")
    api.build_index(api.Store.open(place), "text", factory="IVF2,Flat")
    api.build_index(api.Store.open(place), "image", factory="HNSW8,Flat")
    api.train(api.Store.open(place), "logistic", epochs=2)
    from support.audits import audited

    store = audited(api.Store.open(place), 8, {"store": "shelf", "time": "2024-05-01T10:00:00"})
    ids = store.products.ids.to_pylist()
    for number, action in enumerate((Action.KEEP, Action.SKIP)):
        one = Decision(
            product_id=ids[number],
            action=action,
            given=rows[0]["category_id"],
            category=rows[0]["category_id"] if action is Action.KEEP else None,
            reviewer="A",
        )
        add_decisions(store.files, store.products, [one])
    for name, content in OWNERS.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    (place / ".lock-owner.json").write_text(json.dumps({"host": "x", "pid": 1, "job": "embed"}))
    api.verify(place)


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
