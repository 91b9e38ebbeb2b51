"""Several methods' probabilities made one, by weights that were fitted on rows kept for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vitrina.classifier.fusion import fit_weights
from vitrina.pipelines.benchmark.dataset import Float16Matrix
from vitrina.types import Codes, Floats

LEAST = 1e-4
"""What a method gives a category at least: float16 knows little below, and nobody is that sure."""
SHARES = np.arange(0.05, 1.0, 0.05)
"""What a vote may have in an interpolation."""
_ROUNDS = 200


@dataclass(frozen=True)
class Pool:
    """A way to make several methods' probabilities one.

    linear: their weighted mean (Stone, "The opinion pool", 1961), or else the logarithmic pool,
    the product of all, each to the power of its weight (Genest & Zidek, "Combining probability
    distributions", 1986). The product is sure where all agree; the mean bears a method that gives
    the true category nothing, such as a vote of few neighbours. weights: (methods,) float32.
    """

    linear: bool
    weights: Floats

    def __call__(self, parts: Sequence[Float16Matrix]) -> Floats:
        """parts: (n, classes) each; a method that says nothing of a row (zeros) leaves it to the
        others. Returns (n, classes) float32, rows sum to 1."""
        if self.linear:
            # A category that no method gives anything has next to nothing, and no row is empty.
            out: Floats = _total(parts, self.weights) + np.float32(1e-7)
        else:
            logits = _total([_log(part) for part in parts], self.weights)
            out = np.exp(logits - logits.max(axis=1, keepdims=True))
        out /= out.sum(axis=1, keepdims=True)
        return out

    @property
    def kind(self) -> str:
        """As tables tell it."""
        return "linear" if self.linear else "logarithmic"


def even(count: int) -> Pool:
    """The mean of so many methods."""
    return Pool(linear=True, weights=np.full(count, 1 / count, dtype=np.float32))


def fit_pool(parts: Sequence[Float16Matrix], labels: Codes) -> Pool:
    """The pool of less log-loss, linear or logarithmic, each by its best weights.

    parts: (n, classes) each, of rows that no method learnt from. labels: (n,) int64.
    """
    ways = linear_pool(parts, labels), logarithmic_pool(parts, labels)
    rows = np.arange(len(labels))
    return min(ways, key=lambda way: -float(np.log(way(parts)[rows, labels]).mean()))


def interpolate(parts: Sequence[Float16Matrix], score: Callable[[Floats], float]) -> Pool:
    """A head's probabilities, the first part, interpolated with its neighbours' vote, by the share
    of the vote that scores best (Khandelwal et al., "Generalization through memorization: nearest
    neighbor language models", 2020)."""
    ways = [
        Pool(linear=True, weights=np.array([1 - share, share], dtype=np.float32))
        for share in SHARES
    ]
    return max(ways, key=lambda way: score(way(parts)))


def logarithmic_pool(parts: Sequence[Float16Matrix], labels: Codes) -> Pool:
    """The one of least log-loss; see `fit_weights`."""
    return Pool(linear=False, weights=fit_weights([_log(part) for part in parts], labels))


def linear_pool(parts: Sequence[Float16Matrix], labels: Codes) -> Pool:
    """The one of least log-loss, by expectation maximisation."""
    rows = np.arange(len(labels))
    given = [np.asarray(part[rows, labels], dtype=np.float64) for part in parts]
    true = np.maximum(np.stack(given, axis=1), 1e-9)
    weights = np.full(len(parts), 1 / len(parts))
    for _ in range(_ROUNDS):
        owed = true * weights
        weights = (owed / owed.sum(axis=1, keepdims=True)).mean(axis=0)
    return Pool(linear=True, weights=weights.astype(np.float32))


def _total(parts: Sequence[Float16Matrix] | Sequence[Floats], weights: Floats) -> Floats:
    total: Floats = np.zeros(parts[0].shape, dtype=np.float32)
    for weight, part in zip(weights, parts, strict=True):
        total += np.float32(weight) * np.asarray(part, dtype=np.float32)
    return total


def _log(part: Float16Matrix) -> Floats:
    there = np.asarray(part, dtype=np.float32)
    log: Floats = np.log(np.maximum(there, LEAST))
    # One that says nothing speaks for no category.
    log[there.sum(axis=1) < 0.5] = 0
    return log
