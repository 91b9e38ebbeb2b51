"""Silhouettes of household goods: kitchenware, textiles, toys. Data for `photos`."""

from __future__ import annotations

from collections.abc import Callable

from vitrina.sample.outline import (
    Paint,
    Silhouette,
    ellipse,
    mirrored,
    panel,
    polygon,
    stroke,
)


def _mug() -> Silhouette:
    return (
        stroke(Paint.SHADE, [(0.4, -0.34), (0.8, -0.36), (0.8, 0.3), (0.4, 0.36)], 0.12),
        *_cup((0.48, 0.46)),
        ellipse(Paint.LABEL, (-0.04, 0.06), (0.22, 0.22)),
    )


def _slim_mug() -> Silhouette:
    return (
        stroke(Paint.SHADE, [(0.36, -0.3), (0.66, -0.3), (0.66, 0.16), (0.36, 0.24)], 0.09),
        *_cup((0.44, 0.36)),
    )


def _tumbler() -> Silhouette:
    return (*_cup((0.5, 0.38)), ellipse(Paint.LABEL, (0, 0.06), (0.2, 0.22)))


def _cup(widths: tuple[float, float]) -> Silhouette:
    top, bottom = widths
    half = [(0, -0.62), (top, -0.62), (bottom, 0.66), (bottom * 0.9, 0.72), (0, 0.74)]
    return (
        mirrored(Paint.BODY, half),
        ellipse(Paint.TINT, (0, -0.62), (top, 0.12)),
        ellipse(Paint.DEEP, (0, -0.61), (top * 0.88, 0.09)),
    )


def _glass() -> Silhouette:
    return (
        mirrored(Paint.GLASS, [(0, -0.74), (0.46, -0.74), (0.36, 0.74), (0, 0.78)]),
        mirrored(Paint.TINT, [(0, -0.2), (0.42, -0.2), (0.35, 0.66), (0, 0.7)]),
        ellipse(Paint.PAPER, (0, -0.74), (0.46, 0.1)),
        ellipse(Paint.GLASS, (0, -0.73), (0.42, 0.075)),
        stroke(Paint.PAPER, [(-0.32, -0.56), (-0.26, 0.56)], 0.05),
    )


def _plate() -> Silhouette:
    return (
        ellipse(Paint.BODY, (0, 0), (0.88, 0.84)),
        ellipse(Paint.TRIM, (0, 0), (0.8, 0.76)),
        ellipse(Paint.BODY, (0, 0), (0.74, 0.7)),
        ellipse(Paint.SHADE, (0, 0.02), (0.54, 0.5)),
        ellipse(Paint.BODY, (0, 0.04), (0.51, 0.47)),
    )


def _bowl() -> Silhouette:
    return (
        ellipse(Paint.BODY, (0, -0.16), (0.86, 0.8), (0, 180)),
        ellipse(Paint.TINT, (0, -0.16), (0.86, 0.24)),
        ellipse(Paint.SHADE, (0, -0.13), (0.76, 0.18)),
        panel(Paint.DEEP, (-0.3, 0.6, 0.3, 0.7), 0.03),
    )


def _pan() -> Silhouette:
    return (
        stroke(Paint.INK, [(0.3, -0.3), (0.92, -0.84)], 0.15),
        ellipse(Paint.BODY, (-0.16, 0.16), (0.7, 0.64)),
        ellipse(Paint.DEEP, (-0.16, 0.16), (0.6, 0.54)),
        ellipse(Paint.INK, (-0.16, 0.18), (0.5, 0.44)),
        stroke(Paint.METAL, [(0.26, -0.26), (0.4, -0.38)], 0.1),
    )


def _kettle() -> Silhouette:
    return (
        stroke(Paint.INK, [(0.3, -0.5), (0.78, -0.5), (0.8, 0.2), (0.5, 0.4)], 0.13),
        polygon(Paint.BODY, [(-0.36, -0.5), (-0.78, -0.4), (-0.44, 0.0)]),
        mirrored(Paint.BODY, [(0, -0.6), (0.38, -0.6), (0.56, 0.56), (0, 0.6)]),
        panel(Paint.INK, (-0.6, 0.56, 0.6, 0.74), 0.05),
        ellipse(Paint.INK, (0, -0.6), (0.38, 0.1)),
        ellipse(Paint.INK, (0, -0.72), (0.08, 0.07)),
        panel(Paint.GLASS, (-0.08, -0.2, 0.08, 0.4), 0.06),
    )


def _lamp() -> Silhouette:
    return (
        ellipse(Paint.INK, (0, 0.78), (0.44, 0.12)),
        stroke(Paint.METAL, [(0, 0.78), (0, -0.2)], 0.08),
        mirrored(Paint.BODY, [(0, -0.86), (0.3, -0.86), (0.62, -0.1), (0, -0.06)]),
        ellipse(Paint.TINT, (0, -0.1), (0.6, 0.07)),
    )


def _towels() -> Silhouette:
    rolls = [
        (
            panel(paint, (-0.76, y, 0.76, y + 0.42), 0.16),
            stroke(Paint.DEEP, [(-0.7, y + 0.2), (0.5, y + 0.2)], 0.025),
        )
        for y, paint in ((0.36, Paint.SHADE), (-0.06, Paint.BODY), (-0.48, Paint.TINT))
    ]
    return tuple(layer for roll in rolls for layer in roll)


def _hanging_towel() -> Silhouette:
    return (
        stroke(Paint.METAL, [(-0.86, -0.82), (0.86, -0.82)], 0.07),
        panel(Paint.BODY, (-0.54, -0.86, 0.54, 0.8), 0.03),
        panel(Paint.TRIM, (-0.54, 0.44, 0.54, 0.52)),
        panel(Paint.TRIM, (-0.54, 0.58, 0.54, 0.62)),
        stroke(Paint.SHADE, [(0.16, -0.8), (0.2, 0.78)], 0.02),
    )


def _bear() -> Silhouette:
    pairs = []
    for side in (-1, 1):
        pairs += [
            ellipse(Paint.BODY, (0.38 * side, -0.74), (0.2, 0.2)),
            ellipse(Paint.SHADE, (0.38 * side, -0.74), (0.11, 0.11)),
            ellipse(Paint.BODY, (0.52 * side, 0.16), (0.2, 0.32)),
            ellipse(Paint.SHADE, (0.36 * side, 0.72), (0.26, 0.22)),
        ]
    eyes = [ellipse(Paint.INK, (0.17 * side, -0.46), (0.05, 0.05)) for side in (-1, 1)]
    return (
        *pairs,
        ellipse(Paint.BODY, (0, 0.28), (0.5, 0.54)),
        ellipse(Paint.TINT, (0, 0.32), (0.32, 0.36)),
        ellipse(Paint.BODY, (0, -0.4), (0.5, 0.44)),
        ellipse(Paint.TINT, (0, -0.28), (0.2, 0.16)),
        ellipse(Paint.INK, (0, -0.33), (0.07, 0.05)),
        *eyes,
    )


def _car() -> Silhouette:
    wheels = [
        ellipse(paint, (x, 0.4), (radius, radius))
        for x in (-0.5, 0.5)
        for paint, radius in ((Paint.INK, 0.24), (Paint.METAL, 0.11))
    ]
    return (
        polygon(Paint.BODY, [(-0.6, 0.0), (-0.4, -0.46), (0.26, -0.46), (0.56, 0.0)]),
        panel(Paint.BODY, (-0.92, -0.06, 0.94, 0.4), 0.12),
        polygon(Paint.GLASS, [(-0.46, -0.04), (-0.32, -0.36), (-0.06, -0.36), (-0.06, -0.04)]),
        polygon(Paint.GLASS, [(0.04, -0.04), (0.04, -0.36), (0.22, -0.36), (0.42, -0.04)]),
        stroke(Paint.TRIM, [(-0.88, 0.16), (0.9, 0.16)], 0.07),
        *wheels,
    )


def _truck() -> Silhouette:
    wheels = [ellipse(Paint.INK, (x, 0.5), (0.18, 0.18)) for x in (-0.56, -0.1, 0.58)]
    return (
        panel(Paint.TRIM, (-0.92, -0.6, 0.24, 0.4), 0.05),
        polygon(
            Paint.BODY, [(0.28, -0.34), (0.66, -0.34), (0.92, 0.06), (0.92, 0.46), (0.28, 0.46)]
        ),
        polygon(Paint.GLASS, [(0.42, -0.22), (0.62, -0.22), (0.78, 0.06), (0.42, 0.06)]),
        panel(Paint.DEEP, (-0.92, 0.36, 0.94, 0.48)),
        *wheels,
    )


def _ball() -> Silhouette:
    return (
        ellipse(Paint.BODY, (0, 0), (0.8, 0.8)),
        ellipse(Paint.TRIM, (0, 0), (0.34, 0.8)),
        ellipse(Paint.BODY, (0, 0), (0.14, 0.8)),
        ellipse(Paint.TRIM, (0, -0.7), (0.2, 0.1)),
    )


HOME: dict[str, Callable[[], Silhouette]] = {
    "mug": _mug,
    "slim mug": _slim_mug,
    "tumbler": _tumbler,
    "glass": _glass,
    "plate": _plate,
    "bowl": _bowl,
    "pan": _pan,
    "kettle": _kettle,
    "lamp": _lamp,
    "towels": _towels,
    "hanging towel": _hanging_towel,
    "bear": _bear,
    "car": _car,
    "truck": _truck,
    "ball": _ball,
}
