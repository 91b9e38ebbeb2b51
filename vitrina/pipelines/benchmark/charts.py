"""The charts of a benchmark's page: training curves, F1 by size, coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from markupsafe import Markup

from vitrina.page.charts import SMALL, Axis, Line, Point, chart
from vitrina.pipelines.benchmark.figures import CoverageCurve, SizeBin
from vitrina.pipelines.benchmark.rows import Row

TARGET = 0.95
"""Precision of the horizontal line in the coverage chart."""
FEWEST = 100
"""Fewest rows of a coverage curve's first point: precision over fewer is noise."""
STEPS = 120
"""Points of a coverage curve at most, about; every tenth has a mark."""
EPOCH_TICKS = 6


def score_axis(rows: Sequence[Row]) -> Axis | None:
    """One axis for the scores of all methods, for comparison; None if there are no scores."""
    scores = [one.score for row in rows for one in row.history if math.isfinite(one.score)]
    if not scores:
        return None
    return Axis.around(min(scores), max(scores), "score on validation products", about=3)


def training_charts(row: Row, number: int, scores: Axis | None) -> tuple[Markup, ...]:
    """The score and the training loss after each epoch; epochs count from 1."""
    last = max(one.number for one in row.history) + 1
    drawn = []
    by_epoch = [(one.number + 1, one.score) for one in row.history]
    if scores is not None and any(math.isfinite(score) for _, score in by_epoch):
        points = tuple(Point(at, s, f"epoch {at}: score {s:.4f}") for at, s in by_epoch)
        label = f"{row.name}: score on validation products after each of {len(points)} epochs"
        drawn.append(_small(Line(row.name, number, points), last, scores, label))
    losses = [(one.number + 1, one.loss) for one in row.history]
    finite = [loss for _, loss in losses if math.isfinite(loss)]
    if finite:
        axis = Axis.around(min(finite), max(finite), "training loss", about=3)
        points = tuple(Point(at, loss, f"epoch {at}: loss {loss:.4g}") for at, loss in losses)
        label = f"{row.name}: mean training loss of each of {len(points)} epochs"
        drawn.append(_small(Line(row.name, number, points), last, axis, label))
    return tuple(drawn)


def size_lines(rows: Sequence[tuple[int, Row, tuple[SizeBin, ...]]]) -> tuple[Line, ...]:
    """A line for each method, by its number, through its bins."""
    return tuple(
        Line(
            row.name,
            number,
            tuple(
                Point(
                    at, one.f1, f"{row.name}, {one.label} training products: mean F1 {one.f1:.3f}"
                )
                for at, one in enumerate(bins)
            ),
        )
        for number, row, bins in rows
    )


def size_chart(lines: Sequence[Line], bins: Sequence[SizeBin]) -> Markup:
    """Mean F1 by the size of categories; bins: those of any of the methods."""
    x = Axis(
        -0.4,
        len(bins) - 0.6,
        tuple((at, one.label) for at, one in enumerate(bins)),
        "training products of a category",
    )
    # In tenths, to 1: a rare category's F1 is 0 often enough for the axis to begin there.
    y = Axis.around(0, 1, "mean F1 of the categories")
    label = (
        f"Mean F1 of categories against their training products, for {len(lines)} methods; "
        "the table below has the numbers"
    )
    return chart(lines, x, y, label=label)


def coverage_lines(
    rows: Sequence[tuple[int, Row, CoverageCurve]], measured: int
) -> tuple[Line, ...]:
    """A line for each method, by its number, thinned to about `STEPS` points.

    measured: number of validation rows.
    """
    first = min(FEWEST, math.ceil(measured / 20)) / measured
    return tuple(Line(row.name, number, _points(row, curve, first)) for number, row, curve in rows)


def coverage_chart(lines: Sequence[Line]) -> Markup:
    """Precision against coverage, with `TARGET` across."""
    lowest = min((point.y for line in lines for point in line.points), default=0.0)
    y = Axis.around(min(lowest, 0.9), 1, "precision of the accepted", percent=True)
    x = Axis.around(0, 1, "share of products accepted, surest first", percent=True)
    label = f"Precision against the share of products accepted, for {len(lines)} methods"
    return chart(lines, x, y, label=label, target=TARGET)


def _small(line: Line, epochs: int, y: Axis, label: str) -> Markup:
    step = max(1, math.ceil(epochs / EPOCH_TICKS))
    ticks = tuple((float(at), f"{at}") for at in range(step, epochs + 1, step))
    if len(line.points) > 30:
        # Marks on a long training would run into one another.
        every = math.ceil(len(line.points) / 30)
        points = [
            point if at % every == 0 else replace(point, tip="")
            for at, point in enumerate(line.points)
        ]
        line = replace(line, points=tuple(points))
    return chart([line], Axis(0.5, epochs + 0.5, ticks, ""), y, label=label, frame=SMALL)


def _points(row: Row, curve: CoverageCurve, first: float) -> tuple[Point, ...]:
    """Points of the curve from the coverage `first` on."""
    worth = np.flatnonzero(curve.coverage >= first - 1e-12)
    wanted = np.linspace(curve.coverage[worth[0]], 1, STEPS)
    kept = np.unique(np.searchsorted(curve.coverage, wanted - 1e-12).clip(max=worth[-1]))
    points = []
    for order, at in enumerate(kept.tolist()):
        covered, precision = float(curve.coverage[at]), float(curve.precision[at])
        tip = (
            f"{row.name}: {covered:.1%} accepted from a confidence of "
            f"{curve.threshold[at]:.3f}, {precision:.1%} of them right"
        )
        marked = order % 10 == 0 or at == kept[-1]
        points.append(Point(covered, precision, tip if marked else ""))
    return tuple(points)
