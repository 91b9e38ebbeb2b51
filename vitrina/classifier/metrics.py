"""Classification metrics: F1 as in scikit-learn, accuracy, and coverage at 95% precision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrina.errors import TrainingError
from vitrina.page.summary import SummaryTable
from vitrina.types import Codes, Floats, Mask

if TYPE_CHECKING:
    import numpy.typing as npt

NEVER = 1.01
"""A threshold that no probability reaches: nothing is accepted."""


@dataclass(frozen=True)
class Metrics:
    """Validation metrics of a classifier.

    Attributes:
        weighted_f1: F1 of each class, weighted by its number of true rows.
        macro_f1: the unweighted mean of F1 over the classes that appear, in truth or prediction.
        accuracy: the share of rows predicted right.
        weighted_f1_interval: 95% bootstrap interval over rows, low and high.
        coverage_at_95: the largest share of rows, most confident first, that can be accepted
            with a precision of at least 0.95.
        threshold_at_95: the confidence from which these rows are accepted; `NEVER` for none.
        rows: the number of rows evaluated.
    """

    weighted_f1: float
    macro_f1: float
    accuracy: float
    weighted_f1_interval: tuple[float, float]
    coverage_at_95: float
    threshold_at_95: float
    rows: int

    def to_json(self) -> dict[str, Any]:
        """The metrics as JSON values."""
        return {**asdict(self), "weighted_f1_interval": list(self.weighted_f1_interval)}


def metrics_table(named: Iterable[tuple[str, Metrics]]) -> SummaryTable:
    """A table of metrics by name, for the summary of a report."""
    head = ("", "weighted F1", "macro F1", "accuracy", "coverage at 95%", "rows")
    rows = [
        (name, one.weighted_f1, one.macro_f1, one.accuracy, one.coverage_at_95, one.rows)
        for name, one in named
    ]
    return SummaryTable(head, rows)


def evaluate(
    true: Codes,
    predicted: Codes,
    confidence: Floats | None,
    *,
    classes: int,
    bootstrap: int = 200,
    seed: int = 0,
) -> Metrics:
    """Compute metrics of predictions.

    Parameters
    ----------
    true : (n,) int64, the class of every row, from 0 to `classes` - 1.
    predicted : (n,) int64, the predicted class; -1 for a row without a prediction, which counts as
        wrong and for no class.
    confidence : (n,) float32, of each prediction; None gives a coverage of 0.
    classes : the number of classes.
    bootstrap : the number of resamples for the interval.
    seed : random seed of the resamples.

    The interval is the percentile bootstrap's (Efron & Tibshirani, "An Introduction to the
    Bootstrap", 1993). Raises TrainingError if there is no row, and ValueError for arrays
    of different lengths, codes out of range, NaN confidence or no resample.
    """
    _check(true, predicted, confidence, classes, bootstrap)
    rows = len(true)
    right = true == predicted
    f1, support, seen = _f1_of_classes(true, predicted, classes)
    coverage, threshold = (0.0, NEVER) if confidence is None else _coverage(right, confidence)
    return Metrics(
        weighted_f1=float(f1 @ support / rows),
        macro_f1=float(f1[seen].mean()),
        accuracy=float(right.mean()),
        weighted_f1_interval=_interval(true, predicted, classes, bootstrap, seed),
        coverage_at_95=coverage,
        threshold_at_95=threshold,
        rows=rows,
    )


@dataclass(frozen=True)
class Difference:
    """Difference in weighted F1 between two classifiers on the same rows, with a 95% bootstrap
    interval over rows."""

    value: float
    low: float
    high: float


def difference(
    true: Codes,
    first: Codes,
    second: Codes,
    *,
    classes: int,
    bootstrap: int = 400,
    seed: int = 0,
) -> Difference:
    """The weighted F1 of `first` minus that of `second`. Both are resampled together, so that rows
    hard for both do not widen the interval. Parameters as in `evaluate`."""
    for predicted in (first, second):
        _check(true, predicted, None, classes, bootstrap)
    rng, rows = np.random.default_rng(seed), len(true)

    def gap(drawn: Codes) -> float:
        scores = []
        for predicted in (first, second):
            f1, support, _ = _f1_of_classes(true[drawn], predicted[drawn], classes)
            scores.append(f1 @ support / rows)
        return float(scores[0] - scores[1])

    gaps = [gap(rng.integers(rows, size=rows)) for _ in range(bootstrap)]
    low, high = np.percentile(gaps, (2.5, 97.5))
    return Difference(gap(np.arange(rows)), float(low), float(high))


def _check(
    true: Codes, predicted: Codes, confidence: Floats | None, classes: int, bootstrap: int
) -> None:
    if len(true) == 0:
        raise TrainingError("there is no labelled row to evaluate on")
    if len(predicted) != len(true) or (confidence is not None and len(confidence) != len(true)):
        raise ValueError("true, predicted and confidence must have one value for each row")
    if min(true.min(), predicted.min() + 1) < 0 or max(true.max(), predicted.max()) >= classes:
        raise ValueError(f"class numbers must be below {classes}, and true ones at least 0")
    if confidence is not None and np.isnan(confidence).any():
        raise ValueError("confidence holds NaN")
    if bootstrap < 1:
        raise ValueError(f"bootstrap must be at least 1, not {bootstrap}")


def _f1_of_classes(
    true: Codes, predicted: Codes, classes: int
) -> tuple[npt.NDArray[np.float64], Codes, Mask]:
    """Each class's F1 (0 where undefined), number of true rows, and whether it appears at all."""
    support = np.bincount(true, minlength=classes)
    # Bin 0 is for the rows without a prediction.
    chosen = np.bincount(predicted + 1, minlength=classes + 1)[1:]
    hits = np.bincount(true[true == predicted], minlength=classes)
    both = support + chosen
    return 2 * hits / np.maximum(both, 1), support, both > 0


def _interval(
    true: Codes, predicted: Codes, classes: int, bootstrap: int, seed: int
) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    rows = len(true)
    scores = np.empty(bootstrap)
    for resample in range(bootstrap):
        drawn = rng.integers(rows, size=rows)
        f1, support, _ = _f1_of_classes(true[drawn], predicted[drawn], classes)
        scores[resample] = f1 @ support / rows
    low, high = np.percentile(scores, (2.5, 97.5))
    return float(low), float(high)


def _coverage(right: Mask, confidence: Floats) -> tuple[float, float]:
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    hits, accepted = np.cumsum(right[order]), np.arange(1, len(order) + 1)
    # A threshold accepts all rows of equal confidence or none, so it falls only where they end.
    ends = np.append(ranked[1:] < ranked[:-1], True)
    # In integers, since 0.95 has no exact float.
    good = np.flatnonzero(ends & (20 * hits >= 19 * accepted))
    if len(good) == 0:
        return 0.0, NEVER
    last = good[-1]
    return float(accepted[last] / len(order)), float(ranked[last])
