"""Silhouettes of packaged goods: cosmetics, food, cartons. Data for `photos`."""

from __future__ import annotations

from collections.abc import Callable

from vitrina.sample.outline import (
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


def _bottle() -> Silhouette:
    half = [
        (0, -0.5),
        (0.16, -0.5),
        (0.4, -0.3),
        (0.42, -0.1),
        (0.42, 0.8),
        (0.38, 0.86),
        (0, 0.86),
    ]
    return (
        panel(Paint.TRIM, (-0.17, -0.84, 0.17, -0.48), 0.04),
        mirrored(Paint.BODY, half),
        *_label((-0.34, -0.04, 0.34, 0.6)),
    )


def _pump_bottle() -> Silhouette:
    return (
        stroke(Paint.TRIM, [(-0.36, -0.78), (0.06, -0.82), (0.06, -0.5)], 0.09, smooth=False),
        panel(Paint.TRIM, (-0.14, -0.6, 0.26, -0.42), 0.03),
        panel(Paint.BODY, (-0.36, -0.44, 0.48, 0.86), 0.14),
        *_label((-0.26, -0.1, 0.38, 0.6)),
    )


def _tube() -> Silhouette:
    return (
        mirrored(Paint.BODY, [(0, -0.86), (0.44, -0.86), (0.3, 0.54), (0, 0.56)]),
        panel(Paint.SHADE, (-0.44, -0.9, 0.44, -0.8)),
        panel(Paint.TRIM, (-0.28, 0.52, 0.28, 0.84), 0.05),
        *_label((-0.28, -0.5, 0.28, 0.14)),
    )


def _label(corners: tuple[float, float, float, float]) -> Silhouette:
    left, top, right, bottom = corners
    width, height = right - left, bottom - top
    lines = [
        panel(Paint.INK, (left + 0.2 * width, y, right - 0.2 * width, y + 0.05 * height))
        for y in (top + 0.55 * height, top + 0.72 * height)
    ]
    return (
        panel(Paint.PAPER, corners, 0.04),
        ellipse(
            Paint.LABEL, ((left + right) / 2, top + 0.28 * height), (0.16 * width, 0.16 * height)
        ),
        *lines,
    )


def _jar() -> Silhouette:
    return (
        panel(Paint.BODY, (-0.66, -0.14, 0.66, 0.62), 0.14),
        panel(Paint.TRIM, (-0.7, -0.5, 0.7, -0.1), 0.08),
        stroke(Paint.PAPER, [(-0.6, -0.4), (0.3, -0.4)], 0.03),
        *_label((-0.36, 0.02, 0.36, 0.5)),
    )


def _honey() -> Silhouette:
    return (
        panel(Paint.BODY, (-0.56, -0.44, 0.56, 0.76), 0.2),
        panel(Paint.TRIM, (-0.5, -0.74, 0.5, -0.42), 0.06),
        *_label((-0.38, -0.16, 0.38, 0.5)),
    )


def _lipstick() -> Silhouette:
    return (
        polygon(
            Paint.BODY, [(-0.17, -0.1), (-0.17, -0.62), (0.0, -0.84), (0.17, -0.74), (0.17, -0.1)]
        ),
        panel(Paint.METAL, (-0.2, -0.2, 0.2, 0.2)),
        panel(Paint.INK, (-0.26, 0.14, 0.26, 0.86), 0.03),
        panel(Paint.METAL, (-0.26, 0.18, 0.26, 0.24)),
    )


def _lip_gloss() -> Silhouette:
    return (
        panel(Paint.BODY, (-0.18, -0.1, 0.18, 0.88), 0.05),
        panel(Paint.INK, (-0.15, -0.88, 0.15, -0.06), 0.05),
        panel(Paint.METAL, (-0.19, -0.14, 0.19, -0.06)),
        panel(Paint.PAPER, (-0.05, 0.3, 0.05, 0.64)),
    )


def _perfume() -> Silhouette:
    return (
        panel(Paint.INK, (-0.2, -0.86, 0.2, -0.5), 0.04),
        panel(Paint.METAL, (-0.14, -0.52, 0.14, -0.36)),
        panel(Paint.GLASS, (-0.58, -0.38, 0.58, 0.8), 0.1),
        panel(Paint.BODY, (-0.48, -0.1, 0.48, 0.7), 0.06),
        panel(Paint.PAPER, (-0.26, 0.14, 0.26, 0.44)),
    )


def _baby_bottle() -> Silhouette:
    marks = [panel(Paint.INK, (0.1, y, 0.26, y + 0.03)) for y in (0.1, 0.28, 0.46)]
    return (
        blob(Paint.TINT, [(-0.18, -0.5), (-0.09, -0.86), (0.09, -0.86), (0.18, -0.5)]),
        panel(Paint.BODY, (-0.36, -0.54, 0.36, -0.28), 0.06),
        panel(Paint.GLASS, (-0.38, -0.28, 0.38, 0.86), 0.16),
        panel(Paint.PAPER, (-0.32, 0.0, 0.32, 0.8), 0.12),
        *marks,
        ellipse(Paint.LABEL, (-0.12, 0.44), (0.14, 0.14)),
    )


def _carton() -> Silhouette:
    return (
        polygon(Paint.SHADE, [(0.4, -0.6), (0.74, -0.76), (0.74, 0.58), (0.4, 0.78)]),
        polygon(Paint.TINT, [(-0.66, -0.6), (-0.3, -0.76), (0.74, -0.76), (0.4, -0.6)]),
        panel(Paint.BODY, (-0.66, -0.6, 0.4, 0.78)),
        *_label((-0.5, -0.36, 0.24, 0.4)),
    )


def _tea_box() -> Silhouette:
    leaf = [(-0.1, 0.3), (-0.12, 0.0), (0.14, -0.24), (0.16, 0.08)]
    return (
        polygon(Paint.SHADE, [(0.46, -0.5), (0.76, -0.64), (0.76, 0.48), (0.46, 0.66)]),
        polygon(Paint.TINT, [(-0.74, -0.5), (-0.4, -0.64), (0.76, -0.64), (0.46, -0.5)]),
        panel(Paint.BODY, (-0.74, -0.5, 0.46, 0.66)),
        ellipse(Paint.PAPER, (-0.14, 0.06), (0.42, 0.42)),
        *moved((blob(Paint.LABEL, leaf),), (-0.16, 0.04)),
    )


def _pouch() -> Silhouette:
    return (
        mirrored(
            Paint.BODY,
            [(0, -0.84), (0.5, -0.84), (0.54, -0.6), (0.6, 0.76), (0.5, 0.86), (0, 0.84)],
        ),
        panel(Paint.SHADE, (-0.5, -0.86, 0.5, -0.68)),
        ellipse(Paint.DEEP, (0, -0.46), (0.06, 0.06)),
        *_label((-0.38, -0.24, 0.38, 0.56)),
    )


def _chocolate() -> Silhouette:
    squares = [
        panel(Paint.DEEP, (x, y, x + 0.26, y + 0.22), 0.02)
        for x in (-0.42, -0.13, 0.16)
        for y in (-0.84, -0.58)
    ]
    return (
        panel(Paint.SHADE, (-0.48, -0.9, 0.48, 0.0), 0.03),
        *squares,
        panel(Paint.METAL, (-0.52, -0.36, 0.52, -0.2)),
        panel(Paint.BODY, (-0.54, -0.26, 0.54, 0.9), 0.03),
        *_label((-0.4, 0.0, 0.4, 0.66)),
    )


PACKS: dict[str, Callable[[], Silhouette]] = {
    "bottle": _bottle,
    "pump bottle": _pump_bottle,
    "tube": _tube,
    "jar": _jar,
    "honey": _honey,
    "lipstick": _lipstick,
    "lip gloss": _lip_gloss,
    "perfume": _perfume,
    "baby bottle": _baby_bottle,
    "carton": _carton,
    "tea box": _tea_box,
    "pouch": _pouch,
    "chocolate": _chocolate,
}
