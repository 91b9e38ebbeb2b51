"""Drawing primitives: outlines as polygons, in a square from -1 to 1.

The y axis points down, as in a picture. Curves are sampled here, once per silhouette; a photo only
rotates, stretches and fills them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Points: TypeAlias = npt.NDArray[np.float64]
"""(n, 2) float64: x and y of a polygon's corners."""

Path: TypeAlias = Sequence[tuple[float, float]]

_CURVE_STEPS = 5


class Paint(Enum):
    """Fill of a layer; each photo maps it to a colour."""

    BODY = auto()
    SHADE = auto()
    DEEP = auto()
    TINT = auto()
    TRIM = auto()
    LABEL = auto()
    PAPER = auto()
    INK = auto()
    METAL = auto()
    GLASS = auto()


@dataclass(frozen=True, slots=True)
class Layer:
    """One filled polygon of a silhouette."""

    paint: Paint
    points: Points


Silhouette: TypeAlias = tuple[Layer, ...]
"""Layers from the back to the front."""


def polygon(paint: Paint, path: Path) -> Layer:
    """A polygon with straight sides."""
    return Layer(paint, np.array(path, dtype=np.float64))


def blob(paint: Paint, path: Path) -> Layer:
    """A closed smooth curve through the points."""
    return Layer(paint, _curve(path, closed=True))


def ellipse(
    paint: Paint,
    centre: tuple[float, float],
    radii: tuple[float, float],
    arc: tuple[float, float] = (0, 360),
) -> Layer:
    """An ellipse, or the part of it between two angles in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(arc[0], arc[1], 30))
    points = np.stack([np.cos(angles) * radii[0], np.sin(angles) * radii[1]], axis=1)
    return Layer(paint, points + np.array(centre))


def panel(paint: Paint, corners: tuple[float, float, float, float], radius: float = 0.0) -> Layer:
    """A rectangle given by left, top, right and bottom, with rounded corners."""
    left, top, right, bottom = corners
    if not radius:
        return polygon(paint, [(left, top), (right, top), (right, bottom), (left, bottom)])
    angles = np.radians(np.linspace(0, 90, 6))
    quarter = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius
    quadrants = (
        (right, bottom, 1, 1),
        (left, bottom, -1, 1),
        (left, top, -1, -1),
        (right, top, 1, -1),
    )
    pieces = []
    for x, y, sign_x, sign_y in quadrants:
        piece = quarter * (sign_x, sign_y) + (x - sign_x * radius, y - sign_y * radius)
        pieces.append(piece if sign_x == sign_y else piece[::-1])
    return Layer(paint, np.concatenate(pieces))


def mirrored(paint: Paint, half: Path, *, smooth: bool = False) -> Layer:
    """A symmetric figure; `half` is its right side from top to bottom."""
    right = _curve(half, closed=False) if smooth else np.array(half, dtype=np.float64)
    return Layer(paint, np.concatenate([right, right[::-1] * (-1, 1)]))


def stroke(paint: Paint, path: Path, width: float, *, smooth: bool = True) -> Layer:
    """A line of the given width; one that crosses itself has a hole there."""
    middle = _curve(path, closed=False) if smooth else np.array(path, dtype=np.float64)
    along = np.gradient(middle, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = along[:, ::-1] * (-width / 2, width / 2)
    return Layer(paint, np.concatenate([middle + across, (middle - across)[::-1]]))


def moved(layers: Silhouette, shift: tuple[float, float], scale: float = 1.0) -> Silhouette:
    """The layers, scaled and then shifted."""
    return tuple(Layer(layer.paint, layer.points * scale + np.array(shift)) for layer in layers)


def _curve(path: Path, *, closed: bool) -> Points:
    """Catmull-Rom spline through the points; a repeated point makes a corner."""
    knots = np.array(path, dtype=np.float64)
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        knots = np.concatenate([knots[:1], knots, knots[-1:]])
    before, start, end, after = (
        knots[:-3, None],
        knots[1:-2, None],
        knots[2:-1, None],
        knots[3:, None],
    )
    t = np.linspace(0, 1, _CURVE_STEPS, endpoint=False)[None, :, None]
    points = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    flat: Points = points.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, knots[-1:]])
