"""The table of a benchmark as Markdown, as lines for a terminal, and as JSON for machines."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from vitrina.classifier.metrics import NEVER
from vitrina.page.tables import aligned_table, markdown_table
from vitrina.page.words import duration, plain
from vitrina.pipelines.benchmark.figures import confused_pairs, f1_by_size
from vitrina.pipelines.benchmark.rows import MethodsTable, Row

NONE = "–"
COLUMNS = (
    "method",
    "modality",
    "train weighted F1",
    "validation weighted F1",
    "95% interval",
    "macro F1",
    "coverage at 95% precision",
    "training",
    "products/s",
    "note",
)
SHORT = (
    "method",
    "modality",
    "train F1",
    "F1",
    "95% interval",
    "macro F1",
    "at 95%",
    "training",
    "products/s",
    "note",
)
"""Column headings for a terminal."""
WORDS = (0, 1, 9)
"""Indices of the text columns; the others hold numbers."""


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a row, one for each of `COLUMNS`, as plain text on one line."""
    note = "; ".join(
        part for part in (row.left_out and f"left out: {row.left_out}", row.note) if part
    )
    name, modality, note = plain(row.name), row.modality.value, plain(note)
    metrics = row.validation
    if metrics is None:
        return (name, modality, *[NONE] * 7, note)
    low, high = metrics.weighted_f1_interval
    unsure = row.confidence is None and metrics.threshold_at_95 == NEVER
    return (
        name,
        modality,
        NONE if row.train is None else f"{row.train.weighted_f1:.3f}",
        f"{metrics.weighted_f1:.3f}",
        f"{low:.3f}–{high:.3f}",
        f"{metrics.macro_f1:.3f}",
        NONE if unsure else f"{metrics.coverage_at_95:.1%}",
        duration(row.seconds),
        NONE if row.per_second is None else rate(row.per_second),
        note,
    )


def markdown(table: MethodsTable) -> str:
    """A GitHub Markdown table, best first; the best of each modality in bold."""
    rows = []
    for row in (*table.ranked, *table.left_out):
        texts = [_escaped(text) for text in cells(row)]
        if table.is_best(row):
            texts[0], texts[3] = f"**{texts[0]}**", f"**{texts[3]}**"
        rows.append(texts)
    return "".join(f"{line}\n" for line in markdown_table(COLUMNS, rows, WORDS))


def lines(table: MethodsTable) -> list[str]:
    """Aligned lines for a terminal, best first; a star at the best of each modality."""
    rows = []
    for row in (*table.ranked, *table.left_out):
        name, *others = cells(row)
        rows.append([f"{name} *" if table.is_best(row) else name, *others])
    aligned = aligned_table(SHORT, rows, WORDS)
    return [*aligned, "F1 is weighted, on validation rows; * the best of its modality"]


def to_json(table: MethodsTable) -> dict[str, Any]:
    """JSON-compatible dict of all results but the curves, best method first.

    A row has, beside its own values, `best_of_modality` and `by_size`; `confused` holds the best
    method's confused pairs. Values that need predictions are None for a row without them.
    """
    best = next(iter(table.ranked), None)
    return {
        "about": dict(table.about),
        "best": best and best.name,
        "rows": [
            {
                **row.to_json(),
                "best_of_modality": table.is_best(row),
                "by_size": None
                if row.predicted is None
                else [asdict(one) for one in f1_by_size(row, table)],
            }
            for row in (*table.ranked, *table.left_out)
        ],
        "confused": None
        if best is None or best.predicted is None
        else [
            {
                **asdict(pair),
                "true": table.names[pair.true],
                "predicted": table.names[pair.predicted],
                "share": pair.share,
                "share_back": pair.share_back,
            }
            for pair in confused_pairs(best, table)
        ],
    }


def rate(per_second: float) -> str:
    """A rate with at least two digits, and commas between thousands."""
    return f"{per_second:,.0f}" if per_second >= 9.95 else f"{per_second:.2g}"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|&~$])", r"\\\1", text)
