"""Results beside the table of methods: F1 by category size, confusions, coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrina.pipelines.benchmark.rows import MethodsTable, Row
from vitrina.types import Codes, Floats

SIZES = (0, 1, 2, 5, 10, 30, 100, 300)
"""The fewest training rows of a category in each bin."""
TOP = 20
"""Pairs of confused categories to report, at most."""


@dataclass(frozen=True)
class SizeBin:
    """The categories with `smallest` to `largest` training rows; None for no end.

    categories: how many of them have a validation row. rows: their validation rows. f1: the plain
    mean of their F1.
    """

    smallest: int
    largest: int | None
    categories: int
    rows: int
    f1: float

    @property
    def label(self) -> str:
        """As "1", "2–4" or "300+"."""
        if self.largest is None:
            return f"{self.smallest}+"
        return f"{self.smallest}" + (f"–{self.largest}" if self.largest > self.smallest else "")


@dataclass(frozen=True)
class ConfusedPair:
    """Two categories that a method confuses.

    Attributes:
        true, predicted: their codes; rows of `true` are taken for `predicted` at least as often
            as the other way round.
        count, back: validation rows of `true` taken for `predicted`, and of `predicted` for `true`.
        true_rows, predicted_rows: all validation rows of either; 0 where it has none.
    """

    true: int
    predicted: int
    count: int
    back: int
    true_rows: int
    predicted_rows: int

    @property
    def share(self) -> float:
        """Of the rows of `true`, those taken for `predicted`."""
        return self.count / self.true_rows

    @property
    def share_back(self) -> float:
        """Of the rows of `predicted`, those taken for `true`; 0 where it has no row."""
        return self.back / max(self.predicted_rows, 1)


@dataclass(frozen=True, eq=False)
class CoverageCurve:
    """Precision against coverage, by descending confidence.

    Attributes:
        threshold: (k,) float32, every confidence that occurs, highest first.
        coverage: (k,) float64, the share of all rows with at least that confidence.
        precision: (k,) float64, the share of these rows that is right.
    """

    threshold: Floats
    coverage: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]


def f1_by_size(row: Row, table: MethodsTable) -> tuple[SizeBin, ...]:
    """The mean F1 of categories by how many training rows they have, smallest first.

    A category's F1 is scikit-learn's: 2 hits / (rows that have it + rows that are given it), over
    all validation rows. Only categories with a validation row count, and bins without one are left
    out, so all methods of a table have the same bins, and the bins' rows add up to all. Categories
    never trained on have a bin of their own. Raises ValueError for a row without predictions.
    """
    predicted, classes = _predicted(row), len(table.names)
    support = np.bincount(table.true, minlength=classes)
    given = np.bincount(predicted[predicted >= 0], minlength=classes)
    hits = np.bincount(table.true[table.true == predicted], minlength=classes)
    f1 = 2 * hits / np.maximum(support + given, 1)
    bin_of = np.searchsorted(SIZES, table.sizes, side="right") - 1
    bins = []
    for number, smallest in enumerate(SIZES):
        inside = (bin_of == number) & (support > 0)
        if inside.any():
            bins.append(
                SizeBin(
                    smallest=smallest,
                    largest=SIZES[number + 1] - 1 if number + 1 < len(SIZES) else None,
                    categories=int(inside.sum()),
                    rows=int(support[inside].sum()),
                    f1=float(f1[inside].mean()),
                )
            )
    return tuple(bins)


def confused_pairs(row: Row, table: MethodsTable, top: int = TOP) -> tuple[ConfusedPair, ...]:
    """The pairs of categories that are confused most often, most rows first.

    A pair's rows are those of both directions; among equals, lower codes come first. Rows with no
    prediction are in no pair. Raises ValueError for a row without predictions.
    """
    predicted, classes = _predicted(row), len(table.names)
    wrong = (predicted >= 0) & (predicted != table.true)
    true, taken = table.true[wrong], predicted[wrong]
    low, high = np.minimum(true, taken), np.maximum(true, taken)
    keys, at, counts = np.unique(low * classes + high, return_inverse=True, return_counts=True)
    upward = np.bincount(at[true == low], minlength=len(keys))
    support = np.bincount(table.true, minlength=classes)
    pairs = []
    for one in np.argsort(-counts, kind="stable")[:top].tolist():
        first, second = divmod(int(keys[one]), classes)
        count, back = int(upward[one]), int(counts[one] - upward[one])
        if back > count:
            first, second, count, back = second, first, back, count
        pairs.append(
            ConfusedPair(first, second, count, back, int(support[first]), int(support[second]))
        )
    return tuple(pairs)


def coverage_curve(row: Row, table: MethodsTable) -> CoverageCurve:
    """The curve of precision against coverage, by descending confidence.

    Rows of equal confidence are accepted together, so there is one point for each confidence that
    occurs, and the last one is of all rows: its precision is the accuracy. A row with no prediction
    is wrong, as in `classifier.metrics`. Raises ValueError for a row without confidences.
    """
    if row.confidence is None:
        raise ValueError(f"{row.name!r} has no confidences")
    order = np.argsort(-row.confidence, kind="stable")
    ranked = row.confidence[order]
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True)[: len(ranked)])
    hits = np.cumsum((_predicted(row) == table.true)[order])[ends]
    accepted = ends + 1
    return CoverageCurve(ranked[ends], accepted / max(len(ranked), 1), hits / accepted)


def _predicted(row: Row) -> Codes:
    if row.predicted is None:
        raise ValueError(f"{row.name!r} has no predictions")
    return row.predicted
