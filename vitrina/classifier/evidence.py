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


@dataclass(frozen=True)
class Prior:
    """What is thought of groups beforehand. spread: by how much, in logits, they differ from what
    their confidence says. strength: as how many rows of a group what is expected of it speaks."""

    spread: float
    strength: float


class Evidence:
    """What some rows say of each group's precision above any confidence.

    It is a beta posterior's mean: the prior is what a logistic regression of being right on the
    confidence's logit expects, with an offset for each group that a normal prior draws to zero.
    """

    def __init__(
        self, groups: Codes, confidence: Floats, right: Mask, count: int, prior: Prior
    ) -> None:
        """groups: (n,) int64 below `count`. confidence: (n,) float32. right: (n,) bool."""
        plain, expected = _expected(groups, confidence, right, count, prior.spread)
        falling = np.argsort(-confidence, kind="stable")
        self._count = count
        self._falling = confidence[falling]
        # For a group of which nothing is known.
        self._plain = np.cumsum(plain[falling]) / np.arange(1, len(falling) + 1)
        order = np.lexsort((-confidence, groups))
        self._confidence, self._groups = confidence[order], groups[order]
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
        out = np.full(self._count, self._anywhere(aim), dtype=np.float32)
        if len(self._starts):
            good = np.where((self._likely >= aim) & self._ends, np.arange(len(self._ends)), -1)
            last = np.maximum.reduceat(good, self._starts)
            found = np.where(last >= 0, self._confidence[last], np.float32(NEVER))
            out[self._groups[self._starts]] = found
        return out

    def _anywhere(self, aim: float) -> float:
        ends = np.append(self._falling[1:] < self._falling[:-1], True)[: len(self._falling)]
        places = np.flatnonzero((self._plain >= aim) & ends)
        return float(self._falling[places[-1]]) if len(places) else NEVER

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


def _expected(
    groups: Codes, confidence: Floats, right: Mask, count: int, spread: float
) -> tuple[Doubles, Doubles]:
    """How likely each row is to be right, for one of any group and for one of its own: (n,)."""
    sure = np.clip(confidence.astype(np.float64), 1e-6, 1 - 1e-6)
    logit = np.log(sure / (1 - sure))
    slope, level, offsets = 1.0, 0.0, np.zeros(count)
    for _ in range(ROUNDS):
        likely = _sigmoid(slope * logit + level + offsets[groups])
        gap, weight = right - likely, np.maximum(likely * (1 - likely), 1e-6)
        # Newton's step for slope and level, with a little ridge towards "as it says".
        both = (weight * logit).sum()
        hessian = np.array([[(weight * logit**2).sum() + 1, both], [both, weight.sum() + 1]])
        step = np.linalg.solve(hessian, [(gap * logit).sum() - (slope - 1), gap.sum() - level])
        slope, level = max(slope + step[0], 0.05), level + step[1]
        # And for all offsets, each by itself.
        likely = _sigmoid(slope * logit + level + offsets[groups])
        gap, weight = right - likely, np.maximum(likely * (1 - likely), 1e-6)
        push = np.bincount(groups, gap, count) - offsets / spread**2
        moved = push / (np.bincount(groups, weight, count) + 1 / spread**2)
        offsets += moved
        if max(np.abs(step).max(), np.abs(moved).max(initial=0)) < SETTLED:
            break
    base = slope * logit + level
    return _sigmoid(base), _sigmoid(base + offsets[groups])


def _sigmoid(values: Doubles) -> Doubles:
    found: Doubles = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return found
