"""Audit results as a table, one row per product."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from vitrina.audit.label_scores import LabelScores
from vitrina.audit.results import Audit, suspect_schema
from vitrina.pipelines.audit.search import AuditResult
from vitrina.store.store import OpenStore
from vitrina.tables.destination import Destination
from vitrina.tables.write import write_table as write_batches
from vitrina.types import Codes, Modality

BLOCK_ROWS = 50_000


def write_table(
    destination: Destination, store: OpenStore, found: AuditResult, audit: Audit
) -> None:
    """Write the table: the checked products by rank, then the others in the catalogue's order.

    Columns: `rank` (null where there is no label to check), `product_id`, `title`, the given and
    the suggested category with their paths and probabilities, `score`, `suspect`, `settled` (a
    reviewer decided it), the label's probability by each model (`model`, `words`, `neighbours`,
    `copies`, `text_alone`, `image_alone`; null if it gives none), `text_foreign` and
    `image_foreign` (outlier scores in the category, in robust standard deviations), `has_text`,
    `has_photo`, `cleanlab` if it was run, and of explained suspects `reasons`,
    `neighbours_found`, `copies_found` and `batch`.
    """
    rest = np.flatnonzero(~found.predictions.checked)
    order = np.concatenate([found.order, rest])
    blocks = (
        pa.table(dict(_columns(store, found, audit, order[start : start + BLOCK_ROWS], start)))
        for start in range(0, max(1, len(order)), BLOCK_ROWS)
    )
    first = next(blocks)
    write_batches(chain([first], blocks), first.schema, destination)


def _columns(
    store: OpenStore, found: AuditResult, audit: Audit, rows: Codes, start: int
) -> Iterator[tuple[str, pa.Array]]:
    predictions, codes = found.predictions, found.predictor.codes
    schema = store.products.schema
    kinds = [schema.field(name).type for name in ("product_id", "category_id")]
    suspect_fields = suspect_schema(*kinds)
    there = predictions.checked[rows]
    ids = store.products.ids.take(pa.array(rows))
    rank = np.arange(start + 1, start + 1 + len(rows))
    yield "rank", _where(there, rank)
    yield "product_id", ids
    yield "title", store.products.take(rows, ["title"]).column("title").combine_chunks()
    yield from _category("given", found, codes[rows], kinds[1])
    yield from _category("suggested", found, predictions.pooled.other[rows], kinds[1])
    yield "score", _where(there, found.score[rows])
    yield "given_probability", _where(there, predictions.pooled.given[rows])
    yield "suggested_probability", _where(there, predictions.pooled.beside[rows])
    yield "suspect", pa.array(np.isin(rows, found.suspects))
    yield "settled", pa.array(found.settled[rows])
    yield "model", _label_probability(predictions.model, rows)
    yield "words", _label_probability(predictions.words, rows)
    yield "neighbours", _label_probability(predictions.near, rows)
    yield "copies", _where(np.isfinite(predictions.copied[rows]), predictions.copied[rows])
    for modality in Modality:
        yield f"{modality}_alone", _label_probability(predictions.alone.get(modality), rows)
    for modality in Modality:
        outliers = found.outliers.get(modality)
        never = pa.nulls(len(rows), pa.float32())
        yield f"{modality}_foreign", never if outliers is None else _where(there, outliers[rows])
    yield "has_text", pa.array(store.products.has(Modality.TEXT)[rows])
    yield "has_photo", pa.array(store.products.has(Modality.IMAGE)[rows])
    if found.cross is not None:
        yield "cleanlab", _where(there, found.cross.issues[rows])
    shown = [audit.by_product.get(key) for key in ids.to_pylist()]
    beside: dict[str, list[Any]] = {"reasons": [], "neighbours": [], "copies": [], "batch": []}
    for one in shown:
        beside["reasons"].append(one and [reason.value for reason in one.reasons])
        beside["neighbours"].append(one and [vars(near) for near in one.neighbours])
        beside["copies"].append(one and [vars(near) for near in one.copies])
        beside["batch"].append(one and one.batch)
    for name, values in beside.items():
        column = f"{name}_found" if name in ("neighbours", "copies") else name
        yield column, pa.array(values, suspect_fields.field(name).type)


def _category(
    name: str, found: AuditResult, codes: Codes, kind: pa.DataType
) -> Iterator[tuple[str, pa.Array]]:
    at = pa.array(codes, mask=codes < 0)
    yield f"{name}_category_id", pa.array(found.labels.ids, kind).take(at)
    yield f"{name}_category_name", pa.array(found.labels.names, pa.string()).take(at)


def _label_probability(scores: LabelScores | None, rows: Codes) -> pa.Array:
    if scores is None:
        return pa.nulls(len(rows), pa.float32())
    return _where(scores.given[rows] + scores.beside[rows] > 0, scores.given[rows])


def _where(there: np.ndarray, values: np.ndarray) -> pa.Array:
    return pa.array(values, mask=~there)
