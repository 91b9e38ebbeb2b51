"""Bar charts as inline SVG: a histogram, and a single bar for a table cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vitrina.page.charts import LARGE, Axis, Frame, Place, axes
from vitrina.page.markup import text

GAP = 0.06
"""Gap on either side of a bar, as a fraction of the bin's width."""


@dataclass(frozen=True)
class HistogramBin:
    """One bar of a histogram, from `low` to `high`. tip: the tooltip."""

    low: float
    high: float
    count: int
    tip: str


def histogram(
    bins: Sequence[HistogramBin], x: Axis, y: Axis, *, label: str, frame: Frame = LARGE
) -> Markup:
    """Return a histogram as an SVG element. label: its description for screen readers."""
    place = Place(x, y, frame)
    floor = place.y(y.low)
    parts = [
        f'<svg class="chart {frame.kind}" viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{text(label)}">',
        *axes(place, x, y, frame),
        '<g class="bars">',
    ]
    for one in bins:
        if not one.count:
            continue
        gap = GAP * (one.high - one.low)
        left, right = place.x(one.low + gap), place.x(one.high - gap)
        parts.append(
            f'<path d="M{left} {floor}V{place.y(one.count)}H{right}V{floor}z">'
            f"<title>{text(one.tip)}</title></path>"
        )
    return Markup("\n".join([*parts, "</g></svg>"]))


def bar(share: float) -> Markup:
    """Return an SVG bar that fills a share of its cell, clipped to 0 to 1."""
    filled = 100 * min(max(share, 0.0), 1.0)
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="100" height="8"/><path d="M0 0H{filled:.1f}V8H0z"/></svg>'
    )
