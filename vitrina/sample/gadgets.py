"""Silhouettes of electronics: phones, cases, cables, audio, watches. Data for `photos`."""

from __future__ import annotations

from collections.abc import Callable

from vitrina.sample.outline import (
    Paint,
    Silhouette,
    ellipse,
    mirrored,
    moved,
    panel,
    polygon,
    stroke,
)


def _phone() -> Silhouette:
    icons = [
        panel(Paint.PAPER, (x, y, x + 0.12, y + 0.12), 0.03)
        for y in (0.1, 0.32)
        for x in (-0.28, -0.06, 0.16)
    ]
    return (
        panel(Paint.INK, (-0.44, -0.88, 0.44, 0.88), 0.1),
        panel(Paint.TINT, (-0.38, -0.8, 0.38, 0.8), 0.05),
        polygon(Paint.TRIM, [(-0.38, -0.7), (0.38, -0.3), (0.38, 0.0), (-0.38, -0.3)]),
        *icons,
        ellipse(Paint.INK, (0, -0.73), (0.04, 0.04)),
    )


def _phone_back() -> Silhouette:
    return (*_slab(), panel(Paint.SHADE, (-0.1, 0.5, 0.1, 0.54)))


def _case() -> Silhouette:
    return (*_slab(), ellipse(Paint.LABEL, (0.02, 0.24), (0.2, 0.2)))


def _open_case() -> Silhouette:
    return (
        panel(Paint.BODY, (-0.46, -0.88, 0.46, 0.88), 0.14),
        panel(Paint.SHADE, (-0.38, -0.8, 0.38, 0.8), 0.1),
        panel(Paint.PAPER, (-0.32, -0.74, -0.02, -0.4), 0.08),
    )


def _slab() -> Silhouette:
    lenses = [ellipse(Paint.INK, (-0.23, y), (0.07, 0.07)) for y in (-0.66, -0.47)]
    return (
        panel(Paint.BODY, (-0.44, -0.88, 0.44, 0.88), 0.12),
        panel(Paint.SHADE, (-0.35, -0.79, -0.03, -0.35), 0.08),
        *lenses,
        ellipse(Paint.PAPER, (-0.1, -0.57), (0.03, 0.03)),
    )


def _cable() -> Silhouette:
    plug = (
        panel(Paint.DEEP, (-0.12, -0.16, 0.12, 0.14), 0.04),
        panel(Paint.METAL, (-0.07, 0.14, 0.07, 0.3)),
    )
    # Two strokes: one that crossed itself would have a hole there.
    outer = ((-0.5, 0.5), (-0.6, -0.3), (0, -0.68), (0.6, -0.2), (0.2, 0.4))
    inner = ((0.22, 0.37), (0.14, 0.44), (-0.36, 0.1), (0, -0.36), (0.36, -0.1), (0.5, 0.5))
    return (
        stroke(Paint.BODY, outer, 0.09),
        stroke(Paint.BODY, inner, 0.09),
        *moved(plug, (-0.5, 0.56)),
        *moved(plug, (0.5, 0.56)),
    )


def _charger() -> Silhouette:
    return (
        panel(Paint.METAL, (-0.2, -0.86, -0.1, -0.5)),
        panel(Paint.METAL, (0.1, -0.86, 0.2, -0.5)),
        panel(Paint.BODY, (-0.44, -0.56, 0.44, 0.5), 0.1),
        panel(Paint.INK, (-0.16, 0.2, 0.16, 0.3), 0.03),
        stroke(Paint.SHADE, [(0, 0.5), (0.1, 0.8), (0.5, 0.84), (0.8, 0.6)], 0.08),
    )


def _headphones() -> Silhouette:
    return (
        stroke(Paint.BODY, [(-0.62, 0.2), (-0.6, -0.4), (0, -0.8), (0.6, -0.4), (0.62, 0.2)], 0.13),
        panel(Paint.SHADE, (-0.84, 0.0, -0.5, 0.66), 0.14),
        panel(Paint.SHADE, (0.5, 0.0, 0.84, 0.66), 0.14),
        panel(Paint.INK, (-0.54, 0.04, -0.36, 0.62), 0.09),
        panel(Paint.INK, (0.36, 0.04, 0.54, 0.62), 0.09),
    )


def _earbuds() -> Silhouette:
    bud = (
        panel(Paint.BODY, (-0.07, -0.1, 0.07, 0.42), 0.07),
        ellipse(Paint.BODY, (0.04, -0.16), (0.17, 0.17)),
        ellipse(Paint.INK, (0.12, -0.18), (0.07, 0.09)),
    )
    return (
        panel(Paint.SHADE, (-0.6, 0.04, 0.6, 0.78), 0.26),
        panel(Paint.BODY, (-0.6, 0.1, 0.6, 0.78), 0.26),
        ellipse(Paint.TRIM, (0, 0.34), (0.04, 0.04)),
        *moved(bud, (-0.3, -0.42)),
        *moved(bud, (0.3, -0.42)),
    )


def _speaker() -> Silhouette:
    return (
        panel(Paint.BODY, (-0.5, -0.84, 0.5, 0.84), 0.14),
        ellipse(Paint.DEEP, (0, 0.3), (0.38, 0.38)),
        ellipse(Paint.SHADE, (0, 0.3), (0.26, 0.26)),
        ellipse(Paint.INK, (0, 0.3), (0.1, 0.1)),
        ellipse(Paint.DEEP, (0, -0.46), (0.22, 0.22)),
        ellipse(Paint.TRIM, (0, -0.46), (0.1, 0.1)),
    )


def _drum_speaker() -> Silhouette:
    return (
        panel(Paint.BODY, (-0.88, -0.36, 0.88, 0.4), 0.3),
        panel(Paint.DEEP, (-0.62, -0.28, 0.62, 0.32), 0.14),
        ellipse(Paint.SHADE, (-0.28, 0.02), (0.22, 0.22)),
        ellipse(Paint.SHADE, (0.28, 0.02), (0.22, 0.22)),
        stroke(Paint.TRIM, [(-0.8, -0.2), (-0.84, 0.0), (-0.8, 0.24)], 0.05),
    )


def _strap() -> Silhouette:
    return (
        mirrored(Paint.SHADE, [(0, -0.96), (0.2, -0.96), (0.3, -0.3), (0, -0.3)]),
        mirrored(Paint.SHADE, [(0, 0.3), (0.3, 0.3), (0.2, 0.96), (0, 0.96)]),
    )


def _smart_watch() -> Silhouette:
    return (
        *_strap(),
        panel(Paint.METAL, (-0.46, -0.5, 0.46, 0.5), 0.16),
        panel(Paint.INK, (-0.4, -0.44, 0.4, 0.44), 0.12),
        stroke(Paint.TRIM, [(-0.26, 0.1), (-0.1, -0.2), (0.04, 0.16), (0.26, -0.1)], 0.05),
        panel(Paint.PAPER, (-0.26, -0.34, 0.1, -0.24)),
    )


def _round_smart_watch() -> Silhouette:
    return (
        *_strap(),
        ellipse(Paint.METAL, (0, 0), (0.5, 0.5)),
        ellipse(Paint.INK, (0, 0), (0.43, 0.43)),
        stroke(Paint.TRIM, [(-0.28, 0.1), (0, 0.3), (0.28, 0.1)], 0.05),
        panel(Paint.PAPER, (-0.2, -0.18, 0.2, -0.06)),
    )


def _wrist_watch() -> Silhouette:
    return (*_strap(), *_dial(Paint.PAPER, Paint.INK))


def _dark_wrist_watch() -> Silhouette:
    return (*_strap(), *_dial(Paint.INK, Paint.PAPER))


def _dial(face: Paint, hands: Paint) -> Silhouette:
    return (
        ellipse(Paint.METAL, (0, 0), (0.5, 0.5)),
        ellipse(face, (0, 0), (0.43, 0.43)),
        stroke(hands, [(0, 0.06), (0, -0.34)], 0.05),
        stroke(hands, [(-0.04, 0.02), (0.24, -0.14)], 0.05),
        panel(Paint.METAL, (0.48, -0.06, 0.56, 0.06)),
    )


GADGETS: dict[str, Callable[[], Silhouette]] = {
    "phone": _phone,
    "phone back": _phone_back,
    "case": _case,
    "open case": _open_case,
    "cable": _cable,
    "charger": _charger,
    "headphones": _headphones,
    "earbuds": _earbuds,
    "speaker": _speaker,
    "drum speaker": _drum_speaker,
    "smart watch": _smart_watch,
    "round smart watch": _round_smart_watch,
    "wrist watch": _wrist_watch,
    "dark wrist watch": _dark_wrist_watch,
}
