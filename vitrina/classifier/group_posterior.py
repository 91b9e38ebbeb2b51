"""How often predictions of a group are right above a confidence, where rows of it may be few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vitrina.classifier.metrics import NEVER
from vitrina.types import Codes, Floats, Mask

Doubles: TypeAlias = "npt.NDArray[np.float64]"

ROUNDS = 30
SETTLED = 1e-4
EDGE = 1e-6
"""How near 0 or 1 a probability may be."""
FEW = 10
"""Fewer rows than that make no group of its own."""
LEANING = 10.0
"""As how many rows of its own a logistic regression speaks for a run of rows of like confidence."""


@dataclass(frozen=True)
class Prior:
    """What is thought of groups beforehand. spread: by how much, in logits, they differ from what
    their confidence says. strength: as how many rows of a group what is expected of it speaks."""

    spread: float
    strength: float


class Evidence:
    """What some rows say of each group's precision above any confidence.

    It is a beta posterior's mean: the prior is what all rows of such a confidence say (isotonic
    regression; Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass
    probability estimates", 2002), with an offset in logits for each group that a normal prior draws
    to zero.
    """

    def __init__(
        self, groups: Codes, confidence: Floats, right: Mask, count: int, prior: Prior
    ) -> None:
        """groups: (n,) int64 below `count`. confidence: (n,) float32. right: (n,) bool."""
        expected = _expected(groups, confidence, right, count, prior.spread)
        # Of a group with a handful of rows, these are no measure of how sure its next ones will be:
        # such groups are judged together, and so is one of which nothing is known.
        self._alone = np.bincount(groups, minlength=count) >= FEW
        joined = np.where(self._alone[groups], groups, count)
        if not len(joined) or joined.max() < count:
            joined = np.append(joined, np.full(len(joined), count))
            confidence, right = np.tile(confidence, 2), np.tile(right, 2)
            expected = np.tile(expected, 2)
        order = np.lexsort((-confidence, joined))
        self._confidence, self._groups = confidence[order], joined[order]
        self._starts = np.flatnonzero(np.diff(self._groups, prepend=-1))
        accepted = np.arange(1, len(order) + 1) - self._first(np.arange(len(order)))
        before, own = (
            self._so_far(values[order]) / accepted for values in (expected, right.astype(float))
        )
        self._likely = before + (own - before) * (accepted / (accepted + prior.strength))
        # Of equal confidences all are taken or none.
        self._ends = np.append(
            (self._confidence[1:] < self._confidence[:-1]) | (np.diff(self._groups) != 0), True
        )[: len(order)]

    def cuts(self, aim: float) -> Floats:
        """The lowest confidence of each group above which it is right so often: (count,) float32,
        `NEVER` for none."""
        found = np.full(len(self._alone) + 1, NEVER, dtype=np.float32)
        if len(self._starts):
            good = np.where((self._likely >= aim) & self._ends, np.arange(len(self._ends)), -1)
            last = np.maximum.reduceat(good, self._starts)
            own = np.where(last >= 0, self._confidence[last], np.float32(NEVER))
            found[self._groups[self._starts]] = own
        cuts: Floats = np.where(self._alone, found[:-1], found[-1])
        return cuts

    def _first(self, values: Codes) -> Codes:
        """The value of each group's first row, at all of its rows."""
        lengths = np.diff(np.append(self._starts, len(values)))
        return np.repeat(values[self._starts], lengths)

    def _so_far(self, values: Doubles) -> Doubles:
        """Sums within each group, down to each row."""
        sums = np.cumsum(values)
        lengths = np.diff(np.append(self._starts, len(values)))
        found: Doubles = sums - np.repeat((sums - values)[self._starts], lengths)
        return found


def _expected(groups: Codes, confidence: Floats, right: Mask, count: int, spread: float) -> Doubles:
    """How likely each row is to be right, as one of its group: (n,)."""
    plain = _anywhere(confidence, right)
    logit = np.log(plain / (1 - plain))
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


def _anywhere(confidence: Floats, right: Mask) -> Doubles:
    """How likely a row of such a confidence is to be right, whatever its group: (n,), within 0 and
    1. It is isotonic regression, whose blocks lean on a logistic one: few rows that are all right
    are not taken for certain."""
    # Not above: it takes longer to import than everything else here.
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
    """The same by logistic regression on the confidence's logit, by Newton's method."""
    sure = np.clip(confidence.astype(np.float64), EDGE, 1 - EDGE)
    logit = np.log(sure / (1 - sure))
    slope, level = 1.0, 0.0
    for _ in range(ROUNDS):
        likely = _sigmoid(slope * logit + level)
        gap, weight = right - likely, likely * (1 - likely)
        # With a little ridge towards "as it says".
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
