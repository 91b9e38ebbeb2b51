"""The report of a benchmark: one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vitrina.page.charts import Axis, interval
from vitrina.page.document import document
from vitrina.pipelines.benchmark.rows import MethodsTable, Row
from vitrina.pipelines.benchmark.sections import (
    ConfusedSection,
    CoverageSection,
    SizesSection,
    training,
)
from vitrina.pipelines.benchmark.text import COLUMNS, NONE, WORDS, cells
from vitrina.types import Features

HERE = Path(__file__).parent
FACTS = {
    "products": "Products in the catalogue",
    "categories": "Categories",
    "train_rows": "Products to train on",
    "held_rows": "Products for early stopping and blending",
    "validation_rows": "Products to validate on",
    "predicted_rows": "Products to predict",
    "split": "Split",
    "seed": "Seed",
    "machine": "Machine",
    "versions": "Versions",
}
"""Labels of the keys of `MethodsTable.about`, in the order of the page."""
UNTOLD = {"store"}
"""Keys of `about` left out of the list of facts: the heading has the store."""
KINDS = {
    Features.TEXT: "text alone",
    Features.IMAGE: "images alone",
    Features.FUSED: "text and images",
}
F1, INTERVAL = COLUMNS.index("validation weighted F1"), COLUMNS.index("95% interval")


@dataclass(frozen=True)
class MethodCell:
    """A cell of the table of methods. key: to sort by, "" for a dash."""

    text: str
    key: str
    kind: str
    chart: Markup


@dataclass(frozen=True)
class MethodRow:
    """A method in the table. tag: the modality that it is the best of, or "". kind: its class."""

    cells: list[MethodCell]
    tag: str
    kind: str


def page(table: MethodsTable, chosen: Sequence[str] = ()) -> str:
    """The whole page, as HTML; it depends on nothing but the arguments.

    chosen: names of the methods whose F1 is shown by category size; by default the best of each
    modality and then the best of the others. Raises ValueError for an unknown name.
    """
    store, train_rows = table.about.get("store"), table.about.get("train_rows")
    spans = [row.validation.weighted_f1_interval for row in table.ranked if row.validation]
    axis = Axis(min(low for low, _ in spans), max(high for _, high in spans), ()) if spans else None
    bodies = [[_row(table, row, axis) for row in rows] for rows in (table.ranked, table.left_out)]
    pieces = document(
        HERE,
        "benchmark",
        title=f"Vitrina benchmark · {store}" if store else "Vitrina benchmark",
        run=len(table.ranked),
        train_rows=train_rows if isinstance(train_rows, int) else None,
        measured=len(table.true),
        used=len(set(table.true.tolist())),
        best=[(KINDS[modality], row, row.validation) for modality, row in table.best.items()],
        facts=_facts(table.about),
        columns=COLUMNS,
        words=WORDS,
        bodies=[body for body in bodies if body],
        trained=training(table),
        sizes=SizesSection.of(table, chosen),
        confusions=ConfusedSection.of(table),
        coverage=CoverageSection.of(table),
    )
    return "".join(pieces)


def _facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    known = [(key, label) for key, label in FACTS.items() if key in about]
    others = [(key, key.capitalize()) for key in about if key not in FACTS.keys() | UNTOLD]
    return [
        (label, _formatted(about[key], apart=key != "seed")) for key, label in (*known, *others)
    ]


def _formatted(value: Any, *, apart: bool = True) -> str:
    """Format a JSON value as text. apart: with commas between thousands."""
    match value:
        case None:
            return NONE
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}" if apart else f"{value}"
        case float():
            return f"{value:,.4g}"
        case Mapping():
            return ", ".join(f"{key} {_formatted(one)}" for key, one in value.items())
        case list() | tuple():
            return ", ".join(_formatted(one) for one in value)
        case _:
            return str(value)


def _row(table: MethodsTable, row: Row, axis: Axis | None) -> MethodRow:
    best = table.is_best(row)
    kinds = {1: "words", F1: "best" if best else "", 9: "words note"}
    charts = {}
    if row.validation and axis:
        low, high = row.validation.weighted_f1_interval
        charts[INTERVAL] = interval(low, row.validation.weighted_f1, high, axis)
    pairs = zip(cells(row), _keys(row), strict=True)
    return MethodRow(
        cells=[
            MethodCell(text, key, kinds.get(at, ""), charts.get(at, Markup("")))
            for at, (text, key) in enumerate(pairs)
        ],
        tag=KINDS[row.modality] if best else "",
        kind="out" if row.left_out else "best" if best else "",
    )


def _keys(row: Row) -> list[str]:
    """Sort keys of the cells: a number as such, a word in lower case, "" for a dash."""
    words = cells(row)
    metrics = row.validation
    numbers: list[float | None] = [None] * 7
    if metrics is not None:
        numbers = [
            None if row.train is None else row.train.weighted_f1,
            metrics.weighted_f1,
            metrics.weighted_f1_interval[0],
            metrics.macro_f1,
            None if words[6] == NONE else metrics.coverage_at_95,
            row.seconds,
            row.per_second,
        ]
    formatted = ["" if one is None or not math.isfinite(one) else f"{one:.6g}" for one in numbers]
    return [words[0].lower(), words[1], *formatted, words[9].lower()]
