"""Sections of a benchmark's page below its table: training, sizes, confusions, coverage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from vitrina.page.charts import legend
from vitrina.page.words import duration
from vitrina.pipelines.benchmark.charts import (
    coverage_chart,
    coverage_lines,
    score_axis,
    size_chart,
    size_lines,
    training_charts,
)
from vitrina.pipelines.benchmark.figures import (
    ConfusedPair,
    SizeBin,
    confused_pairs,
    coverage_curve,
    f1_by_size,
)
from vitrina.pipelines.benchmark.rows import MethodsTable, Row

CHOSEN = 6
"""Methods whose F1 is shown by size by default."""


@dataclass(frozen=True)
class TrainingCurves:
    """A method's score and loss by epoch. told: its epochs as text."""

    name: str
    told: str
    charts: tuple[Markup, ...]


def training(table: MethodsTable) -> list[TrainingCurves]:
    """The training curves of all methods that have a history."""
    shown = [(number, row) for number, row in enumerate(table.ranked) if row.history]
    scores = score_axis([row for _, row in shown])
    return [
        TrainingCurves(row.name, _epochs(row), training_charts(row, number, scores))
        for number, row in shown
    ]


@dataclass(frozen=True)
class SizesSection:
    """F1 by the training rows of a category: a chart, and the table behind it.

    rows: a bin, and for each method the F1 and whether it is the best of the bin.
    """

    chart: Markup
    legend: Markup
    names: list[str]
    rows: list[tuple[SizeBin, list[tuple[str, bool]]]]

    @classmethod
    def of(cls, table: MethodsTable, chosen: Sequence[str]) -> SizesSection | None:
        """The figures of the chosen methods; None without predictions."""
        shown = [(number, row, f1_by_size(row, table)) for number, row in _chosen(table, chosen)]
        if not shown or not shown[0][2]:
            return None
        lines, bins = size_lines(shown), shown[0][2]
        scores = [[f"{by_size[at].f1:.3f}" for *_, by_size in shown] for at in range(len(bins))]
        return cls(
            chart=size_chart(lines, bins),
            legend=legend(lines),
            names=[row.name for _, row, _ in shown],
            rows=[
                (one, [(score, score == max(line, key=float)) for score in line])
                for one, line in zip(bins, scores, strict=True)
            ],
        )


@dataclass(frozen=True)
class ConfusedSection:
    """Pairs of categories that the best method confuses.

    pairs: a pair, and the paths of its true and predicted category. confused: wrong predictions in
    these pairs. wrong: all wrong predictions.
    """

    name: str
    pairs: list[tuple[ConfusedPair, str, str]]
    confused: int
    wrong: int

    @classmethod
    def of(cls, table: MethodsTable) -> ConfusedSection | None:
        """The confusions of a table; None without predictions of its best method."""
        best = next((row for row in table.ranked if row.predicted is not None), None)
        if best is None:
            return None
        pairs = confused_pairs(best, table)
        return cls(
            name=best.name,
            pairs=[(pair, table.names[pair.true], table.names[pair.predicted]) for pair in pairs],
            confused=sum(pair.count + pair.back for pair in pairs),
            wrong=int(np.count_nonzero(best.predicted != table.true)),
        )


@dataclass(frozen=True)
class CoverageSection:
    """Precision against coverage, for every method with confidences."""

    chart: Markup
    legend: Markup

    @classmethod
    def of(cls, table: MethodsTable) -> CoverageSection | None:
        """The curves of a table; None without confidences."""
        shown = [
            (number, row, coverage_curve(row, table))
            for number, row in enumerate(table.ranked)
            if row.confidence is not None and len(table.true)
        ]
        if not shown:
            return None
        lines = coverage_lines(shown, len(table.true))
        return cls(coverage_chart(lines), legend(lines))


def _epochs(row: Row) -> str:
    epochs = len(row.history)
    trained = f"{epochs} epoch{'s' if epochs > 1 else ''} in {duration(row.seconds)}"
    scored = [one for one in row.history if math.isfinite(one.score)]
    if not scored:
        return f"{trained}; not scored on the way"
    best = max(scored, key=lambda one: one.score)
    return f"{trained}; best {best.score:.3f}, epoch {best.number + 1}"


def _chosen(table: MethodsTable, chosen: Sequence[str]) -> Iterator[tuple[int, Row]]:
    able = {row.name: at for at, row in enumerate(table.ranked) if row.predicted is not None}
    missing = [name for name in chosen if name not in able]
    if missing:
        raise ValueError(f"no method with predictions is called {missing[0]!r}")
    if not chosen:
        first = [row.name for row in table.best.values() if row.name in able]
        chosen = [*first, *(name for name in able if name not in first)][:CHOSEN]
    return ((able[name], table.ranked[able[name]]) for name in sorted(chosen, key=able.__getitem__))
