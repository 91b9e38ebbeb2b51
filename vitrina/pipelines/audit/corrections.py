"""Export of decisions as corrected labels, for the owner of a catalogue."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import CatalogueError
from vitrina.ids import id_keys
from vitrina.store.files import check_file, replacing
from vitrina.store.store import OpenStore
from vitrina.types import Action, CategoryId, Codes, ProductId

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


def export_decisions(store: OpenStore, out: Path, *, changed_only: bool = False) -> int:
    """Write the decisions in force as corrected labels.

    out: `.parquet` or `.csv`, one row per product with `COLUMNS`. changed_only: leave out confirmed
    labels. Returns the number of rows. Raises CatalogueError for another file type.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise CatalogueError(f"{out}: decisions are written as .parquet or .csv")
    check_file(out)
    names = category_names(store)
    settled = [
        one
        for one in store.decisions().settled.values()
        if not changed_only or one.action is Action.MOVE
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
    with replacing(out) as temporary:
        if out.suffix == ".parquet":
            schema = store.products.schema
            product, category = (schema.field(key).type for key in ("product_id", "category_id"))
            kinds = {"product_id": product, "given_category_id": category, "category_id": category}
            kinds["time"] = pa.timestamp("us", tz="UTC")
            fields = [(key, kinds.get(key, pa.string())) for key in COLUMNS]
            pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(fields)), temporary)
        else:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                sheet = csv.DictWriter(file, COLUMNS)
                sheet.writeheader()
                sheet.writerows({**row, "time": row["time"].isoformat()} for row in rows)
    return len(rows)


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
