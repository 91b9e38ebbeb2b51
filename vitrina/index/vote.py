"""The category that a product's neighbours give it, each voting with its similarity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrina.types import Codes, Floats


@dataclass(frozen=True, eq=False)
class Vote:
    """What the neighbours of q products say.

    codes: (q,) int64 the category that won, -1 where nobody voted.
    shares: (q,) float32 its part of all that was voted, in (0, 1]; 0 where nobody voted.
    """

    codes: Codes
    shares: Floats


def vote(labels: npt.NDArray[np.int64], scores: Floats, *, classes: int) -> Vote:
    """Let neighbours vote. Memory grows with q * k, never with `classes`.

    Args:
        labels: (q, k) int64 category codes below `classes`; -1 abstains (a neighbour without
            a label, or no neighbour).
        scores: (q, k) float32 similarities; a score of zero or less abstains too.
        classes: how many categories there are.

    Of categories with equal sums the one with the nearest neighbour wins, then the smallest
    code. Raises ValueError if the shapes differ or a label is outside [-1, classes).
    """
    if labels.ndim != 2 or labels.shape != scores.shape:
        raise ValueError(f"labels and scores must both be (q, k): {labels.shape}, {scores.shape}")
    if labels.size and not -1 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels must lie in [-1, {classes}), not [{labels.min()}, {labels.max()}]"
        )
    codes = np.full(len(labels), -1, dtype=np.int64)
    shares = np.zeros(len(labels), dtype=np.float32)
    rows, columns = np.nonzero((labels >= 0) & (scores > 0))
    # Sums of a few float32 are exact in float64, so equal sums compare equal in any order.
    weights = scores[rows, columns].astype(np.float64)
    keys, parties = np.unique(rows * classes + labels[rows, columns], return_inverse=True)
    sums = np.bincount(parties, weights, minlength=len(keys))
    nearest = np.zeros(len(keys))
    np.maximum.at(nearest, parties, weights)
    owner = keys // max(1, classes)
    # `keys` ascend and lexsort is stable, so the smallest code comes first among equals.
    order = np.lexsort((-nearest, -sums, owner))
    voted, first = np.unique(owner[order], return_index=True)
    winners = order[first]
    codes[voted] = keys[winners] % max(1, classes)
    totals = np.bincount(rows, weights, minlength=len(labels))
    shares[voted] = sums[winners] / totals[voted]
    return Vote(codes, shares)
