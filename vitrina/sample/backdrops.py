"""Backdrops and noise of the sample's photos."""

from __future__ import annotations

from functools import cache
from random import Random

import numpy as np

from vitrina.sample.looks import Backdrop
from vitrina.sample.vocabulary import COLOURS
from vitrina.types import Floats

SIDE = 128
"""Width and height of a photo, in pixels."""

_UNUSUAL_SHARE = 0.15
_BANK_SIDE = 3 * SIDE


def draw_backdrop(usual: tuple[Backdrop, ...], rng: Random) -> Floats:
    """Draw an empty scene: (128, 128, 3) float32 in 0..255."""
    kind = rng.choice(tuple(Backdrop) if rng.random() < _UNUSUAL_SHARE else usual)
    near, far = _draw_colours(kind, rng)
    if kind in (Backdrop.TABLE, Backdrop.WOOD):
        horizon = rng.uniform(0.5, 0.8)
        blend: Floats = np.clip((_ramp() - np.float32(horizon)) * np.float32(SIDE / 3), 0, 1)
    else:
        blend = _ramp() if rng.random() < 0.6 else _vignette()
    scene: Floats = far + (near - far) * blend[:, :, None]
    if kind is Backdrop.WOOD:
        scene *= 1 + 0.9 * (_grain(rng) * blend)[:, :, None]
    return scene


def noise_patch(rng: Random) -> Floats:
    """A patch of unit noise: (128, 128, 3) float32."""
    top, left = rng.randrange(_BANK_SIDE - SIDE), rng.randrange(_BANK_SIDE - SIDE)
    return _noise_bank()[top : top + SIDE, left : left + SIDE]


def _draw_colours(kind: Backdrop, rng: Random) -> tuple[Floats, Floats]:
    """Foreground and background colour, each (3,) float32."""
    tone = np.array(rng.choice(tuple(COLOURS.values())), np.float32)
    white = np.full(3, 255, np.float32)
    if kind is Backdrop.STUDIO:
        return white * rng.uniform(0.9, 0.98), white * rng.uniform(0.97, 1)
    if kind is Backdrop.GREY:
        level = rng.uniform(0.62, 0.85)
        return white * level, white * min(1, level + rng.uniform(0.02, 0.14))
    if kind is Backdrop.PASTEL:
        share = rng.uniform(0.55, 0.8)
        return tone + (white - tone) * (share - 0.12), tone + (white - tone) * share
    if kind is Backdrop.DARK:
        level = rng.uniform(0.1, 0.25)
        return white * level + 0.1 * tone, white * (level + 0.12) + 0.1 * tone
    wall = tone + (white - tone) * rng.uniform(0.7, 0.92)
    if kind is Backdrop.WOOD:
        return np.array((176, 132, 92), np.float32) * rng.uniform(0.75, 1.25), wall
    return white * rng.uniform(0.78, 0.95), wall


@cache
def _ramp() -> Floats:
    """(128, 128) float32 from 0 at the top to 1 at the bottom."""
    column = np.linspace(0, 1, SIDE, dtype=np.float32)
    return np.repeat(column[:, None], SIDE, axis=1)


@cache
def _vignette() -> Floats:
    """(128, 128) float32 from 0 in the middle to 1 in the corners."""
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    distance: Floats = (axis[:, None] ** 2 + axis[None, :] ** 2) / np.float32(2)
    return distance


def _grain(rng: Random) -> Floats:
    top, left = rng.randrange(_BANK_SIDE - SIDE), rng.randrange(_BANK_SIDE - SIDE)
    return _grain_bank()[top : top + SIDE, left : left + SIDE]


# The banks are the same for every seed; the patch that a photo takes depends on the seed.
@cache
def _noise_bank() -> Floats:
    return np.random.default_rng(1).standard_normal((_BANK_SIDE, _BANK_SIDE, 3), np.float32)


@cache
def _grain_bank() -> Floats:
    """Long horizontal fibres: (384, 384) float32, about -0.1 to 0.1."""
    rough = np.random.default_rng(2).standard_normal((_BANK_SIDE, _BANK_SIDE), np.float32)
    fibres: Floats = np.cumsum(rough, axis=1)
    fibres[:, 40:] -= fibres[:, :-40].copy()
    fibres /= 120
    return fibres
