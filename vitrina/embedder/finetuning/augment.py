"""Photo augmentation: random crop, mirroring and lighting."""

from __future__ import annotations

import math

import numpy as np
from PIL import ImageEnhance
from PIL.Image import Image, Resampling, Transpose

LEAST_AREA = 0.35
"""Minimum share of a photo's area in a crop."""
STRETCH = 4 / 3
LIGHT = 0.25
"""Maximum relative change of brightness, contrast and colour."""


def augmented(image: Image, size: int, rng: np.random.Generator) -> Image:
    """Crop a random part of a photo to (size, size) pixels, with random mirroring and light.

    The crop follows Szegedy et al., "Going deeper with convolutions" (2015).
    """
    out = image.resize((size, size), Resampling.BILINEAR, box=_box(image.size, rng), reducing_gap=2)
    if rng.random() < 0.5:
        out = out.transpose(Transpose.FLIP_LEFT_RIGHT)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        out = change(out).enhance(float(rng.uniform(1 - LIGHT, 1 + LIGHT)))
    return out


def _box(whole: tuple[int, int], rng: np.random.Generator) -> tuple[float, float, float, float]:
    width, height = whole
    area = width * height * rng.uniform(LEAST_AREA, 1)
    ratio = math.exp(rng.uniform(-math.log(STRETCH), math.log(STRETCH)))
    wide = min(width, math.sqrt(area * ratio))
    high = min(height, math.sqrt(area / ratio))
    left, top = rng.uniform(0, width - wide), rng.uniform(0, height - high)
    return left, top, left + wide, top + high
