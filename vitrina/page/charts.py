"""Line charts as inline SVG: axes, ticks, lines with marks that tell their values, legends.

Colours come from the page's style sheet, by the classes `c0` to `c11`, so that a chart follows the
reader's light or dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vitrina.page.markup import text

COLOURS = 12
"""Lines past these take the colours again, with other dashes."""
DASHES = ("", "7 4", "2 3", "9 3 2 3")
MARKS = (
    "M{x} {y}m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "M{x} {y}m-3.2-3.2h6.4v6.4h-6.4z",
    "M{x} {y}m0-4.2l4 7h-8z",
    "M{x} {y}m0-4.4l4.4 4.4l-4.4 4.4l-4.4-4.4z",
)
"""A circle, a square, a triangle, a diamond: a second sign beside the colour."""


@dataclass(frozen=True)
class Point:
    """Where a line goes through, in the axes' units; NaN in y breaks it.

    tip: what a pointer over its mark is told; a point without one has no mark.
    """

    x: float
    y: float
    tip: str = ""


@dataclass(frozen=True)
class Line:
    """A line of a chart. number: which colour, dashes and mark it has on the whole page."""

    name: str
    number: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Axis:
    """What one side of a chart spans, what it is called, and where it has ticks."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    label: str = ""

    @classmethod
    def around(
        cls, low: float, high: float, label: str = "", *, about: int = 5, percent: bool = False
    ) -> Axis:
        """An axis with about as many ticks at round numbers, the first and last at its ends."""
        if not low < high:
            low, high = low - 0.05 * (abs(low) or 1), high + 0.05 * (abs(high) or 1)
        step = _round_step((high - low) / about)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        digits = max(0, -math.floor(math.log10(step * (100 if percent else 1)) + 1e-9))
        form = f"{{:,.{digits}{'%' if percent else 'f'}}}"
        places = [number * step for number in range(first, last + 1)]
        ticks = tuple((place, form.format(place + 0.0)) for place in places)
        return cls(places[0], places[-1], ticks, label)


@dataclass(frozen=True)
class Frame:
    """How large a chart is, in its own units, and what its axes' words take of that."""

    width: int = 640
    height: int = 380
    left: int = 56
    right: int = 18
    top: int = 34
    bottom: int = 54
    kind: str = "large"


LARGE = Frame()
SMALL = Frame(width=340, height=150, left=44, right=12, top=28, bottom=22, kind="small")


def chart(
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    *,
    label: str,
    frame: Frame = LARGE,
    target: float | None = None,
) -> str:
    """An SVG element. label: what it shows, for those who can't see it. target: a level of y that
    is drawn across."""
    place = Place(x, y, frame)
    parts = [
        f'<svg class="chart {frame.kind}" viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{text(label)}">',
        *axes(place, x, y, frame),
    ]
    if target is not None:
        across = f"M{frame.left} {place.y(target)}H{frame.width - frame.right}"
        parts.append(f'<path class="target" d="{across}"/>')
    # The first line is the most important: it is drawn last, over the others.
    parts += [_line(one, place) for one in reversed(lines)]
    parts.append("</svg>")
    return "\n".join(parts)


def legend(lines: Sequence[Line]) -> str:
    """A list of the lines' names beside their signs."""
    items = [
        f'<li data-line="{one.number}"><svg viewBox="0 0 34 12" aria-hidden="true">'
        f'<g class="c{one.number % COLOURS}"><path class="line" d="M1 6H33"{_dashes(one)}/>'
        f'<path class="mark" d="{_mark(one.number, 17, 6)}"/></g></svg>'
        f"<span>{text(one.name)}</span></li>"
        for one in lines
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def interval(low: float, value: float, high: float, axis: Axis) -> str:
    """A small SVG of a value within its interval, for a table's cell; the numbers stand beside."""
    left, middle, right = (
        f"{4 + 112 * (one - axis.low) / ((axis.high - axis.low) or 1):.1f}"
        for one in (low, value, high)
    )
    return (
        '<svg class="interval" viewBox="0 0 120 14" aria-hidden="true"><path class="span" '
        f'd="M4 7H116"/><path class="part" d="M{left} 7H{right}"/>'
        f'<circle cx="{middle}" cy="7" r="3.5"/></svg>'
    )


class Place:
    """Where a value lies on the drawing."""

    def __init__(self, x: Axis, y: Axis, frame: Frame) -> None:
        self._axes, self._frame = (x, y), frame

    def x(self, value: float) -> str:
        """From the left."""
        frame, axis = self._frame, self._axes[0]
        span = frame.width - frame.left - frame.right
        return _short(frame.left + span * (value - axis.low) / (axis.high - axis.low))

    def y(self, value: float) -> str:
        """From the top."""
        frame, axis = self._frame, self._axes[1]
        span = frame.height - frame.top - frame.bottom
        return _short(
            frame.height - frame.bottom - span * (value - axis.low) / (axis.high - axis.low)
        )


def axes(place: Place, x: Axis, y: Axis, frame: Frame) -> list[str]:
    """The grid, the ticks and what they are called, as SVG elements."""
    right, bottom = frame.width - frame.right, frame.height - frame.bottom
    grid = "".join(f"M{frame.left} {place.y(value)}H{right}" for value, _ in y.ticks)
    parts = [f'<path class="grid" d="{grid}"/>']
    parts += [
        f'<text class="tick" x="{frame.left - 8}" y="{place.y(value)}" dy=".35em" '
        f'text-anchor="end">{text(words)}</text>'
        for value, words in y.ticks
    ]
    ticks = "".join(f"M{place.x(value)} {bottom}v4" for value, _ in x.ticks)
    parts.append(f'<path class="base" d="M{frame.left} {bottom}H{right}{ticks}"/>')
    parts += [
        f'<text class="tick" x="{place.x(value)}" y="{bottom + 6}" dy="1em" '
        f'text-anchor="middle">{text(words)}</text>'
        for value, words in x.ticks
    ]
    if y.label:
        parts.append(f'<text class="axis" x="0" y="4" dy=".8em">{text(y.label)}</text>')
    if x.label:
        parts.append(
            f'<text class="axis" x="{right}" y="{frame.height - 6}" '
            f'text-anchor="end">{text(x.label)}</text>'
        )
    return parts


def _line(line: Line, place: Place) -> str:
    path, down = [], False
    marks = []
    for point in line.points:
        if not math.isfinite(point.y):
            down = False
            continue
        x, y = place.x(point.x), place.y(point.y)
        path.append(f"{'L' if down else 'M'}{x} {y}")
        down = True
        if point.tip:
            marks.append(
                f'<path class="mark" d="{_mark(line.number, x, y)}">'
                f"<title>{text(point.tip)}</title></path>"
            )
    return (
        f'<g class="series c{line.number % COLOURS}" data-line="{line.number}">'
        f'<path class="line" d="{"".join(path)}"{_dashes(line)}/>{"".join(marks)}</g>'
    )


def _mark(number: int, x: str | int, y: str | int) -> str:
    return MARKS[number % len(MARKS)].format(x=x, y=y)


def _dashes(line: Line) -> str:
    dashes = DASHES[line.number // COLOURS % len(DASHES)]
    return f' stroke-dasharray="{dashes}"' if dashes else ""


def _round_step(step: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten that is no smaller."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= step * (1 - 1e-9))


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
