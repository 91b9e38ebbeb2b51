"""The report of a benchmark: one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vitrina.page.charts import Axis, interval
from vitrina.page.document import opening
from vitrina.page.markup import element, facts, scrolling, section, text
from vitrina.pipelines.benchmark.rows import MethodsTable, Row
from vitrina.pipelines.benchmark.sections import confused, coverage, rare, training
from vitrina.pipelines.benchmark.style import SCRIPT, style
from vitrina.pipelines.benchmark.text import COLUMNS, NONE, WORDS, cells
from vitrina.types import Features

FACTS = {
    "products": "Products in the catalogue",
    "categories": "Categories",
    "train_rows": "Products to train on",
    "held_rows": "Products to stop and blend by",
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
METRICS = (
    "F1 is scikit-learn's. Weighted F1 counts each category by its products, macro F1 counts all "
    "categories alike. The interval is a 95% bootstrap over validation products. Coverage is the "
    "largest share of products, surest first, that could be accepted with 95% of them right."
)


def page(table: MethodsTable, chosen: Sequence[str] = ()) -> str:
    """The whole page, as HTML; it depends on nothing but the arguments.

    chosen: names of the methods whose F1 is shown by category size; by default the best of each
    modality and then the best of the others. Raises ValueError for an unknown name.
    """
    title = "How well each method finds a product’s category"
    store = table.about.get("store")
    named = f" · {store}" if store else ""
    sections = [
        _headline(table),
        _methods(table),
        training(table),
        rare(table, chosen),
        confused(table),
        coverage(table),
    ]
    parts = [
        opening(f"Vitrina benchmark{named}", style(), SCRIPT),
        f'<main><header><p class="eyebrow">{text(f"Vitrina benchmark{named}")}</p>',
        f'<h1>{title}</h1><p class="lead">{_lead(table)}</p></header>',
        *sections,
        "<footer><p>Made by <code>vitrina benchmark</code>. All that is shown was measured on the "
        "validation products, unless it says otherwise.</p></footer>",
        f"</main><script>{SCRIPT}</script></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _lead(table: MethodsTable) -> str:
    run = len(table.ranked)
    methods = "one method" if run == 1 else f"{run} methods"
    train_rows = table.about.get("train_rows")
    rows = f"measured on {len(table.true):,} products"
    if isinstance(train_rows, int):
        rows = f"trained on {train_rows:,} products, {rows}"
    return (
        f"{methods.capitalize()}, one catalogue, one split: {rows} in {_used(table):,} categories."
    )


def _used(table: MethodsTable) -> int:
    return len(set(table.true.tolist()))


def _headline(table: MethodsTable) -> str:
    tiles: list[str] = []
    for modality, row in table.best.items():
        metrics = row.validation
        if metrics is None:
            continue
        low, high = metrics.weighted_f1_interval
        first = not tiles
        what = f"Best {'method, ' if first else ''}on {KINDS[modality]}"
        covered = ""
        if first and row.confidence is not None:
            covered = (
                f". {metrics.coverage_at_95:.0%} of products could be accepted unseen with 95% "
                "of them right"
            )
        tiles.append(
            f'<li class="card tile{" first" if first else ""}"><p class="what">{what}</p>'
            f'<p class="name">{text(row.name)}</p><p class="score">{metrics.weighted_f1:.3f}</p>'
            f'<p class="more">weighted F1, 95% interval '
            f'<span class="whole">{low:.3f}–{high:.3f}</span>{covered}.</p></li>'
        )
    best = f'<ul class="tiles">{"".join(tiles)}</ul>' if tiles else "<p>No method was run.</p>"
    return section("short", "In short", best + _facts(table.about))


def _facts(about: Mapping[str, Any]) -> str:
    known = [(key, label) for key, label in FACTS.items() if key in about]
    others = [(key, key.capitalize()) for key in about if key not in FACTS.keys() | UNTOLD]
    return facts(
        (label, _formatted(about[key], apart=key != "seed")) for key, label in (*known, *others)
    )


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


def _methods(table: MethodsTable) -> str:
    """The table; a heading's `data-first` is the order that its first click sorts by."""
    heads = [
        element(
            "th",
            text(column[0].upper() + column[1:]),
            scope="col",
            class_="words" if at in WORDS else None,
            data_first="ascending" if at in WORDS else "descending",
            aria_sort="descending" if column == "validation weighted F1" else None,
        )
        for at, column in enumerate(COLUMNS)
    ]
    spans = [row.validation.weighted_f1_interval for row in table.ranked if row.validation]
    axis = None
    if spans:
        axis = Axis(min(low for low, _ in spans), max(high for _, high in spans), ())
    bodies = [[_row(table, row, axis) for row in rows] for rows in (table.ranked, table.left_out)]
    inside = (
        f"<caption><span>{METRICS}</span></caption><thead><tr>{''.join(heads)}</tr></thead>"
        + "".join(f"<tbody>{''.join(rows)}</tbody>" for rows in bodies if rows)
    )
    body = scrolling("All methods", element("table", inside, class_="sortable"))
    hint = "Best first; a click on a heading sorts by it."
    return section("methods", "All methods", body, hint)


def _row(table: MethodsTable, row: Row, axis: Axis | None) -> str:
    texts, keys, best = [text(cell) for cell in cells(row)], _keys(row), table.is_best(row)
    if best:
        texts[0] += f'<br/><span class="tag">best on {KINDS[row.modality]}</span>'
    if row.validation and axis:
        low, high = row.validation.weighted_f1_interval
        texts[4] += interval(low, row.validation.weighted_f1, high, axis)
    inside = [element("th", texts[0], scope="row", data_key=keys[0])]
    kinds = {1: "words", 3: "best" if best else None, 9: "words note"}
    inside += [
        element("td", texts[at], class_=kinds.get(at), data_key=keys[at])
        for at in range(1, len(texts))
    ]
    state = "out" if row.left_out else "best" if best else None
    return element("tr", "".join(inside), class_=state)


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
