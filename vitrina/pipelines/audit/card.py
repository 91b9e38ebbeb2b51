"""Audit card: counts, confusions and outliers of a whole catalogue."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from vitrina.audit.confusion import pairs, twins
from vitrina.audit.label_scores import confident
from vitrina.audit.outliers import is_outlier
from vitrina.pipelines.audit.search import SUSPECT, AuditResult
from vitrina.store.store import OpenStore
from vitrina.types import Codes, Modality

NAMED = 100
"""Entries of each list of products, pairs, twins and categories, at most."""


def card_of(store: OpenStore, found: AuditResult) -> dict[str, Any]:
    """Counts, confusions and outliers, as JSON-compatible values.

    `features`, `products`, `labelled`, `checked`, `settled` (decided by reviewers already),
    `suspects`, `wrong_by_confident_learning`, `members` (the models), `copies_from` (the cosine
    threshold of near duplicates); `scores`, a histogram; `pairs` of a given and a suggested
    category, `twins`, `categories` by their share of suspects; `foreign_text`, `foreign_image`
    (outliers), `without_text`, `without_photo`, `without_both`: a count, and the first products.
    """
    predictions, labels = found.predictions, found.labels
    codes, ids = found.predictor.codes, labels.ids
    product = partial(_ids, store)
    suspects = found.suspects
    other = predictions.pooled.other
    sizes = np.bincount(codes[predictions.checked], minlength=len(ids))
    wrong = np.bincount(codes[suspects], minlength=len(ids))
    worst = np.lexsort((-wrong, -wrong / np.maximum(sizes, 1)))
    checked = np.flatnonzero(predictions.checked)
    wrong_labels = confident(predictions.pooled.of(checked), codes[checked], len(ids))
    counts, edges = np.histogram(found.score[suspects], bins=20, range=(SUSPECT, 1))
    card: dict[str, Any] = {
        "features": found.predictor.features.value,
        "products": len(codes),
        "labelled": int((labels.codes >= 0).sum()),
        "checked": len(checked),
        "settled": int(found.settled.sum()),
        "suspects": len(suspects),
        "wrong_by_confident_learning": int(wrong_labels.sum()),
        "members": predictions.members,
        "copies_from": round(found.predictor.copies.threshold, 4),
        "scores": [
            {"low": float(low), "high": float(high), "count": int(count)}
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ],
        "pairs": [
            {
                "given": ids[pair.given],
                "suggested": ids[pair.suggested],
                "count": pair.count,
                "products": product(np.array(pair.rows)),
            }
            for pair in pairs(codes[suspects], other[suspects], suspects)[:NAMED]
        ],
        "twins": [
            {
                "one": ids[two.one],
                "other": ids[two.other],
                "products": two.products,
                "share": round(two.share, 4),
                "kind": "inside" if two.inside else "twins",
            }
            for two in twins(predictions.pooled, codes, predictions.checked, len(ids))[:NAMED]
        ],
        "categories": [
            {"id": ids[code], "products": int(sizes[code]), "suspects": int(wrong[code])}
            for code in worst[:NAMED].tolist()
            if wrong[code]
        ],
    }
    for modality, outliers in found.outliers.items():
        rows = np.flatnonzero(is_outlier(outliers))
        first = rows[np.argsort(-outliers[rows], kind="stable")[:NAMED]]
        card[f"foreign_{modality}"] = {"count": len(rows), "products": product(first)}
    lacking = {}
    for modality in Modality:
        lacking[modality] = ~store.products.has(modality)
    for name, mask in (
        ("without_text", lacking[Modality.TEXT]),
        ("without_photo", lacking[Modality.IMAGE]),
        ("without_both", lacking[Modality.TEXT] & lacking[Modality.IMAGE]),
    ):
        rows = np.flatnonzero(mask)
        card[name] = {"count": len(rows), "products": product(rows[:NAMED])}
    if found.cross is not None:
        card["cleanlab"] = found.cross.to_json(suspects)
    return card


def _ids(store: OpenStore, rows: Codes) -> list[Any]:
    return [store.products.ids[int(row)].as_py() for row in rows]
