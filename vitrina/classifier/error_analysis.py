"""Error analysis of predictions: coverage against precision, and confused categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitrina.typed_json import Count, Share, StoredId
from vitrina.types import CategoryId, Codes, Floats, Mask

FIRST_ROWS = 100
"""Fewest rows of a coverage curve's first point: precision over fewer is noise."""
POINTS = 120
"""Points of a coverage curve, about."""
MOST_PAIRS = 30
"""Most pairs of confused categories."""


@dataclass(frozen=True)
class CoveragePoint:
    """Predictions from a confidence on. coverage: their share of all. precision: the share of them
    that is correct. threshold: the confidence."""

    coverage: Share
    precision: Share
    threshold: Share


@dataclass(frozen=True)
class Confusion:
    """Products of one category that are predicted as another.

    true, predicted: the categories' ids; true_name, predicted_name: their paths, "" for none. rows:
    such products. true_rows: all evaluated products of the true category.
    """

    true: StoredId
    predicted: StoredId
    true_name: str
    predicted_name: str
    rows: Count
    true_rows: Count


def coverage_points(confidence: Floats, right: Mask) -> tuple[CoveragePoint, ...]:
    """Precision against coverage, by descending confidence, thinned to about `POINTS`.

    confidence: (n,) float32. right: (n,) bool. Rows of equal confidence are accepted together. The
    last point is of all rows.
    """
    count = len(confidence)
    if not count:
        return ()
    order = np.argsort(-confidence, kind="stable")
    ranked, hits = confidence[order], np.cumsum(right[order])
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))
    first = min(FIRST_ROWS, -(-count // 20))
    wanted = np.linspace(first, count, POINTS)
    kept = np.unique(np.searchsorted(ends + 1, wanted).clip(max=len(ends) - 1))
    return tuple(
        CoveragePoint(
            round((at + 1) / count, 6),
            round(float(hits[at]) / (at + 1), 6),
            round(float(min(ranked[at], 1.0)), 6),
        )
        for at in ends[kept].tolist()
    )


def confusions(
    true: Codes,
    predicted: Codes,
    ids: Sequence[CategoryId],
    names: Sequence[str],
    most: int = MOST_PAIRS,
) -> tuple[Confusion, ...]:
    """The pairs of true and predicted category with the most wrong predictions, most first.

    true, predicted: (n,) int64 classes, -1 for no prediction, which is in no pair. ids, names: of
    each class.
    """
    wrong = (predicted >= 0) & (predicted != true)
    keys, counts = np.unique(true[wrong] * len(ids) + predicted[wrong], return_counts=True)
    support = np.bincount(true, minlength=len(ids))
    found = []
    for at in np.argsort(-counts, kind="stable")[:most].tolist():
        one, other = divmod(int(keys[at]), len(ids))
        found.append(
            Confusion(
                ids[one],
                ids[other],
                names[one] or "",
                names[other] or "",
                int(counts[at]),
                int(support[one]),
            )
        )
    return tuple(found)
