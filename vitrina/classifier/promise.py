"""From which confidence on predictions keep a promised precision, category by category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vitrina.classifier.metrics import NEVER
from vitrina.types import Codes, Floats, Mask

Doubles: TypeAlias = "npt.NDArray[np.float64]"

ROUNDS = 20
FOLDS = 5
AIMS = np.linspace(0, 0.95, 20)
"""How far the precision that is aimed at may be raised, of what is left to 1."""


@dataclass(frozen=True)
class Prior:
    """What is thought of groups beforehand. spread: by how much, in logits, they differ from what
    their confidence says. strength: as how many rows of a group what is expected of it speaks."""

    spread: float
    strength: float


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
    of it leans on all others: a logistic regression of being right on the confidence's logit, with
    an offset for each group that a normal prior draws to zero (a random intercept; Gelman & Hill,
    "Data Analysis Using Regression and Multilevel/Hierarchical Models", 2007). With it as a beta
    prior, the group's own rows above a threshold say what its precision is there. Choosing many
    thresholds still picks lucky ones, so in folds thresholds are chosen by some rows and measured
    on others, and the precision that is aimed at is raised until the promise is kept there. Where
    rows are so few that groups of their own cost much coverage, groups are told apart less.
    """
    rng = np.random.default_rng([seed, FOLDS])
    members = np.arange(len(groups)) if together is None else together
    fold = rng.integers(FOLDS, size=int(members.max(initial=0)) + 1)[members]
    told = _Told(groups, confidence, right, count, fold)
    tried = [_search(told, precision, prior) for prior in PRIORS]
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

    def cuts(self, rows: Mask, aim: float, prior: Prior) -> Floats:
        return _cuts(
            self.groups[rows], self.confidence[rows], self.right[rows], self.count, aim, prior
        )


def _search(told: _Told, precision: float, prior: Prior) -> Thresholds:
    found = Thresholds(precision, np.full(told.count, NEVER, dtype=np.float32), 0.0, float("nan"))
    # Of fewer rows than can hold a single mistake no promise can be checked.
    least = 1 / (1 - precision)
    # The higher the aim, the more is kept and the less is accepted: the lowest that does is sought.
    low, high = 0, len(AIMS)
    while low < high:
        middle = (low + high) // 2
        aim = precision + (1 - precision) * AIMS[middle]
        taken = np.zeros(len(told.groups), dtype=bool)
        for number in range(FOLDS):
            outer = told.fold == number
            cuts = told.cuts(~outer, aim, prior)
            taken[outer] = told.confidence[outer] >= cuts[told.groups[outer]]
        if taken.sum() >= least and told.right[taken].mean() >= precision:
            high = middle
            cuts = told.cuts(np.ones(len(taken), dtype=bool), aim, prior)
            reached = float(told.right[taken].mean())
            found = Thresholds(precision, cuts, float(taken.mean()), reached)
        elif taken.sum() >= least:
            low = middle + 1
        else:
            high = middle
    return found


def _cuts(
    groups: Codes, confidence: Floats, right: Mask, count: int, aim: float, prior: Prior
) -> Floats:
    """The threshold of each group: (count,) float32."""
    if not len(groups):
        return np.full(count, NEVER, dtype=np.float32)
    plain, expected = _expected(groups, confidence, right, count, prior.spread)
    falling = np.argsort(-confidence, kind="stable")
    mean = np.cumsum(plain[falling]) / np.arange(1, len(falling) + 1)
    # For a group of which nothing is known.
    out = np.full(count, _lowest(confidence[falling], mean >= aim), dtype=np.float32)
    order = np.lexsort((-confidence, groups))
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    for start, stop in zip(starts, np.append(starts[1:], len(order)), strict=True):
        rows = order[start:stop]
        accepted = np.arange(1, len(rows) + 1)
        before = np.cumsum(expected[rows]) / accepted
        own = np.cumsum(right[rows]) / accepted
        likely = before + (own - before) * (accepted / (accepted + prior.strength))
        out[groups[rows[0]]] = _lowest(confidence[rows], likely >= aim)
    return out


def _expected(
    groups: Codes, confidence: Floats, right: Mask, count: int, spread: float
) -> tuple[Doubles, Doubles]:
    """How likely each row is to be right, for one of any group and for one of its own: (n,)."""
    sure = np.clip(confidence.astype(np.float64), 1e-6, 1 - 1e-6)
    logit = np.log(sure / (1 - sure))
    slope, level, offsets = 1.0, 0.0, np.zeros(count)
    for _ in range(ROUNDS):
        for own in (False, True):
            likely = _sigmoid(slope * logit + level + offsets[groups])
            gap, weight = right - likely, np.maximum(likely * (1 - likely), 1e-6)
            if own:
                push = np.bincount(groups, gap, count) - offsets / spread**2
                offsets += push / (np.bincount(groups, weight, count) + 1 / spread**2)
            else:
                # Newton's step for both at once, with a little ridge towards "as it says".
                hessian = np.array(
                    [
                        [(weight * logit**2).sum() + 1, (weight * logit).sum()],
                        [(weight * logit).sum(), weight.sum() + 1],
                    ]
                )
                step = np.linalg.solve(
                    hessian, [(gap * logit).sum() - (slope - 1), gap.sum() - level]
                )
                slope, level = max(slope + step[0], 0.05), level + step[1]
    base = slope * logit + level
    return _sigmoid(base), _sigmoid(base + offsets[groups])


def _sigmoid(values: Doubles) -> Doubles:
    found: Doubles = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return found


def _lowest(falling: Floats, good: Mask) -> float:
    """The lowest confidence that may be accepted. falling: highest first. good: whether all down
    to each row may."""
    # Of equal confidences all are taken or none.
    ends = np.append(falling[1:] < falling[:-1], True)
    places = np.flatnonzero(good & ends)
    return float(falling[places[-1]]) if len(places) else NEVER
