"""Opinion pools of several methods' probabilities, with weights fitted on held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vitrina.classifier.fusion import fit_weights
from vitrina.pipelines.benchmark.dataset import Float16Matrix
from vitrina.types import Codes, Floats

LEAST = 1e-4
"""Lower bound on a probability in the logarithmic pool: float16 is imprecise below it."""
SHARES = np.arange(0.05, 1.0, 0.05)
"""Weights of the vote that an interpolation tries."""
_ROUNDS = 200


@dataclass(frozen=True)
class Pool:
    """A pool of several methods' probabilities.

    linear: the weighted mean (Stone, "The opinion pool", 1961), or else the logarithmic pool, the
    product of all, each to the power of its weight (Genest & Zidek, "Combining probability
    distributions", 1986). The product is confident where all methods agree; the mean tolerates a
    method that gives the true category 0, such as a vote of few neighbours. weights: (methods,)
    float32.
    """

    linear: bool
    weights: Floats

    def __call__(self, parts: Sequence[Float16Matrix]) -> Floats:
        """Pool probabilities, (n, classes) each; a method's row of zeros is left to the others.
        Returns (n, classes) float32, rows sum to 1."""
        if self.linear:
            # A small constant, so that no row is empty.
            out: Floats = _total(parts, self.weights) + np.float32(1e-7)
        else:
            logits = _total([_log(part) for part in parts], self.weights)
            out = np.exp(logits - logits.max(axis=1, keepdims=True))
        out /= out.sum(axis=1, keepdims=True)
        return out

    @property
    def kind(self) -> str:
        """Name of the pool in tables."""
        return "linear" if self.linear else "logarithmic"


def even(count: int) -> Pool:
    """The plain mean of `count` methods."""
    return Pool(linear=True, weights=np.full(count, 1 / count, dtype=np.float32))


def fit_pool(parts: Sequence[Float16Matrix], labels: Codes) -> Pool:
    """The linear or logarithmic pool with the lower log-loss, each by its best weights.

    parts: (n, classes) each, of held-out rows. labels: (n,) int64.
    """
    ways = linear_pool(parts, labels), logarithmic_pool(parts, labels)
    rows = np.arange(len(labels))
    return min(ways, key=lambda way: -float(np.log(way(parts)[rows, labels]).mean()))


def interpolate(parts: Sequence[Float16Matrix], score: Callable[[Floats], float]) -> Pool:
    """Linear pool of a head's probabilities, the first part, and the neighbours' vote, with the
    weight of the vote that scores best (Khandelwal et al., "Generalization through memorization:
    nearest neighbor language models", 2020)."""
    ways = [
        Pool(linear=True, weights=np.array([1 - share, share], dtype=np.float32))
        for share in SHARES
    ]
    return max(ways, key=lambda way: score(way(parts)))


def logarithmic_pool(parts: Sequence[Float16Matrix], labels: Codes) -> Pool:
    """The logarithmic pool with the lowest log-loss; see `fit_weights`."""
    return Pool(linear=False, weights=fit_weights([_log(part) for part in parts], labels))


def linear_pool(parts: Sequence[Float16Matrix], labels: Codes) -> Pool:
    """The linear pool with the lowest log-loss, by expectation maximisation."""
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
    # A row of zeros favours no category.
    log[there.sum(axis=1) < 0.5] = 0
    return log
