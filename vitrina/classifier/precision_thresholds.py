"""From which confidence on predictions keep a promised precision, category by category."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrina.classifier.group_posterior import Evidence, Prior
from vitrina.classifier.metrics import NEVER
from vitrina.types import Codes, Floats, Mask

FOLDS = 5
AIMS = np.linspace(0, 0.95, 20)
"""How far the precision that is aimed at may be raised, of what is left to 1."""


PRIORS = (Prior(1.0, 30.0), Prior(0.3, 100.0), Prior(1e-3, np.inf))
"""Finest first: each group by itself, hardly, and all alike."""
WORTH = 0.9
"""The share of the largest coverage that is enough for the finer one."""


@dataclass(frozen=True, eq=False)
class Thresholds:
    """From which confidence on a prediction is accepted.

    Attributes:
        precision: what is promised.
        of: (groups,) float32, for predictions of each group (a category, say); `NEVER` for none.
        coverage, reached: the share of rows that were accepted, and the precision among them, by
            thresholds that other rows chose; NaN where nothing was accepted.
    """

    precision: float
    of: Floats
    coverage: float
    reached: float

    def accept(self, groups: Codes, confidence: Floats) -> Mask:
        """Which predictions are accepted. groups: (n,) int64, of each; -1 for none."""
        found: Mask = (confidence >= self.of[groups]) & (groups >= 0)
        return found


def promise(
    groups: Codes,
    confidence: Floats,
    right: Mask,
    count: int,
    precision: float,
    *,
    together: Codes | None = None,
    seed: int = 0,
) -> Thresholds:
    """Find the lowest confidence from which on predictions are right as often as promised.

    Parameters
    ----------
    groups : (n,) int64, what each prediction belongs to, a category say, below `count`.
    confidence : (n,) float32, calibrated.
    right : (n,) bool.
    count : how many groups there are.
    precision : what is promised, above 0 and below 1.
    together : (n,) int64, rows of one number (duplicates) are never chosen by one another.
    seed : of the folds.

    Each group has a threshold of its own. A group with few rows tells little, so what is expected
    of it leans on all others: what rows of such a confidence are right, with an offset for each
    group that a normal prior draws to zero (a random intercept; Gelman & Hill, "Data Analysis Using
    Regression and Multilevel/Hierarchical Models", 2007). With it as a beta prior, the group's own
    rows above a threshold say what its precision is there (see `Evidence`). Choosing many
    thresholds still picks lucky ones, so in folds thresholds are chosen by some rows and measured
    on others, and the precision that is aimed at is raised until the promise is kept there. Where
    rows are so few that groups of their own cost much coverage, groups are told apart less.
    """
    rng = np.random.default_rng([seed, FOLDS])
    members = np.arange(len(groups)) if together is None else together
    fold = rng.integers(FOLDS, size=int(members.max(initial=0)) + 1)[members]
    told = _Told(groups, confidence, right, count, fold)
    tried = [told.search(precision, prior) for prior in PRIORS]
    best = max(one.coverage for one in tried)
    return next(one for one in tried if one.coverage >= WORTH * best)


@dataclass(frozen=True, eq=False)
class _Told:
    """What `promise` was given, and the fold of each row."""

    groups: Codes
    confidence: Floats
    right: Mask
    count: int
    fold: Codes

    def search(self, precision: float, prior: Prior) -> Thresholds:
        """The lowest thresholds under a prior that keep the promise."""
        outer = [self.fold == number for number in range(FOLDS)]
        crossed = [self._evidence(~rows, prior) for rows in outer]
        nothing = np.full(self.count, NEVER, dtype=np.float32)
        aim, coverage, reached = 1.0, 0.0, float("nan")
        # Of fewer rows than can hold a single mistake no promise can be checked.
        least = 1 / (1 - precision)
        # The higher the aim, the fewer are accepted, and the more of them are right: the lowest
        # that keeps the promise is sought.
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
        everything = np.ones(len(self.groups), dtype=bool)
        return Thresholds(precision, self._evidence(everything, prior).cuts(aim), coverage, reached)

    def _evidence(self, rows: Mask, prior: Prior) -> Evidence:
        return Evidence(
            self.groups[rows], self.confidence[rows], self.right[rows], self.count, prior
        )
