"""What a store holds, read from its newest commit."""

from __future__ import annotations

from typing import Any

from vitrina.pipelines.since import unknown_in_store
from vitrina.store.files import read_json
from vitrina.store.store import Store


def info(store: Store) -> dict[str, Any]:
    """Describe a store as JSON values: products, spaces, indexes, heads, how it was read."""
    manifest = store.manifest
    counts = store.products.counts() if len(store.products) else {}
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
    return {
        "store": store.place,
        "commit": manifest.sequence,
        "products": len(store.products),
        **{f"with_{name}": count for name, count in counts.items() if name != "categories"},
        "categories": counts.get("categories", 0),
        "rejected": manifest.rejected.rows if manifest.rejected else 0,
        "spaces": spaces,
        "indexes": [read_json(store.index_files(name)["index.json"]) for name in manifest.indexes],
        "models": [
            {
                "name": name,
                "active": name == manifest.model,
                **_model(store, read_json(store.model_folder(name) / "model.json")),
            }
            for name in manifest.models
        ],
        "reading": dict(manifest.reading),
    }


def _model(store: Store, card: dict[str, Any]) -> dict[str, Any]:
    report = card["report"]
    unknown = unknown_in_store(store, [one["id"] for one in card["categories"]])
    return {
        "features": report["features"],
        "head": report["head"],
        "categories": len(card["categories"]),
        "unknown_categories": len(unknown),
        "unknown_products": sum(unknown.values()),
        "split": report["split"],
        "weighted_f1": report["validation"]["weighted_f1"],
        "macro_f1": report["validation"]["macro_f1"],
        "fingerprints": [entry["fingerprint"] for entry in card["inputs"]],
    }
