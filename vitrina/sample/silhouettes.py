"""Silhouettes of the sample's products, read from `outlines/`.

Each file maps names to lists of layers, from the back to the front. A layer names its figure and
has the arguments of that function of `outline`, its paint in lower case. Three figures are of
several layers: `part` is another silhouette of the file, `moved` holds layers to be shifted, and
`label` is the label of a package. Names in parentheses are of parts only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from vitrina.sample.outline import (
    Layer,
    Paint,
    Silhouette,
    blob,
    ellipse,
    mirrored,
    moved,
    panel,
    polygon,
    stroke,
)

OUTLINES = Path(__file__).parent / "outlines"
FIGURES: dict[str, Callable[..., Layer]] = {
    "blob": blob,
    "ellipse": ellipse,
    "mirrored": mirrored,
    "panel": panel,
    "polygon": polygon,
    "stroke": stroke,
}

Outline: TypeAlias = Mapping[str, Any]
"""A layer as the file has it."""


def silhouette(name: str) -> Silhouette:
    """Return the layers of a silhouette. Raises KeyError for an unknown name."""
    return _layers(_outlines()[name])


@cache
def _outlines() -> dict[str, list[Outline]]:
    found: dict[str, list[Outline]] = {}
    for path in sorted(OUTLINES.glob("*.json")):
        found |= json.loads(path.read_text(encoding="utf-8"))
    return found


def _layers(outlines: Iterable[Outline]) -> Silhouette:
    return tuple(layer for outline in outlines for layer in _layers_of(**outline))


def _layers_of(figure: str, **shape: Any) -> Silhouette:
    match figure:
        case "part":
            return silhouette(shape["name"])
        case "moved":
            return moved(_layers(shape["layers"]), shape["shift"])
        case "label":
            return _label(*shape["corners"])
        case _:
            return (FIGURES[figure](Paint[shape.pop("paint").upper()], **shape),)


def _label(left: float, top: float, right: float, bottom: float) -> Silhouette:
    """A package's label: a round mark above two lines of text."""
    width, height = right - left, bottom - top
    centre, radii = ((left + right) / 2, top + 0.28 * height), (0.16 * width, 0.16 * height)
    lines = [
        panel(Paint.INK, (left + 0.2 * width, y, right - 0.2 * width, y + 0.05 * height))
        for y in (top + 0.55 * height, top + 0.72 * height)
    ]
    return (
        panel(Paint.PAPER, (left, top, right, bottom), 0.04),
        ellipse(Paint.LABEL, centre, radii),
        *lines,
    )
