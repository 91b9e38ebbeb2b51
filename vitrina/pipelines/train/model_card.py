"""A model's card in Markdown: training data, metrics and limits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan

from vitrina.classifier.calibrate import ReliabilityBin
from vitrina.classifier.metrics import Difference, Metrics
from vitrina.page.tables import markdown_table
from vitrina.page.words import plain
from vitrina.pipelines.train.report import FEW, TrainReport, listed
from vitrina.types import Modality

BAR = 20
"""Characters of a full bar in a reliability diagram."""
MOST_LISTED = 20
"""Most categories to name in a list."""


def model_card(report: TrainReport, spaces: Mapping[Modality, str]) -> str:
    """Write a model's card in Markdown. spaces: the name of each modality's space."""
    sections = [
        _title(report, spaces),
        _metrics(report),
        _promise(report),
        _calibration(report),
        _levels(report),
        _compared(report),
        _since(report),
        _limits(report),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _title(report: TrainReport, spaces: Mapping[Modality, str]) -> list[str]:
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in report.weights.items())
    return [
        f"# {escaped(report.model)}",
        "",
        f"A {report.head} head over {report.features} vectors of {report.classes} categories, "
        f"{report.fusion} fusion (weights: {weights}).",
        "",
        f"- store: {code(report.store)}; vectors: "
        + ", ".join(f"{modality} from {code(name)}" for modality, name in spaces.items()),
        f"- split: {report.split}; {report.judged} products evaluated, {_judged_by(report)}; "
        "fusion weights, calibration and thresholds are cross-fitted: for each fifth of them on "
        "the other four",
    ]


def _judged_by(report: TrainReport) -> str:
    by = "which no head was trained on"
    if report.turns > 1:
        by = f"in {report.turns} folds, each by heads that were not trained on them"
    if report.copied:
        by += f" (but, of {report.copied}, from a copy)"
    return by


def _metrics(report: TrainReport) -> list[str]:
    rows = [("training rows", report.train), ("validation", report.validation)]
    rows.append(("vote of neighbours alone", report.vote))
    rows += [(f"{one.modality} alone", one.metrics) for one in report.alone]
    if report.baseline.metrics is not None:
        rows.append(("TF-IDF baseline", report.baseline.metrics))
    lines = ["## How good it is", ""]
    lines += markdown_table(
        ("", "weighted F1", "95% interval", "macro F1", "rows"),
        (
            (name, _f1(one), _interval(one), f"{one.macro_f1:.4f}", str(one.rows))
            for name, one in rows
        ),
    )
    sentences = [*(one.line() for one in report.alone), report.baseline.line(report.judged)]
    for line in sentences:
        lines += ["", f"{line[0].upper()}{line[1:]}."]
    return lines


def _promise(report: TrainReport) -> list[str]:
    promised = report.promised
    rows = [
        ("the category itself", promised.coverage, promised.reached),
        ("the category or an ancestor", promised.with_ancestors, promised.reached_with),
    ]
    return [
        "## Accepted predictions",
        "",
        f"The target precision of accepted predictions is {promised.precision:.2f}.",
        "",
        *markdown_table(
            ("", "share of products", "precision reached"),
            ((name, f"{share:.3f}", _number(reached)) for name, share, reached in rows),
        ),
    ]


def _calibration(report: TrainReport) -> list[str]:
    return [
        "## How far its confidence can be trusted",
        "",
        f"Expected calibration error {report.calibration_error:.4f} "
        f"({report.calibration_error_before:.4f} before calibration; "
        f"{report.calibration_error_by_chance:.4f} is what chance makes of a perfect "
        "one). Of products of about one confidence, so many were predicted right:",
        "",
        *_diagram(report.bins),
        "",
        "The same before calibration:",
        "",
        *_diagram(report.bins_before),
    ]


def _diagram(bins: Sequence[ReliabilityBin]) -> list[str]:
    rows = (
        (
            f"{one.confidence:.2f}",
            f"{one.accuracy:.2f}",
            f"`{'#' * round(BAR * one.accuracy):<{BAR}}`",
            str(one.rows),
        )
        for one in bins
    )
    return markdown_table(("mean confidence", "right", "", "products"), rows)


def _levels(report: TrainReport) -> list[str]:
    if len(report.levels) < 2:
        return []
    rows = (
        (str(one.level), str(one.nodes), f"{one.weighted_f1:.4f}", f"{one.accuracy:.4f}")
        for one in report.levels
    )
    return [
        "## In the tree of categories",
        "",
        *markdown_table(("level", "categories", "weighted F1", "accuracy"), rows),
        "",
        f"Hierarchical F1: {report.hierarchical_f1:.4f}.",
    ]


def _compared(report: TrainReport) -> list[str]:
    if not report.compared:
        return []
    rows = (
        (
            one.fusion + (" (taken)" if one.fusion is report.fusion else ""),
            _f1(one.metrics),
            _interval(one.metrics),
            f"{one.metrics.coverage_at_95:.3f}",
            f"{one.error:.4f}",
            _difference(one.behind),
        )
        for one in report.compared
    )
    head = ("fusion", "weighted F1", "95% interval", "coverage at 95%", "calibration", "behind")
    return ["## Ways of fusion", "", *markdown_table(head, rows)]


def _since(report: TrainReport) -> list[str]:
    if report.since is None or not (report.since.added or report.since.gone):
        return []
    lines = ["## Since it was trained last", ""]
    for title, some in (("New", report.since.added), ("Gone", report.since.gone)):
        if some:
            renamed = [replace(one, name=escaped(str(one.name or one.category_id))) for one in some]
            lines.append(f"- {title}: {len(some)} categories: {listed(renamed, MOST_LISTED)}")
    return lines


def _limits(report: TrainReport) -> list[str]:
    lines = [
        "## Limits",
        "",
        "- It predicts only the categories that it was trained on: a product of a new category "
        "gets another one until it is trained again.",
        f"- {report.lone} of its categories have a single labelled product, which it was trained "
        "on.",
        f"- Not evaluated, so its quality for these is unknown: {report.unjudged}.",
        "- Figures hold for products like those of this store.",
    ]
    if report.judged < FEW:
        lines.append(
            f"- Only {report.judged} products were evaluated: metrics of so few are unreliable."
        )
    if report.copied:
        lines.append(
            f"- {report.copied} of the {report.judged} evaluated products have a copy (the same "
            "title or photo) among the training products, which makes the metrics optimistic."
        )
    if report.seen:
        lines.append(
            f"- {report.seen} validation products were used to train an encoder, and are not "
            "evaluated."
        )
    return lines


def escaped(text: str) -> str:
    """Escape catalogue text for Markdown, on one line, so that it creates no markup, HTML, link or
    table cell."""
    one_line = re.sub(r"([\\`*_\[\]<&|~$!#])", r"\\\1", plain(text))
    # A bare URL becomes a link too.
    return re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)", r"\\\g<0>", one_line)


def code(text: str) -> str:
    """Text as a code span, fenced by more backticks than it contains."""
    one_line = plain(text)
    longest = max((len(run) for run in re.findall("`+", one_line)), default=0)
    fence, gap = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{gap}{one_line}{gap}{fence}"


def _f1(metrics: Metrics) -> str:
    return f"{metrics.weighted_f1:.4f}"


def _interval(metrics: Metrics) -> str:
    low, high = metrics.weighted_f1_interval
    return f"{low:.4f} to {high:.4f}"


def _difference(one: Difference) -> str:
    return f"{one.value:.4f} ({one.low:.4f} to {one.high:.4f})"


def _number(value: float) -> str:
    return "none" if isnan(value) else f"{value:.4f}"
