"""Silhouettes of wearables: clothes, shoes, bags. Data for `photos`."""

from __future__ import annotations

from collections.abc import Callable

from vitrina.sample.outline import (
    Paint,
    Silhouette,
    blob,
    ellipse,
    mirrored,
    panel,
    polygon,
    stroke,
)

_SHORT = [(0.18, -0.76), (0.4, -0.7), (0.88, -0.34), (0.68, -0.1), (0.48, -0.3)]
_LONG = [(0.18, -0.76), (0.4, -0.7), (0.6, -0.5), (0.9, 0.56), (0.68, 0.62), (0.48, -0.1)]
_HEM = [(0.46, 0.3), (0.48, 0.78), (0.0, 0.8)]


def _top(half: list[tuple[float, float]]) -> Silhouette:
    return (
        mirrored(Paint.BODY, [(0, -0.7), *half, *_HEM]),
        ellipse(Paint.DEEP, (0, -0.76), (0.18, 0.06)),
        ellipse(Paint.SHADE, (0, -0.75), (0.2, 0.16), (0, 180)),
        ellipse(Paint.DEEP, (0, -0.76), (0.15, 0.12), (0, 180)),
        stroke(Paint.SHADE, [(-0.47, 0.72), (0, 0.74), (0.47, 0.72)], 0.02),
    )


def _tee() -> Silhouette:
    cuffs = (
        stroke(Paint.SHADE, [(0.85, -0.37), (0.66, -0.14)], 0.02),
        stroke(Paint.SHADE, [(-0.85, -0.37), (-0.66, -0.14)], 0.02),
    )
    return (*_top(_SHORT), *cuffs)


def _longsleeve() -> Silhouette:
    cuffs = (
        polygon(Paint.SHADE, [(0.88, 0.48), (0.9, 0.56), (0.68, 0.62), (0.66, 0.54)]),
        polygon(Paint.SHADE, [(-0.88, 0.48), (-0.9, 0.56), (-0.68, 0.62), (-0.66, 0.54)]),
    )
    return (*_top(_LONG), *cuffs)


def _printed_tee() -> Silhouette:
    star = [(0, -0.3), (0.06, -0.1), (0.26, -0.1), (0.1, 0.03), (0.17, 0.23), (0, 0.11)]
    return (*_tee(), mirrored(Paint.TRIM, star))


def _printed_longsleeve() -> Silhouette:
    return (
        *_longsleeve(),
        ellipse(Paint.TRIM, (0, 0.0), (0.22, 0.22)),
        ellipse(Paint.BODY, (0, 0.0), (0.13, 0.13)),
    )


def _shirt() -> Silhouette:
    return _with_placket(_longsleeve())


def _short_shirt() -> Silhouette:
    return _with_placket(_tee())


def _with_placket(garment: Silhouette) -> Silhouette:
    buttons = [ellipse(Paint.PAPER, (0, y), (0.025, 0.025)) for y in (-0.4, -0.12, 0.16, 0.44)]
    return (
        *garment,
        panel(Paint.TINT, (-0.06, -0.68, 0.06, 0.79)),
        polygon(Paint.TINT, [(-0.2, -0.84), (0, -0.6), (-0.16, -0.48), (-0.3, -0.72)]),
        polygon(Paint.TINT, [(0.2, -0.84), (0, -0.6), (0.16, -0.48), (0.3, -0.72)]),
        *buttons,
        panel(Paint.SHADE, (0.18, -0.3, 0.36, -0.08), 0.02),
    )


def _folded() -> Silhouette:
    return (
        panel(Paint.SHADE, (-0.6, -0.66, 0.64, 0.74), 0.06),
        panel(Paint.BODY, (-0.64, -0.7, 0.6, 0.7), 0.06),
        ellipse(Paint.DEEP, (-0.02, -0.68), (0.24, 0.2), (0, 180)),
        stroke(Paint.SHADE, [(-0.63, 0.24), (0, 0.27), (0.59, 0.24)], 0.025),
        stroke(Paint.SHADE, [(0.3, -0.68), (0.34, 0.0), (0.3, 0.68)], 0.015),
        panel(Paint.LABEL, (-0.06, -0.6, 0.04, -0.52)),
    )


def _dress() -> Silhouette:
    half = [(0.2, -0.9), (0.3, -0.88), (0.28, -0.6), (0.3, -0.5), (0.22, -0.12), (0.62, 0.86)]
    return (
        mirrored(Paint.BODY, [(0, -0.62), (0.12, -0.68), *half, (0.3, 0.92), (0, 0.93)]),
        mirrored(Paint.TRIM, [(0, -0.16), (0.23, -0.17), (0.22, -0.08), (0, -0.06)]),
        stroke(Paint.SHADE, [(0.1, 0.0), (0.2, 0.5), (0.28, 0.88)], 0.02),
        stroke(Paint.SHADE, [(-0.08, 0.0), (-0.14, 0.5), (-0.22, 0.88)], 0.02),
    )


def _sleeved_dress() -> Silhouette:
    half = [(0.17, -0.9), (0.34, -0.84), (0.62, -0.44), (0.46, -0.34), (0.32, -0.52)]
    return (
        mirrored(Paint.BODY, [(0, -0.84), *half, (0.23, -0.1), (0.48, 0.82), (0, 0.88)]),
        ellipse(Paint.DEEP, (0, -0.88), (0.16, 0.12), (0, 180)),
        mirrored(Paint.SHADE, [(0, -0.13), (0.235, -0.13), (0.235, -0.08), (0, -0.08)]),
        stroke(Paint.SHADE, [(0.08, -0.05), (0.12, 0.4), (0.2, 0.83)], 0.02),
    )


def _skirt() -> Silhouette:
    pleats = [
        stroke(Paint.SHADE, [(x * 0.4, -0.5), (x, 0.66)], 0.02) for x in (-0.4, -0.1, 0.2, 0.5)
    ]
    return (
        mirrored(Paint.BODY, [(0, -0.62), (0.32, -0.62), (0.44, -0.3), (0.74, 0.66), (0, 0.74)]),
        *pleats,
        mirrored(Paint.TRIM, [(0, -0.66), (0.32, -0.66), (0.34, -0.54), (0, -0.52)]),
    )


def _straight_skirt() -> Silhouette:
    return (
        mirrored(Paint.BODY, [(0, -0.72), (0.34, -0.72), (0.48, -0.2), (0.42, 0.74), (0, 0.76)]),
        mirrored(Paint.SHADE, [(0, -0.72), (0.34, -0.72), (0.36, -0.6), (0, -0.58)]),
        stroke(Paint.DEEP, [(0.08, 0.36), (0.08, 0.75)], 0.03),
    )


def _jeans() -> Silhouette:
    half = [(0.36, -0.88), (0.46, -0.3), (0.42, 0.9), (0.12, 0.9), (0.02, -0.2), (0, -0.22)]
    return (
        mirrored(Paint.BODY, [(0, -0.88), *half]),
        mirrored(Paint.SHADE, [(0, -0.9), (0.36, -0.9), (0.38, -0.78), (0, -0.78)]),
        stroke(Paint.SHADE, [(0, -0.78), (0, -0.24)], 0.025),
        stroke(Paint.TINT, [(0.2, -0.76), (0.26, -0.6), (0.42, -0.56)], 0.02),
        stroke(Paint.TINT, [(-0.2, -0.76), (-0.26, -0.6), (-0.42, -0.56)], 0.02),
        panel(Paint.LABEL, (0.16, -0.87, 0.28, -0.8)),
        blob(Paint.TINT, [(0.3, 0.0), (0.34, 0.3), (0.27, 0.5), (0.2, 0.3)]),
        blob(Paint.TINT, [(-0.3, 0.0), (-0.34, 0.3), (-0.27, 0.5), (-0.2, 0.3)]),
    )


def _jacket() -> Silhouette:
    half = [(0.22, -0.76), (0.46, -0.68), (0.66, -0.44), (0.9, 0.5), (0.64, 0.58), (0.54, 0.0)]
    return (
        mirrored(Paint.SHADE, [(0, -0.94), (0.24, -0.88), (0.3, -0.7), (0, -0.5)], smooth=True),
        mirrored(Paint.BODY, [(0, -0.66), *half, (0.56, 0.68), (0, 0.7)]),
        mirrored(Paint.SHADE, [(0, 0.6), (0.55, 0.58), (0.55, 0.7), (0, 0.72)]),
        stroke(Paint.METAL, [(0, -0.66), (0, 0.7)], 0.035),
        stroke(Paint.DEEP, [(0.2, 0.2), (0.4, 0.36)], 0.05),
        stroke(Paint.DEEP, [(-0.2, 0.2), (-0.4, 0.36)], 0.05),
        stroke(Paint.SHADE, [(-0.5, -0.1), (0, -0.08), (0.5, -0.1)], 0.02),
    )


def _beanie() -> Silhouette:
    ribs = [stroke(Paint.DEEP, [(x, 0.3), (x, 0.62)], 0.02) for x in (-0.4, -0.2, 0, 0.2, 0.4)]
    return (
        ellipse(Paint.TRIM, (0, -0.66), (0.2, 0.2)),
        ellipse(Paint.BODY, (0, 0.3), (0.62, 0.86), (180, 360)),
        panel(Paint.SHADE, (-0.66, 0.26, 0.66, 0.64), 0.1),
        *ribs,
    )


def _umbrella() -> Silhouette:
    scallops = [ellipse(Paint.DEEP, (x, 0.04), (0.23, 0.12), (180, 360)) for x in (-0.6, 0, 0.6)]
    return (
        stroke(Paint.INK, [(0, -0.8), (0, 0.7), (0.08, 0.84), (0.2, 0.8), (0.24, 0.66)], 0.05),
        ellipse(Paint.BODY, (0, 0.06), (0.9, 0.84), (180, 360)),
        ellipse(Paint.SHADE, (0, 0.06), (0.32, 0.84), (180, 360)),
        *scallops,
    )


def _sneaker() -> Silhouette:
    upper = [(-0.86, 0.1), (-0.84, -0.3), (-0.6, -0.42), (-0.3, -0.34), (-0.1, -0.16), (0.2, 0.0)]
    return (
        blob(Paint.BODY, [*upper, (0.66, 0.1), (0.86, 0.24), (0.86, 0.4), (-0.84, 0.4)]),
        ellipse(Paint.DEEP, (-0.56, -0.34), (0.24, 0.1)),
        blob(Paint.TRIM, [(-0.4, 0.28), (0.0, 0.06), (0.2, 0.1), (-0.1, 0.3)]),
        stroke(Paint.PAPER, [(-0.24, -0.2), (-0.34, 0.02)], 0.05),
        stroke(Paint.PAPER, [(-0.08, -0.12), (-0.2, 0.08)], 0.05),
        stroke(Paint.PAPER, [(0.08, -0.04), (-0.06, 0.12)], 0.05),
        panel(Paint.PAPER, (-0.9, 0.32, 0.94, 0.5), 0.08),
        stroke(Paint.SHADE, [(-0.88, 0.42), (0.9, 0.42)], 0.025),
    )


def _boot() -> Silhouette:
    return (
        blob(
            Paint.BODY,
            [
                *((-0.66, 0.4), (-0.66, -0.6), (-0.62, -0.7), (-0.08, -0.7), (-0.04, -0.2)),
                *((0.3, 0.02), (0.72, 0.14), (0.8, 0.44)),
            ],
        ),
        panel(Paint.SHADE, (-0.68, -0.74, -0.05, -0.56), 0.06),
        stroke(Paint.PAPER, [(-0.06, -0.4), (-0.26, -0.32)], 0.05),
        stroke(Paint.PAPER, [(-0.04, -0.2), (-0.24, -0.12)], 0.05),
        stroke(Paint.PAPER, [(0.08, -0.06), (-0.12, 0.06)], 0.05),
        panel(Paint.INK, (-0.7, 0.4, 0.86, 0.6), 0.06),
        panel(Paint.INK, (-0.7, 0.5, -0.3, 0.7), 0.03),
    )


def _pump() -> Silhouette:
    return (
        polygon(Paint.DEEP, [(-0.84, 0.04), (-0.52, 0.16), (-0.68, 0.62), (-0.78, 0.62)]),
        blob(
            Paint.BODY,
            [
                *((-0.82, -0.44), (-0.78, -0.44), (-0.5, -0.1), (-0.06, 0.1), (0.22, 0.06)),
                *((0.56, 0.26), (0.92, 0.5), (0.86, 0.6), (0.36, 0.58), (-0.1, 0.42)),
                *((-0.5, 0.18), (-0.74, 0.16), (-0.86, 0.0)),
            ],
        ),
        blob(
            Paint.DEEP,
            [(-0.79, -0.4), (-0.5, -0.06), (0.0, 0.12), (0.2, 0.09), (-0.2, 0.2), (-0.6, 0.02)],
        ),
        stroke(Paint.INK, [(-0.52, 0.2), (-0.1, 0.44), (0.36, 0.6), (0.88, 0.58)], 0.035),
        ellipse(Paint.TRIM, (0.4, 0.24), (0.08, 0.05)),
    )


def _tall_boot() -> Silhouette:
    return (
        polygon(Paint.INK, [(-0.42, 0.5), (-0.14, 0.5), (-0.2, 0.86), (-0.38, 0.86)]),
        blob(
            Paint.BODY,
            [
                *((-0.42, 0.66), (-0.4, 0.2), (-0.48, -0.84), (-0.48, -0.84), (0.08, -0.84)),
                *((0.08, -0.84), (0.02, 0.1), (0.1, 0.4), (0.62, 0.66), (0.66, 0.8), (0.2, 0.78)),
            ],
        ),
        stroke(Paint.SHADE, [(-0.2, -0.86), (-0.16, 0.3)], 0.03),
        panel(Paint.SHADE, (-0.48, -0.92, 0.08, -0.8), 0.03),
        stroke(Paint.INK, [(0.0, 0.72), (0.3, 0.82), (0.66, 0.82)], 0.06),
    )


def _handbag() -> Silhouette:
    return (
        stroke(Paint.DEEP, [(-0.36, -0.2), (-0.3, -0.74), (0.3, -0.74), (0.36, -0.2)], 0.08),
        mirrored(Paint.BODY, [(0, -0.3), (0.58, -0.3), (0.76, 0.66), (0.7, 0.72), (0, 0.72)]),
        mirrored(Paint.SHADE, [(0, -0.3), (0.58, -0.3), (0.62, -0.02), (0, 0.12)]),
        ellipse(Paint.METAL, (0, 0.08), (0.09, 0.07)),
    )


def _shopper() -> Silhouette:
    return (
        stroke(Paint.DEEP, [(-0.3, -0.2), (-0.24, -0.86), (0.24, -0.86), (0.3, -0.2)], 0.06),
        panel(Paint.BODY, (-0.62, -0.3, 0.62, 0.8), 0.05),
        stroke(Paint.SHADE, [(-0.6, -0.2), (0.6, -0.2)], 0.03),
        panel(Paint.LABEL, (-0.24, 0.1, 0.24, 0.42), 0.04),
    )


def _backpack() -> Silhouette:
    return (
        stroke(Paint.DEEP, [(-0.14, -0.74), (-0.1, -0.92), (0.1, -0.92), (0.14, -0.74)], 0.06),
        panel(Paint.DEEP, (-0.7, -0.1, 0.7, 0.6), 0.14),
        panel(Paint.BODY, (-0.56, -0.8, 0.56, 0.84), 0.24),
        panel(Paint.SHADE, (-0.44, 0.1, 0.44, 0.72), 0.1),
        stroke(Paint.METAL, [(-0.4, 0.22), (0.4, 0.22)], 0.03),
        stroke(Paint.DEEP, [(-0.5, -0.3), (-0.3, -0.5), (0.3, -0.5), (0.5, -0.3)], 0.03),
        panel(Paint.LABEL, (-0.1, -0.28, 0.1, -0.14)),
    )


WEAR: dict[str, Callable[[], Silhouette]] = {
    "tee": _tee,
    "printed tee": _printed_tee,
    "longsleeve": _longsleeve,
    "printed longsleeve": _printed_longsleeve,
    "shirt": _shirt,
    "short shirt": _short_shirt,
    "folded": _folded,
    "dress": _dress,
    "sleeved dress": _sleeved_dress,
    "skirt": _skirt,
    "straight skirt": _straight_skirt,
    "jeans": _jeans,
    "jacket": _jacket,
    "beanie": _beanie,
    "umbrella": _umbrella,
    "sneaker": _sneaker,
    "boot": _boot,
    "pump": _pump,
    "tall boot": _tall_boot,
    "handbag": _handbag,
    "shopper": _shopper,
    "backpack": _backpack,
}
