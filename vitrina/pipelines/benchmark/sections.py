"""Sections of a benchmark's page below its table: training, sizes, confusions, coverage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from vitrina.page.charts import legend
from vitrina.page.markup import category, element, scrolling, section, text
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
from vitrina.pipelines.benchmark.text import NONE

CHOSEN = 6
"""Methods whose F1 is shown by size by default."""


def training(table: MethodsTable) -> str:
    """Score and loss by epoch, one small chart for each method that has a history."""
    shown = [(number, row) for number, row in enumerate(table.ranked) if row.history]
    if not shown:
        return section("training", "Training", "<p>No method here was trained in epochs.</p>")
    scores = score_axis([row for _, row in shown])
    cards = []
    for number, row in shown:
        charts = "".join(training_charts(row, number, scores))
        cards.append(
            f'<article class="card multiple"><h3>{text(row.name)}</h3><p>{_best(row)}</p>'
            f"{charts}</article>"
        )
    hint = (
        "The score on validation products after each epoch, on one scale for all methods, and the "
        "mean training loss, on a scale of its own for each."
    )
    return section("training", "Training", f'<div class="multiples">{"".join(cards)}</div>', hint)


def rare(table: MethodsTable, chosen: Sequence[str]) -> str:
    """F1 by the training rows of a category: a chart, and the table behind it."""
    title = "Rare and common categories"
    shown = [(number, row, f1_by_size(row, table)) for number, row in _chosen(table, chosen)]
    if not shown or not shown[0][2]:
        return section("sizes", title, "<p>No predictions were kept.</p>")
    lines, bins = size_lines(shown), shown[0][2]
    body = (
        f'<figure class="card">{size_chart(lines, bins)}{legend(lines)}</figure>'
        f"{scrolling(title, _sizes(bins, shown))}"
    )
    hint = (
        "How each method fares on categories with few examples and with many: the mean F1 over "
        "the categories that have as many training products."
    )
    return section("sizes", title, body, hint)


def confused(table: MethodsTable) -> str:
    """The pairs of categories that the best method confuses."""
    title = "Most confused categories"
    best = next((row for row in table.ranked if row.predicted is not None), None)
    if best is None or best.predicted is None:
        return section("confused", title, "<p>No predictions were kept.</p>")
    pairs = confused_pairs(best, table)
    wrong = int(np.count_nonzero(best.predicted != table.true))
    if not pairs:
        return section("confused", title, f"<p>{text(best.name)} confuses none.</p>")
    confused_rows = sum(pair.count + pair.back for pair in pairs)
    hint = (
        f"Of {text(best.name)}: {len(pairs)} pair{'s' if len(pairs) > 1 else ''} of categories "
        f"hold{'' if len(pairs) > 1 else 's'} {confused_rows:,} of its {wrong:,} wrong predictions "
        f"({confused_rows / wrong:.0%}). Both directions of a pair stand in one row."
    )
    heads = (
        '<th scope="col">#</th><th scope="col" class="words">Products of</th>'
        '<th scope="col" class="words">taken for</th><th scope="col">Confused in all</th>'
        '<th scope="col">This way</th><th scope="col">of all its products</th>'
        '<th scope="col">The other way</th><th scope="col">of all its products</th>'
    )
    rows = "".join(_pair(at, pair, table) for at, pair in enumerate(pairs, start=1))
    inside = (
        "<caption><span>Pairs of categories by the validation products confused between "
        f"them.</span></caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>"
    )
    body = scrolling(title, f'<table class="pairs">{inside}</table>')
    return section("confused", title, body, hint)


def coverage(table: MethodsTable) -> str:
    """Precision against coverage, for every method with confidences."""
    title = "What could be accepted unseen"
    shown = [
        (number, row, coverage_curve(row, table))
        for number, row in enumerate(table.ranked)
        if row.confidence is not None and len(table.true)
    ]
    if not shown:
        return section("coverage", title, "<p>No method says how sure it is.</p>")
    lines = coverage_lines(shown, len(table.true))
    hint = (
        "If the surest predictions went straight in and the rest to a person: how many of those "
        "accepted would be right. The dotted line is 95%; the further right a curve crosses it, "
        "the less is left to do by hand."
    )
    body = f'<figure class="card">{coverage_chart(lines)}{legend(lines)}</figure>'
    return section("coverage", title, body, hint)


def _best(row: Row) -> str:
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


def _sizes(bins: Sequence[SizeBin], shown: Sequence[tuple[int, Row, tuple[SizeBin, ...]]]) -> str:
    heads = "".join(f'<th scope="col">{text(row.name)}</th>' for _, row, _ in shown)
    rows = []
    for at, one in enumerate(bins):
        scores = [by_size[at].f1 for _, _, by_size in shown]
        best = f"{max(scores):.3f}"
        values = "".join(
            element("td", f"{score:.3f}", class_="best" if f"{score:.3f}" == best else None)
            for score in scores
        )
        rows.append(
            f'<tr><th scope="row">{one.label}</th><td>{one.categories:,}</td>'
            f"<td>{one.rows:,}</td>{values}</tr>"
        )
    return (
        '<table class="sizes"><caption><span>Mean F1 of the categories by how many training '
        "products they have; only categories with a validation product count. The best of each "
        "line is in bold.</span></caption>"
        f'<thead><tr><th scope="col">Training products</th><th scope="col">Categories</th>'
        f'<th scope="col">Validation products</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _pair(at: int, pair: ConfusedPair, table: MethodsTable) -> str:
    back = f"{pair.share_back:.0%} of {pair.predicted_rows:,}" if pair.predicted_rows else NONE
    words = (category(table.names[pair.true]), category(table.names[pair.predicted]))
    numbers = (
        f"{pair.count + pair.back:,}",
        f"{pair.count:,}",
        f"{pair.share:.0%} of {pair.true_rows:,}",
        f"{pair.back:,}",
        back,
    )
    cells = [element("th", f"{at}", scope="row")]
    cells += [element("td", path, class_="words") for path in words]
    cells += [element("td", number) for number in numbers]
    return element("tr", "".join(cells))
