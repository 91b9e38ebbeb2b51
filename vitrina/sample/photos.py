"""Photos of the sample's products: silhouettes, coloured, lit and set against a backdrop."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from math import cos, radians, sin
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vitrina.sample.backdrops import SIDE, draw_backdrop, noise_patch
from vitrina.sample.looks import backdrops_of, look_of
from vitrina.sample.outline import Paint, Points
from vitrina.sample.silhouettes import silhouette
from vitrina.sample.taxonomy import SampleCategory
from vitrina.sample.vocabulary import COLOURS, Rgb
from vitrina.types import Floats

# Drawn at twice the size and reduced, which smooths the edges.
_CANVAS = 2 * SIDE


@dataclass(frozen=True, slots=True)
class _Shape:
    """A silhouette with all points in one array, so that a photo transforms them at once."""

    points: Points
    paints: tuple[Paint, ...]
    ends: tuple[int, ...]


def draw_photo(
    category: SampleCategory, colour: str, rng: Random, *, identifying: bool
) -> Image.Image:
    """Draw a product of a category and colour: 128 x 128, RGB.

    telling: draw one of the category's own shapes, never a shared one such as a closed carton.
    """
    look = look_of(category)
    shape = _load_shape(rng.choice(look.own if identifying else look.shapes))
    thing = _draw_thing(shape, _mix_paints(COLOURS[colour], rng), rng)
    scene = draw_backdrop(backdrops_of(category), rng)
    _put_into(scene, thing, rng)
    scene *= rng.uniform(0.86, 1.06)
    scene += noise_patch(rng) * rng.uniform(1, 6)
    photo = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))
    if rng.random() < 0.1:
        _stick_badge(photo, rng)
    return photo


def encode_jpeg(photo: Image.Image, quality: int) -> bytes:
    """Encode a photo as a JPEG file."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@cache
def _load_shape(name: str) -> _Shape:
    layers = silhouette(name)
    return _Shape(
        points=np.concatenate([layer.points for layer in layers]),
        paints=tuple(layer.paint for layer in layers),
        ends=tuple(np.cumsum([len(layer.points) for layer in layers]).tolist()),
    )


def _mix_paints(body: Rgb, rng: Random) -> dict[Paint, tuple[int, int, int, int]]:
    shift = [rng.randrange(-18, 19) for _ in range(3)]
    body = (body[0] + shift[0], body[1] + shift[1], body[2] + shift[2])
    white, black = (255, 255, 255), (0, 0, 0)
    others = tuple(COLOURS.values())
    trim = _blend(rng.choice(others), white, 0.15)
    return {
        Paint.BODY: _blend(body, white, 0.0),
        Paint.SHADE: _blend(body, black, 0.2),
        Paint.DEEP: _blend(body, black, 0.42),
        Paint.TINT: _blend(body, white, 0.4),
        Paint.GLASS: (*_blend(body, white, 0.72)[:3], 150),
        Paint.TRIM: trim if rng.random() < 0.6 else _blend(body, black, 0.55),
        Paint.LABEL: _blend(rng.choice(others), white, 0.1),
        Paint.PAPER: (244, 242, 236, 255),
        Paint.INK: (44, 44, 50, 255),
        Paint.METAL: (184, 188, 196, 255),
    }


def _blend(colour: Rgb, other: Rgb, share: float) -> tuple[int, int, int, int]:
    red, green, blue = (
        min(255, max(0, round(a + (b - a) * share))) for a, b in zip(colour, other, strict=True)
    )
    return red, green, blue, 255


def _draw_thing(
    shape: _Shape, paints: dict[Paint, tuple[int, int, int, int]], rng: Random
) -> Image.Image:
    # Reducing RGBA premultiplies the colours, which takes three times as long. So the fourth
    # channel is alpha by convention only, and transparent pixels carry the body's colour to avoid
    # dark edges.
    thing = Image.new("RGBX", (_CANVAS, _CANVAS), (*paints[Paint.BODY][:3], 0))
    draw = ImageDraw.Draw(thing)
    pair = rng.random() < 0.05
    places = ((-0.26, -0.08, 0.62), (0.26, 0.1, 0.62)) if pair else ((0.0, 0.0, 1.0),)
    degrees, stretch, lean = rng.gauss(0, 4), rng.uniform(0.93, 1.08), rng.gauss(0, 0.03)
    scale = rng.uniform(0.8, 0.98)
    drift = rng.gauss(0, 0.03), rng.gauss(0, 0.03)
    flip = -1 if rng.random() < 0.25 else 1
    for x, y, size in places:
        matrix = _placement(degrees, stretch * flip, lean) * (scale * size)
        points = shape.points @ matrix + (x + drift[0], y + drift[1])
        corners = ((points + 1) * (_CANVAS / 2)).tolist()
        start = 0
        for paint, end in zip(shape.paints, shape.ends, strict=True):
            draw.polygon([tuple(corner) for corner in corners[start:end]], fill=paints[paint])
            start = end
    return thing.reduce(2)


def _placement(degrees: float, stretch: float, lean: float) -> Points:
    angle = radians(degrees)
    rotation = np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
    matrix: Points = np.array([[stretch, 0], [lean, 1 / abs(stretch)]]) @ rotation
    return matrix


def _put_into(scene: Floats, thing: Image.Image, rng: Random) -> None:
    """Composite the thing over the scene in place, lit from the top left."""
    pixels = np.asarray(thing, dtype=np.float32)
    soft = _soften(thing.getchannel("X"))
    scene *= 1 - rng.uniform(0.2, 0.5) * _slide(soft, 5)[:, :, None]
    # The blurred outline falls off towards the edges, so its slope makes flat shapes look round.
    light = 1 + rng.uniform(0.2, 0.5) * (_slide(soft, -3) - _slide(soft, 3))
    lit = pixels[:, :, :3] * light[:, :, None]
    scene += (lit - scene) * (pixels[:, :, 3:] / np.float32(255))


def _soften(alpha: Image.Image) -> Floats:
    """A blurred alpha channel: (128, 128) float32 in 0..1."""
    small = alpha.reduce(4).filter(ImageFilter.GaussianBlur(1.2))
    blurred = small.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(blurred, np.float32) / np.float32(255)


def _slide(field: Floats, pixels: int) -> Floats:
    """Shift a field right and down, or left and up, padded with zeros."""
    moved = np.zeros_like(field)
    if pixels > 0:
        moved[pixels:, pixels:] = field[:-pixels, :-pixels]
    else:
        moved[:pixels, :pixels] = field[-pixels:, -pixels:]
    return moved


def _stick_badge(photo: Image.Image, rng: Random) -> None:
    draw = ImageDraw.Draw(photo)
    radius = rng.randrange(12, 18)
    x = rng.choice((radius + 3, SIDE - radius - 4))
    y = rng.choice((radius + 3, SIDE - radius - 4))
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(214, 40, 70))
    draw.text((x - 10, y - 6), f"-{rng.randrange(1, 8)}0%", fill=(255, 255, 255))
