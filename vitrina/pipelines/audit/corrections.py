"""Export of decisions as corrected labels, for the owner of a catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vitrina.ids import id_keys
from vitrina.pipelines.audit.options import ExportOptions
from vitrina.store.store import OpenStore
from vitrina.tables.destination import SUFFIXES, Destination, TableFormat
from vitrina.tables.write import write_table
from vitrina.types import Action, CategoryId, Codes, ProductId

TASKS = ".json"
"""End of a file of Label Studio tasks."""
COLUMNS = (
    "product_id",
    "title",
    "action",
    "given_category_id",
    "given_category_name",
    "category_id",
    "category_name",
    "reviewer",
    "time",
)


def export_decisions(store: OpenStore, out: str | Path, options: ExportOptions) -> int:
    """Write the decisions in force as corrected labels, one row per product with `COLUMNS`.

    Returns the number of rows. Raises OptionError for a file name that ends otherwise.
    """
    formats: dict[str, TableFormat] = {**SUFFIXES, TASKS: TableFormat.JSONL}
    destination = Destination.of(out, options, name="export", formats=formats)
    destination.check()
    names = category_names(store)
    settled = [
        one
        for one in store.decisions().settled.values()
        if not options.changed_only or one.action is Action.MOVE
    ]
    titles = _titles(store, [one.product_id for one in settled])
    rows: list[dict[str, Any]] = [
        {
            "product_id": one.product_id,
            "title": titles.get(one.product_id, ""),
            "action": one.action.value,
            "given_category_id": one.given,
            "given_category_name": _name(names, one.given),
            "category_id": one.category,
            "category_name": _name(names, one.category),
            "reviewer": one.reviewer,
            "time": one.time,
        }
        for one in settled
    ]
    own = store.products.schema
    product, category = (own.field(key).type for key in ("product_id", "category_id"))
    kinds = {"product_id": product, "given_category_id": category, "category_id": category}
    kinds["time"] = pa.timestamp("us", tz="UTC")
    schema = pa.schema([(key, kinds.get(key, pa.string())) for key in COLUMNS])
    return write_table([pa.Table.from_pylist(rows, schema=schema)], schema, destination)


def category_names(store: OpenStore) -> dict[CategoryId, str]:
    """The path of each category by its id."""
    labels = store.categories()
    return dict(zip(labels.ids, labels.names, strict=True))


def _name(names: Mapping[CategoryId, str], category: CategoryId | None) -> str:
    return "" if category is None else names.get(category, "")


def _titles(store: OpenStore, ids: list[ProductId]) -> dict[ProductId, str]:
    positions: Codes = store.products.table.positions(id_keys(ids))
    there = np.flatnonzero(positions >= 0)
    told = store.products.take(positions[there], ["title"]).column("title").to_pylist()
    return {ids[at]: title or "" for at, title in zip(there.tolist(), told, strict=True)}
