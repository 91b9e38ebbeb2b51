"""Plots of reports with matplotlib, which is imported when the first one is drawn.

Every function draws into `ax`, or into a new figure of pyplot, and returns the axes. None changes
matplotlib's settings or shows a figure: notebooks do that themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitrina.errors import VitrinaError
from vitrina.optional import needed_for
from vitrina.page.words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEPARATOR = "->"
"""Between the levels of a category's path."""
LONGEST = 44
"""Characters of a category's name."""
GREY = "0.55"
FEW_POINTS = 40
"""Points of a line up to which each has a mark."""
WIDE, SQUARE = (7.2, 4.5), (5.4, 5.4)
"""Inches of a new figure."""
PERCENT = ("{x:.0%}", "{x:.1%}")


@dataclass(frozen=True)
class Bar:
    """A horizontal bar. low, high: ends of an interval, None for none. group: of its colour. text:
    written at its end."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    group: str = ""
    text: str = ""


def reliability_plot(
    calibrated: Sequence[Any], before: Sequence[Any], errors: tuple[float, float], ax: Axes | None
) -> Axes:
    """A reliability diagram with and without calibration. calibrated, before: bins with `rows`,
    `confidence` and `accuracy`. errors: the expected calibration error of both."""
    ax = _axes(ax, SQUARE)
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="perfectly calibrated")
    _bins(ax, before, f"before calibration (expected error {errors[1]:.3f})", "--", GREY)
    _bins(ax, calibrated, f"calibrated (expected error {errors[0]:.3f})", "-", None)
    rows = sum(one.rows for one in calibrated)
    ax.set(
        title=f"Reliability on {rows:,} validation products",
        xlabel="confidence of the prediction, mean of a bin",
        ylabel="correct predictions of the bin",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
    )
    _percent(ax, "x", "y")
    ax.legend(loc="best", fontsize="small", title="area of a dot: products")
    return ax


def _bins(ax: Axes, bins: Sequence[Any], label: str, style: str, color: str | None) -> None:
    x, y = [one.confidence for one in bins], [one.accuracy for one in bins]
    (line,) = ax.plot(x, y, linestyle=style, linewidth=1.2, color=color, label=label)
    most = max((one.rows for one in bins), default=1)
    sizes = [14 + 160 * one.rows / most for one in bins]
    ax.scatter(x, y, s=sizes, color=line.get_color(), alpha=0.55, linewidths=0)


def coverage_plot(
    points: Sequence[tuple[float, float]],
    target: float | None,
    chosen: Mapping[str, tuple[float, float]],
    ax: Axes | None,
    *,
    title: str,
    curve: str,
) -> Axes:
    """Precision against coverage. points: of the curve, coverage and precision. target: precision
    of a horizontal line. chosen: operating points by their names. curve: name of the curve."""
    ax = _axes(ax, WIDE)
    marker = "o" if len(points) <= FEW_POINTS else ""
    ax.plot(*zip(*points, strict=True), label=curve, marker=marker, ms=4)
    if target is not None:
        ax.axhline(target, color=GREY, linestyle=":", linewidth=1, label=f"target {target:.1%}")
    shown = [(name, at) for name, at in chosen.items() if at[0] and not math.isnan(at[1])]
    for marker, (name, at) in zip("oDs", shown, strict=False):
        label = f"{name}: {at[0]:.1%} of products, {at[1]:.1%} correct"
        ax.plot(*at, marker, markersize=8, label=label, zorder=3)
    reached = [*(one[1] for one in points), *(at[1] for _, at in shown), target or 1.0]
    low = min(reached)
    ax.set(
        title=title,
        xlabel="accepted products, the most confident first, share of all",
        ylabel="correct predictions of the accepted",
        xlim=(0, 1.02),
        ylim=(max(0.0, low - 0.15 * (1.0 - low) - 0.005), 1 + 0.03 * (1.0 - low) + 0.002),
    )
    _percent(ax, "x", "y")
    ax.legend(loc="lower left", fontsize="small")
    return ax


def bars_plot(
    bars: Sequence[Bar],
    ax: Axes | None,
    *,
    title: str,
    xlabel: str,
    ticks: str | None = None,
    whole: bool = False,
) -> Axes:
    """Horizontal bars, the first on top. ticks: format of the numbers. whole: they are counts."""
    longest = max((len(line) for one in bars for line in one.name.split("\n")), default=0)
    lines = max((one.name.count("\n") + 1 for one in bars), default=1)
    size = (5.2 + 0.075 * longest, 1.3 + (0.24 + 0.14 * lines) * max(len(bars), 2))
    ax = _axes(ax, size)
    places = range(len(bars))
    groups = list(dict.fromkeys(one.group for one in bars))
    for number, group in enumerate(groups):
        own = [at for at in places if bars[at].group == group]
        ax.barh(
            own,
            [bars[at].value for at in own],
            height=0.62,
            color=f"C{number}",
            label=group or None,
        )
    spans = [(at, one.value, one.low, one.high) for at, one in zip(places, bars, strict=True)]
    known = [(at, v, low, high) for at, v, low, high in spans if low is not None and high]
    if known:
        errors = [[max(0.0, v - low) for _, v, low, _ in known]]
        errors.append([max(0.0, high - v) for _, v, _, high in known])
        ax.errorbar(
            [v for _, v, _, _ in known],
            [at for at, *_ in known],
            xerr=errors,
            fmt="none",
            ecolor="0.2",
            elinewidth=1,
            capsize=3,
        )
    furthest = max((one.high or one.value for one in bars), default=1.0) or 1.0
    for at, one in zip(places, bars, strict=True):
        end = one.high or one.value
        ax.text(end + 0.012 * furthest, at, one.text, va="center", fontsize="small")
    ax.set_yticks(list(places), labels=[one.name for one in bars], fontsize="small")
    for label in ax.get_yticklabels():
        # A dollar sign in a name begins no formula.
        label.set_parse_math(False)
    widest = max((len(one.text) for one in bars), default=0)
    ax.set(title=title, xlabel=xlabel, xlim=(0, furthest * (1.03 + 0.018 * widest)))
    if whole:
        _whole(ax)
    elif ticks is not None:
        ax.xaxis.set_major_formatter(ticks)
    ax.invert_yaxis()
    if groups != [""] and len(groups) > 1:
        ax.legend(fontsize="small", loc="best")
    return ax


def curve_plot(
    losses: Sequence[tuple[int, float]],
    scores: Sequence[tuple[int, float]],
    best: int | None,
    ax: Axes | None,
    *,
    title: str,
    score: str,
) -> Axes:
    """A training curve: the loss, and the score on an axis of its own at the right. losses, scores:
    by epoch, from 1. best: the epoch whose weights were kept."""
    ax = _axes(ax, WIDE)
    losses, scores = _finite(losses), _finite(scores)
    marker = "o" if max(len(losses), len(scores)) <= FEW_POINTS else ""
    lines = []
    if losses:
        lines += ax.plot(
            *zip(*losses, strict=True), color="C0", label="training loss", marker=marker, ms=4
        )
    ax.set(title=title, xlabel="epoch", ylabel="training loss, nats")
    _whole(ax)
    if scores:
        right = ax.twinx()
        lines += right.plot(
            *zip(*scores, strict=True), color="C1", label=score, marker=marker, ms=4
        )
        right.set_ylabel(score)
    if best is not None:
        lines.append(
            ax.axvline(best, color=GREY, linestyle=":", linewidth=1, label=f"kept: epoch {best}")
        )
    # Below the axes, where neither line runs.
    ax.legend(
        handles=lines,
        fontsize="small",
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=3,
        frameon=False,
    )
    return ax


def category_names(paths: Sequence[tuple[str, str]], longest: int = LONGEST) -> list[str]:
    """Short names of categories, given as id and path: the last level, with as many levels above it
    as tell them apart; a name that is too long loses its middle."""
    unique = list(dict.fromkeys(paths))
    levels = {one: _levels(*one) for one in unique}
    depth = dict.fromkeys(unique, 1)
    for _ in range(max((len(parts) for parts in levels.values()), default=0)):
        taken: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        for one in unique:
            taken.setdefault(tuple(levels[one][-depth[one] :]), []).append(one)
        same = [one for some in taken.values() if len(some) > 1 for one in some]
        if not same:
            break
        for one in same:
            depth[one] = min(depth[one] + 1, len(levels[one]))
    names = {one: " / ".join(levels[one][-depth[one] :]) for one in unique}
    return [_cut(names[one], longest) for one in paths]


def _levels(key: str, path: str) -> list[str]:
    return [plain(level).strip() for level in path.split(SEPARATOR) if level.strip()] or [key]


def _cut(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    end = longest // 3
    return f"{name[: longest - end - 1].rstrip()}…{name[-end:].lstrip()}"


def _finite(points: Sequence[tuple[int, float | None]]) -> list[tuple[int, float]]:
    return [(at, value) for at, value in points if value is not None and math.isfinite(value)]


def _whole(ax: Axes) -> None:
    """Whole numbers at the x axis."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _percent(ax: Axes, *names: str) -> None:
    for name in names:
        low, high = getattr(ax, f"get_{name}lim")()
        axis = getattr(ax, f"{name}axis")
        axis.set_major_formatter(PERCENT[int(high - low < 0.08)])


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The given axes, or those of a new figure. Raises MissingPackageError without matplotlib,
    VitrinaError for anything that is no axes."""
    with needed_for("a plot"):
        from matplotlib.axes import Axes as Kind
    if ax is None:
        from matplotlib import pyplot

        _, new = pyplot.subplots(figsize=size, layout="constrained")
        return new
    if not isinstance(ax, Kind):
        raise VitrinaError(
            f"ax must be the axes of a matplotlib figure, as plt.subplots() returns them, not "
            f"{type(ax).__name__}"
        )
    return ax
