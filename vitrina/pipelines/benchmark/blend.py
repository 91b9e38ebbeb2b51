"""Several methods' probabilities made one, by weights that were fitted on rows kept for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vitrina.classifier.fusion import fit_weights
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


def weigh(parts: Sequence[Halves], labels: Codes) -> Floats:
    """The weights of least log-loss: (len(parts),) float32; see `fit_weights`."""
    return fit_weights([_log(part) for part in parts], labels)


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
