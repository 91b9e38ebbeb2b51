"""Posterior precision of a group's predictions above a confidence, for groups with few rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vitrina.classifier.metrics import NEVER
from vitrina.types import Codes, Floats, Mask

Doubles: TypeAlias = "npt.NDArray[np.float64]"

ROUNDS = 30
"""Upper limit of Newton iterations."""
SETTLED = 1e-4
"""Step below which Newton's method stops."""
EDGE = 1e-6
"""Probabilities are clipped to this distance from 0 and 1."""
FEW = 10
"""Groups of fewer rows are pooled."""
LEANING = 10.0
"""Weight of the logistic regression in each isotonic block, as a number of rows."""


@dataclass(frozen=True)
class Prior:
    """Prior over groups. spread: standard deviation, in logits, of a group's offset from the
    precision that confidence alone predicts. strength: weight of the prior precision, as a number
    of rows of the group."""

    spread: float
    strength: float


class GroupPosterior:
    """Posterior precision of each group above any confidence.

    It is the mean of a beta posterior. The prior comes from isotonic regression over the rows of
    all groups (Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass
    probability estimates", 2002), with an offset in logits for each group that a normal prior
    shrinks to zero.
    """

    def __init__(
        self,
        groups: Codes,
        confidence: Floats,
        right: Mask,
        count: int,
        prior: Prior,
        pooled: Doubles | None = None,
    ) -> None:
        """groups: (n,) int64 below `count`. confidence: (n,) float32. right: (n,) bool. pooled: the
        result of `pooled_precision` for them, which no prior changes; None to compute it."""
        if pooled is None:
            pooled = pooled_precision(confidence, right)
        expected = _group_precision(groups, pooled, right, count, prior.spread)
        # A handful of rows does not show the confidence of a group's next ones: such groups are
        # pooled, and so is a group without rows.
        self._has_own = np.bincount(groups, minlength=count) >= FEW
        joined = np.where(self._has_own[groups], groups, count)
        if not len(joined) or joined.max() < count:
            joined = np.append(joined, np.full(len(joined), count))
            confidence, right = np.tile(confidence, 2), np.tile(right, 2)
            expected = np.tile(expected, 2)
        order = np.lexsort((-confidence, joined))
        self._confidence, self._groups = confidence[order], joined[order]
        self._starts = np.flatnonzero(np.diff(self._groups, prepend=-1))
        accepted = np.arange(1, len(order) + 1) - self._first(np.arange(len(order)))
        before, own = (
            self._running_sums(values[order]) / accepted
            for values in (expected, right.astype(float))
        )
        self._likely = before + (own - before) * (accepted / (accepted + prior.strength))
        # Rows of equal confidence are accepted together or not at all.
        self._ends = np.append(
            (self._confidence[1:] < self._confidence[:-1]) | (np.diff(self._groups) != 0), True
        )[: len(order)]

    def cuts(self, aim: float) -> Floats:
        """The lowest confidence of each group from which its precision is at least `aim`: (count,)
        float32, `NEVER` for none."""
        found = np.full(len(self._has_own) + 1, NEVER, dtype=np.float32)
        if len(self._starts):
            good = np.where((self._likely >= aim) & self._ends, np.arange(len(self._ends)), -1)
            last = np.maximum.reduceat(good, self._starts)
            own = np.where(last >= 0, self._confidence[last], np.float32(NEVER))
            found[self._groups[self._starts]] = own
        cuts: Floats = np.where(self._has_own, found[:-1], found[-1])
        return cuts

    def _first(self, values: Codes) -> Codes:
        """The value of each group's first row, repeated for all of its rows."""
        lengths = np.diff(np.append(self._starts, len(values)))
        return np.repeat(values[self._starts], lengths)

    def _running_sums(self, values: Doubles) -> Doubles:
        """Cumulative sums within each group."""
        sums = np.cumsum(values)
        lengths = np.diff(np.append(self._starts, len(values)))
        found: Doubles = sums - np.repeat((sums - values)[self._starts], lengths)
        return found


def _group_precision(
    groups: Codes, pooled: Doubles, right: Mask, count: int, spread: float
) -> Doubles:
    """Probability of each row to be right, given its group: (n,)."""
    logit = np.log(pooled / (1 - pooled))
    offsets = np.zeros(count)
    for _ in range(ROUNDS):
        likely = _sigmoid(logit + offsets[groups])
        push = np.bincount(groups, right - likely, count) - offsets / spread**2
        weight = np.bincount(groups, likely * (1 - likely), count) + 1 / spread**2
        moved = push / weight
        offsets += moved
        if np.abs(moved).max(initial=0) < SETTLED:
            break
    return _sigmoid(logit + offsets[groups])


def pooled_precision(confidence: Floats, right: Mask) -> Doubles:
    """Probability of each row to be right, from its confidence alone: (n,), above 0 and below 1.

    Isotonic regression with blocks shrunk towards a logistic regression, so that a few rows that
    are all right do not get probability 1.
    """
    # Imported here: slower to load than everything else in this module.
    from sklearn.isotonic import IsotonicRegression

    if not len(right):
        return np.zeros(0)
    straight = _logistic(confidence, right)
    rising = IsotonicRegression().fit_transform(confidence.astype(np.float64), right)
    _, block = np.unique(rising, return_inverse=True)
    rows, hits, likely = (
        np.bincount(block, values) for values in (np.ones(len(right)), right, straight)
    )
    found: Doubles = ((hits + LEANING * likely / rows) / (rows + LEANING))[block]
    return np.clip(found, EDGE, 1 - EDGE)


def _logistic(confidence: Floats, right: Mask) -> Doubles:
    """Logistic regression on the confidence's logit, by Newton's method: (n,) probabilities."""
    sure = np.clip(confidence.astype(np.float64), EDGE, 1 - EDGE)
    logit = np.log(sure / (1 - sure))
    slope, level = 1.0, 0.0
    for _ in range(ROUNDS):
        likely = _sigmoid(slope * logit + level)
        gap, weight = right - likely, likely * (1 - likely)
        # A small ridge penalty pulls towards the confidence as it is: slope 1, level 0.
        both = (weight * logit).sum()
        hessian = np.array([[(weight * logit**2).sum() + 1, both], [both, weight.sum() + 1]])
        step = np.linalg.solve(hessian, [(gap * logit).sum() - (slope - 1), gap.sum() - level])
        slope, level = max(slope + step[0], 0.05), level + step[1]
        if np.abs(step).max() < SETTLED:
            break
    return _sigmoid(slope * logit + level)


def _sigmoid(values: Doubles) -> Doubles:
    found: Doubles = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return found
