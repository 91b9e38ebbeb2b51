"""Confidence thresholds that keep a target precision, one per category."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vitrina.classifier.group_posterior import Doubles, GroupPosterior, Prior, pooled_precision
from vitrina.classifier.metrics import NEVER
from vitrina.types import Codes, Floats, Mask

FOLDS = 5
AIMS = np.linspace(0, 0.95, 20)
"""Candidate margins above the target precision, as shares of its distance from 1."""

PRIORS = (Prior(1.0, 30.0), Prior(0.3, 100.0), Prior(1e-3, np.inf))
"""Finest first: groups that differ much, little, and not at all."""
WORTH = 0.9
"""The share of the largest coverage at which a finer prior is preferred."""


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Confidence thresholds from which predictions are accepted.

    Attributes:
        precision: the target.
        of: (groups,) float32, for predictions of each group (e.g. a category); `NEVER` to accept
            none.
        coverage, reached: out-of-fold share of accepted rows, and the precision among them; 0 and
            NaN where nothing was accepted.
    """

    precision: float
    of: Floats
    coverage: float
    reached: float

    def accept(self, groups: Codes, confidence: Floats) -> Mask:
        """Mask of accepted predictions, (n,) bool. groups: (n,) int64, of each prediction; -1 for
        none, never accepted. confidence: (n,) float32."""
        found: Mask = (confidence >= self.of[groups]) & (groups >= 0)
        return found


def thresholds_at_precision(
    groups: Codes,
    confidence: Floats,
    right: Mask,
    count: int,
    precision: float,
    *,
    together: Codes | None = None,
    seed: int = 0,
) -> Thresholds:
    """Find the lowest confidence from which predictions of each group keep a target precision.

    Parameters
    ----------
    groups : (n,) int64 below `count`, the group of each prediction (e.g. its category).
    confidence : (n,) float32, calibrated.
    right : (n,) bool.
    count : the number of groups.
    precision : the target, above 0 and below 1.
    together : (n,) int64; rows with one number (duplicates) fall into one fold.
    seed : random seed of the folds.

    Each group has its own threshold. A group with few rows is weak evidence, so its expected
    precision is that of all rows of such a confidence, with an offset for the group that a normal
    prior shrinks to zero (a random intercept; Gelman & Hill, "Data Analysis Using Regression and
    Multilevel/Hierarchical Models", 2007). With this as a beta prior, the group's own rows above a
    threshold give its posterior precision (see `GroupPosterior`). The choice of many thresholds is
    still optimistic, so thresholds are cross-validated, and the aimed-at precision is raised until
    the out-of-fold precision reaches the target. If rows are so few that separate groups cost much
    coverage, a coarser prior pools groups more.
    """
    rng = np.random.default_rng([seed, FOLDS])
    units = np.arange(len(groups)) if together is None else together
    fold = rng.integers(FOLDS, size=int(units.max(initial=0)) + 1)[units]
    predictions = _Predictions(groups, confidence, right, count, fold)
    tried = [predictions.search(precision, prior) for prior in PRIORS]
    best = max(one.coverage for one in tried)
    return next(one for one in tried if one.coverage >= WORTH * best)


@dataclass(frozen=True, eq=False)
class _Predictions:
    """The predictions given to `thresholds_at_precision`, and the fold of each row.

    pooled: by fold, the pooled precision of the rows outside of it; see `pooled_precision`.
    """

    groups: Codes
    confidence: Floats
    right: Mask
    count: int
    fold: Codes
    pooled: dict[int | None, Doubles] = field(default_factory=dict)

    def search(self, precision: float, prior: Prior) -> Thresholds:
        """The lowest thresholds under a prior that keep the target precision."""
        outer = [self.fold == number for number in range(FOLDS)]
        crossed = [self._evidence(number, prior) for number in range(FOLDS)]
        nothing = np.full(self.count, NEVER, dtype=np.float32)
        aim, coverage, reached = 1.0, 0.0, float("nan")
        # Fewer rows than allow a single error cannot show that the target is kept.
        least = 1 / (1 - precision)
        # A higher aim accepts fewer rows at a higher precision: binary search for the lowest aim
        # that keeps the target.
        low, high = 0, len(AIMS)
        while low < high:
            middle = (low + high) // 2
            tried = precision + (1 - precision) * AIMS[middle]
            taken = np.zeros(len(self.groups), dtype=bool)
            for rows, evidence in zip(outer, crossed, strict=True):
                cuts = evidence.cuts(tried)
                taken[rows] = self.confidence[rows] >= cuts[self.groups[rows]]
            share = self.right[taken].mean() if taken.any() else 0.0
            if taken.sum() >= least and share < precision:
                low = middle + 1
                continue
            high = middle
            if taken.sum() >= least:
                aim, coverage, reached = float(tried), float(taken.mean()), float(share)
        if not coverage:
            return Thresholds(precision, nothing, 0.0, reached)
        return Thresholds(precision, self._evidence(None, prior).cuts(aim), coverage, reached)

    def _evidence(self, fold: int | None, prior: Prior) -> GroupPosterior:
        """The posterior from all rows outside of a fold; None for all rows."""
        rows = self.fold != (-1 if fold is None else fold)
        if fold not in self.pooled:
            self.pooled[fold] = pooled_precision(self.confidence[rows], self.right[rows])
        return GroupPosterior(
            self.groups[rows],
            self.confidence[rows],
            self.right[rows],
            self.count,
            prior,
            self.pooled[fold],
        )
