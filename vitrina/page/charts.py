"""Line charts as inline SVG: axes, ticks, lines, marks with tooltips, legends.

Colours come from the page's style sheet, by the classes `c0` to `c11`, so that a chart follows the
reader's light or dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vitrina.page.markup import text

COLOURS = 12
"""Number of colours; further lines reuse them with other dashes."""
DASHES = ("", "7 4", "2 3", "9 3 2 3")
MARKS = (
    "M{x} {y}m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "M{x} {y}m-3.2-3.2h6.4v6.4h-6.4z",
    "M{x} {y}m0-4.2l4 7h-8z",
    "M{x} {y}m0-4.4l4.4 4.4l-4.4 4.4l-4.4-4.4z",
)
"""SVG paths of a circle, a square, a triangle and a diamond, which distinguish lines as well."""


@dataclass(frozen=True)
class Point:
    """Point of a line, in the axes' units; NaN in y breaks the line.

    tip: the tooltip of its mark; a point without one has no mark.
    """

    x: float
    y: float
    tip: str = ""


@dataclass(frozen=True)
class Line:
    """A line of a chart. number: selects its colour, dashes and mark across the page."""

    name: str
    number: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Axis:
    """Axis of a chart: its range, its ticks (value, text) and its label."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    label: str = ""

    @classmethod
    def around(
        cls, low: float, high: float, label: str = "", *, about: int = 5, percent: bool = False
    ) -> Axis:
        """Return an axis with about `about` round ticks, the first and last at its ends."""
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
    """Size and margins of a chart, in SVG units."""

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
) -> Markup:
    """Return a line chart as an SVG element.

    label: its description for screen readers. target: a y value drawn as a horizontal line.
    """
    place = Place(x, y, frame)
    parts = [
        f'<svg class="chart {frame.kind}" viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{text(label)}">',
        *axes(place, x, y, frame),
    ]
    if target is not None:
        across = f"M{frame.left} {place.y(target)}H{frame.width - frame.right}"
        parts.append(f'<path class="target" d="{across}"/>')
    # The first line is the most important, so it is drawn last, over the others.
    parts += [_line(one, place) for one in reversed(lines)]
    return Markup("\n".join([*parts, "</svg>"]))


def legend(lines: Sequence[Line]) -> Markup:
    """Return the legend: an HTML list of the lines' names beside their samples."""
    items = [
        f'<li data-line="{one.number}"><svg viewBox="0 0 34 12" aria-hidden="true">'
        f'<g class="c{one.number % COLOURS}"><path class="line" d="M1 6H33"{_dashes(one)}/>'
        f'<path class="mark" d="{_mark(one.number, 17, 6)}"/></g></svg>'
        f"<span>{text(one.name)}</span></li>"
        for one in lines
    ]
    return Markup(f'<ul class="legend">{"".join(items)}</ul>')


def interval(low: float, value: float, high: float, axis: Axis) -> Markup:
    """Return a small SVG of a value within its interval, for a table cell beside the numbers."""
    left, middle, right = (
        f"{4 + 112 * (one - axis.low) / ((axis.high - axis.low) or 1):.1f}"
        for one in (low, value, high)
    )
    return Markup(
        '<svg class="interval" viewBox="0 0 120 14" aria-hidden="true"><path class="span" '
        f'd="M4 7H116"/><path class="part" d="M{left} 7H{right}"/>'
        f'<circle cx="{middle}" cy="7" r="3.5"/></svg>'
    )


class Place:
    """Mapping from axis values to SVG coordinates."""

    def __init__(self, x: Axis, y: Axis, frame: Frame) -> None:
        self._axes, self._frame = (x, y), frame

    def x(self, value: float) -> str:
        """Distance from the left edge, as SVG text."""
        frame, axis = self._frame, self._axes[0]
        span = frame.width - frame.left - frame.right
        return _short(frame.left + span * (value - axis.low) / (axis.high - axis.low))

    def y(self, value: float) -> str:
        """Distance from the top edge, as SVG text."""
        frame, axis = self._frame, self._axes[1]
        span = frame.height - frame.top - frame.bottom
        return _short(
            frame.height - frame.bottom - span * (value - axis.low) / (axis.high - axis.low)
        )


def axes(place: Place, x: Axis, y: Axis, frame: Frame) -> list[str]:
    """Return the grid, ticks and labels as SVG elements."""
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
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= step * (1 - 1e-9))


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
