"""A photo as another one of the same product might be: cropped, mirrored, in another light."""

from __future__ import annotations

import math

import numpy as np
from PIL import ImageEnhance
from PIL.Image import Image, Resampling, Transpose

LEAST_AREA = 0.35
"""The share of a photo that a crop shows at least."""
STRETCH = 4 / 3
LIGHT = 0.25
"""How far brightness, contrast and colour go from what they are."""


def augmented(image: Image, size: int, rng: np.random.Generator) -> Image:
    """A random part of a photo, (size, size) pixels, perhaps mirrored, in a random light.

    The crop is that of Szegedy et al., "Going deeper with convolutions" (2015).
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
