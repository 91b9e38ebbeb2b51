"""Calibration: temperature scaling, reliability bins, expected calibration error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vitrina.errors import TrainingError
from vitrina.types import Codes, Floats, Mask

TEMPERATURES = (1e-3, 1e3)
"""Search range of the temperature; a head that is never wrong gets the lowest."""
_BLOCK_VALUES = 1 << 22
"""Logits processed at once: 16 MiB of float32."""


def softmax(logits: Floats, temperature: float) -> Floats:
    """Turn logits into probabilities.

    `logits`: (n, classes). Returns (n, classes) float32, each row summing to 1.
    Raises ValueError unless the temperature is positive.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature must be positive, not {temperature}")
    scaled = _scaled(logits, temperature)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def fit_temperature(logits: Floats, true: Codes) -> float:
    """Find the temperature that maximises the likelihood of the true classes.

    Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017) divides all
    logits by one number: the predictions stay, only their confidence changes. It is fitted on
    validation rows, never on training rows.

    `logits` are (n, classes) float32; `true` is (n,) int64, the class of each row, -1 for rows to
    skip. Raises TrainingError if no row has a class or a logit isn't finite, ValueError if the
    lengths differ.
    """
    # Imported here: slower to load than everything else in this module.
    from scipy.optimize import minimize_scalar

    if len(logits) != len(true):
        raise ValueError(f"{len(logits)} rows of logits, but {len(true)} classes")
    if not (true >= 0).any():
        raise TrainingError("there is no labelled row to calibrate on")
    if not all(np.isfinite(block).all() for block, _ in _blocks(logits, true)):
        raise TrainingError("the head gives NaN or infinity; train it with a lower learning rate")

    def loss(log_temperature: float) -> float:
        return _negative_log_likelihood(logits, true, math.exp(log_temperature))

    # The loss is convex in the inverse temperature, so it has one minimum in the logarithm.
    bounds = (math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return math.exp(found.x)


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of similar confidence: their number, mean confidence and accuracy."""

    rows: int
    confidence: float
    accuracy: float


def reliability(confidence: Floats, correct: Mask, bins: int = 15) -> tuple[ReliabilityBin, ...]:
    """Bins of a reliability diagram: of equal width, empty ones left out.

    confidence: (n,) float32 within 0 and 1. correct: (n,) bool. A bin includes its upper edge.
    Raises ValueError for no rows, other values, or arrays of different lengths.
    """
    if len(confidence) != len(correct) or len(correct) == 0:
        raise ValueError("confidence and correct need one value for each of at least one row")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("confidence must be between 0 and 1")
    exact = confidence.astype(np.float64)
    places = np.maximum(np.ceil(exact * bins).astype(np.int64) - 1, 0)
    rows = np.bincount(places, minlength=bins)
    sure, right = np.bincount(places, exact, bins), np.bincount(places, correct, bins)
    return tuple(
        ReliabilityBin(int(rows[at]), float(sure[at] / rows[at]), float(right[at] / rows[at]))
        for at in np.flatnonzero(rows)
    )


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """The mean gap between confidence and accuracy over bins, weighted by their rows: from 0,
    perfectly calibrated, to 1 (Naeini et al., "Obtaining Well Calibrated Probabilities Using
    Bayesian Binning", 2015)."""
    gaps = sum(one.rows * abs(one.confidence - one.accuracy) for one in bins)
    return gaps / sum(one.rows for one in bins)


def error_by_chance(confidence: Floats, draws: int = 100) -> float:
    """Mean expected calibration error of perfectly calibrated predictions, over `draws` simulated
    outcomes: with few rows, some bins are off by chance. confidence: (n,) float32."""
    rng = np.random.default_rng(0)
    rows = (reliability(confidence, rng.random(len(confidence)) < confidence) for _ in range(draws))
    return sum(map(expected_calibration_error, rows)) / draws


def _scaled(logits: Floats, temperature: float) -> Floats:
    """Logits minus their row's maximum, divided by the temperature: no exponential overflows."""
    scaled: Floats = np.subtract(logits, logits.max(axis=1, keepdims=True), dtype=np.float32)
    scaled /= np.float32(temperature)
    return scaled


def _negative_log_likelihood(logits: Floats, true: Codes, temperature: float) -> float:
    total = 0.0
    for block, classes in _blocks(logits, true):
        scaled = _scaled(block, temperature)
        chosen = scaled[np.arange(len(classes)), classes].astype(np.float64)
        np.exp(scaled, out=scaled)
        total += float((np.log(scaled.sum(axis=1, dtype=np.float64)) - chosen).sum())
    return total


def _blocks(logits: Floats, true: Codes) -> Iterator[tuple[Floats, Codes]]:
    """Blocks of labelled rows, bounded in size for any number of classes."""
    step = max(1, _BLOCK_VALUES // logits.shape[1])
    for start in range(0, len(true), step):
        classes = true[start : start + step]
        known = classes >= 0
        yield logits[start : start + step][known], classes[known]
