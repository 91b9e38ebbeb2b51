"""Row-wise numba kernels between 8-bit matrix products: quantise, restore, normalise, activate.

A row is quantised to 0..255 by its own range: value = number * step + low. A product over a row
of numbers is then step * (numbers @ weights) + low * (sum of each output's weights). Each kernel
that takes `raw` products restores them this way, adds the bias, and continues while the row is in
the cache. Each kernel runs on one thread and releases the interpreter lock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vitrina.jit import compiled, inlined
from vitrina.types import Floats

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
STEPS = np.float32(255)
TINY = np.float32(1e-20)
BITS, SIGN = np.int32(0x7FFFFFFF), np.int32(31)


@inlined
def _quantise_row(row: Floats, numbers: Any, scales: Floats, at: int) -> None:
    # Minimum and maximum by the floats' bits, mapped to integers of the same order: LLVM compares
    # integers 16 at a time, and floats one by one.
    bits = row.view(np.int32)
    least, most = BITS, -BITS
    for c in range(len(row)):
        key = bits[c] ^ ((bits[c] >> SIGN) & BITS)
        least = min(least, key)
        most = max(most, key)
    ends = scales.view(np.int32)
    ends[at, 0] = least ^ ((least >> SIGN) & BITS)
    ends[at, 1] = most ^ ((most >> SIGN) & BITS)
    low, high = scales[at, 0], scales[at, 1]
    span = max(high - low, TINY)
    inverse = STEPS / span
    for c in range(len(row)):
        numbers[c] = np.uint8(np.int32((row[c] - low) * inverse + HALF))
    scales[at, 0] = span / STEPS
    scales[at, 1] = low


@inlined
def _norm_row(row: Floats, out: Floats, weight: Floats, bias: Floats, eps: float) -> None:
    width = np.float32(len(row))
    mean = ZERO
    for c in range(len(row)):
        mean += row[c]
    mean /= width
    spread = ZERO
    for c in range(len(row)):
        off = row[c] - mean
        spread += off * off
    inverse = ONE / np.sqrt(spread / width + eps)
    for c in range(len(row)):
        out[c] = (row[c] - mean) * inverse * weight[c] + bias[c]


@compiled
def quantise(rows: Floats, numbers: Any, scales: Floats) -> None:
    """Quantise rows, (n, k) float32, into numbers, (n, k) uint8, and scales, (n, 2): step, low."""
    for r in range(rows.shape[0]):
        _quantise_row(rows[r], numbers[r], scales, r)


@compiled
def norm_quantise(
    rows: Floats, weight: Floats, bias: Floats, eps: float, numbers: Any, scales: Floats
) -> None:
    """Layer norm, then `quantise`; rows stay as they are."""
    normed = np.empty(rows.shape[1], np.float32)
    for r in range(rows.shape[0]):
        _norm_row(rows[r], normed, weight, bias, eps)
        _quantise_row(normed, numbers[r], scales, r)


@compiled
def restore(raw: Floats, scales: Floats, sums: Floats, bias: Floats) -> None:
    """Restore a layer's outputs from raw products (n, m), in place. scales: of its input rows."""
    for r in range(raw.shape[0]):
        step, low = scales[r, 0], scales[r, 1]
        for c in range(raw.shape[1]):
            raw[r, c] = raw[r, c] * step + (low * sums[c] + bias[c])


@compiled
def add(rows: Floats, raw: Floats, scales: Floats, sums: Floats, bias: Floats) -> None:
    """Add a layer's outputs to rows, (n, k) float32."""
    for r in range(raw.shape[0]):
        step, low = scales[r, 0], scales[r, 1]
        for c in range(raw.shape[1]):
            rows[r, c] += raw[r, c] * step + (low * sums[c] + bias[c])


@compiled
def norm(rows: Floats, weight: Floats, bias: Floats, eps: float) -> None:
    """Layer norm in place."""
    for r in range(rows.shape[0]):
        _norm_row(rows[r], rows[r], weight, bias, eps)


@compiled
def gelu_quantise(
    raw: Floats, scales: Floats, sums: Floats, bias: Floats, numbers: Any, out: Floats
) -> None:
    """GELU, x * Phi(x), of a layer's outputs, then `quantise` into numbers and out.

    erf is Eigen's rational approximation, within 1e-6, which needs no table and no exp.
    """
    for r in range(raw.shape[0]):
        row = raw[r]
        step, low = scales[r, 0], scales[r, 1]
        for c in range(len(row)):
            x = row[c] * step + (low * sums[c] + bias[c])
            t = min(max(x * np.float32(0.7071067811865476), np.float32(-4)), np.float32(4))
            s = t * t
            p = np.float32(-2.72614225801306e-10)
            p = p * s + np.float32(2.77068142495902e-08)
            p = p * s + np.float32(-2.10102402082508e-06)
            p = p * s + np.float32(-5.69250639462346e-05)
            p = p * s + np.float32(-7.34990630326855e-04)
            p = p * s + np.float32(-2.95459980854025e-03)
            p = p * s + np.float32(-1.60960333262415e-02)
            q = np.float32(-1.45660718464996e-05)
            q = q * s + np.float32(-2.13374055278905e-04)
            q = q * s + np.float32(-1.68282697438203e-03)
            q = q * s + np.float32(-7.37332916720468e-03)
            q = q * s + np.float32(-1.42647390514189e-02)
            row[c] = HALF * x * (ONE + t * p / q)
        _quantise_row(row, numbers[r], out, r)


@compiled
def quick_gelu_quantise(
    raw: Floats, scales: Floats, sums: Floats, bias: Floats, numbers: Any, out: Floats
) -> None:
    """Quick GELU, x * sigmoid(1.702 x), of a layer's outputs, then `quantise` into numbers and out.

    The exponential is (1 + y / 256 + ...) ** 256, with a relative error within 1e-5.
    """
    for r in range(raw.shape[0]):
        row = raw[r]
        step, low = scales[r, 0], scales[r, 1]
        for c in range(len(row)):
            x = row[c] * step + (low * sums[c] + bias[c])
            y = min(max(x * np.float32(-1.702), np.float32(-60)), np.float32(60))
            y *= np.float32(1 / 256)
            e = ONE + y * (ONE + y * (HALF + y * (np.float32(1 / 6) + y * np.float32(1 / 24))))
            for _ in range(8):
                e *= e
            row[c] = x / (ONE + e)
        _quantise_row(row, numbers[r], out, r)
