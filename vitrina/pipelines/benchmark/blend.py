"""Several methods' probabilities made one, by weights that were fitted on rows kept for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from vitrina.pipelines.benchmark.ground import Halves
from vitrina.types import Codes, Floats

LEAST = 1e-4
"""What a method gives a category at least: float16 knows little below, and nobody is that sure."""


def pool(parts: Sequence[Halves], weights: Floats) -> Floats:
    """The logarithmic opinion pool (Genest & Zidek, "Combining probability distributions", 1986):
    the product of all probabilities, each to the power of its method's weight.

    parts: (n, classes) each; a method that says nothing of a row (zeros) leaves it to the others.
    Returns (n, classes) float32, rows sum to 1.
    """
    logits = _logits(parts, weights)
    out: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    out /= out.sum(axis=1, keepdims=True)
    return out


def fit_weights(parts: Sequence[Halves], labels: Codes) -> Floats:
    """The weights of least log-loss, none below zero: (len(parts),) float32.

    parts: of rows that none of the methods learnt from. labels: (n,) int64, their classes.
    The log-loss is convex in the weights, so there is one best, whatever it begins with.
    """
    logs = [_log(part) for part in parts]
    rows = np.arange(len(labels))

    def loss(weights: Floats) -> tuple[float, Floats]:
        logits = sum(weight * log for weight, log in zip(weights, logs, strict=True))
        logits = logits - logits.max(axis=1, keepdims=True)
        shares = np.exp(logits)
        shares /= shares.sum(axis=1, keepdims=True)
        own = np.maximum(shares[rows, labels], 1e-12)
        slope = [float(((shares * log).sum(axis=1) - log[rows, labels]).mean()) for log in logs]
        return float(-np.log(own).mean()), np.array(slope)

    start = np.full(len(parts), 1 / len(parts))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, 10)] * len(parts))
    weights: Floats = found.x.astype(np.float32)
    return weights


def _logits(parts: Sequence[Halves], weights: Floats) -> Floats:
    first, *others = (
        np.float32(weight) * _log(part) for part, weight in zip(parts, weights, strict=True)
    )
    total: Floats = first
    for other in others:
        total = total + other
    return total


def _log(part: Halves) -> Floats:
    there = np.asarray(part, dtype=np.float32)
    log: Floats = np.log(np.maximum(there, LEAST))
    # One that says nothing speaks for no category.
    log[there.sum(axis=1) < 0.5] = 0
    return log
