"""A head's card: training data, metrics and limits in Markdown, after the Hub's front matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import PurePosixPath

from vitrina.classifier.calibrate import ReliabilityBin
from vitrina.classifier.metrics import Difference, Metrics
from vitrina.page.hub_card import (
    HubMetadata,
    HubMetric,
    HubResult,
    Library,
    classification_metrics,
    with_front_matter,
)
from vitrina.page.markdown import code, escaped
from vitrina.page.tables import markdown_table
from vitrina.pipelines.train.report import FEW, TrainReport, listed
from vitrina.types import Features, Modality

BAR = 20
"""Characters of a full bar in a reliability diagram."""
MOST_LISTED = 20
"""Most categories to name in a list."""


def model_card(
    report: TrainReport,
    spaces: Mapping[Modality, str],
    base_models: Sequence[str] = (),
    languages: Sequence[str] = (),
) -> str:
    """Write a head's card. spaces: the name of each modality's space. base_models: its encoders
    that are on the Hub. languages: of the products."""
    sections = [
        _title(report, spaces),
        _metrics(report),
        _promise(report),
        _calibration(report),
        _levels(report),
        _compared(report),
        _drift(report),
        _limits(report),
    ]
    body = "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"
    best = report.validation
    metadata = head_metadata(
        report.model,
        report.features,
        store=report.store,
        split=report.split,
        metrics=classification_metrics(best.weighted_f1, best.macro_f1, best.accuracy),
        base_models=base_models,
        languages=languages,
    )
    return with_front_matter(metadata, body)


def head_metadata(
    name: str,
    features: Features,
    *,
    store: str,
    split: str,
    metrics: tuple[HubMetric, ...],
    base_models: Sequence[str] = (),
    languages: Sequence[str] = (),
) -> HubMetadata:
    """Metadata of a head for the Hub. store: its place."""
    task = "image-classification" if features is Features.IMAGE else "text-classification"
    tasks = [f"{modality}-classification" for modality in features.modalities]
    return HubMetadata(
        name=name,
        library=Library.VITRINA,
        pipeline_tag=task,
        tags=("vitrina", "product-classification", *tasks),
        base_models=base_models,
        languages=languages,
        evaluation=HubResult(task, folder_name(store), f"validation ({split})", metrics),
    )


def folder_name(place: str) -> str:
    """The last part of a directory or a URL: the rest of it is nobody else's business."""
    return PurePosixPath(place).name


def _title(report: TrainReport, spaces: Mapping[Modality, str]) -> list[str]:
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in report.weights.items())
    return [
        f"# {escaped(report.model)}",
        "",
        f"A {report.head} head over {report.features} vectors of {report.classes} categories, "
        f"{report.fusion} fusion (weights: {weights}).",
        "",
        f"- store: {code(folder_name(report.store))}; vectors: "
        + ", ".join(f"{modality} from {code(name)}" for modality, name in spaces.items()),
        f"- split: {report.split}; {report.evaluated} products evaluated, {_evaluated_by(report)}; "
        "fusion weights, calibration and thresholds are cross-fitted: for each fifth of them on "
        "the other four",
    ]


def _evaluated_by(report: TrainReport) -> str:
    by = "which no head was trained on"
    if report.folds > 1:
        by = f"in {report.folds} folds, each by heads that were not trained on them"
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
    sentences = [*(one.line() for one in report.alone), report.baseline.line(report.evaluated)]
    for line in sentences:
        lines += ["", f"{line[0].upper()}{line[1:]}."]
    return lines


def _promise(report: TrainReport) -> list[str]:
    promised = report.acceptance
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


def _drift(report: TrainReport) -> list[str]:
    if report.drift is None or not (report.drift.added or report.drift.gone):
        return []
    lines = ["## Since it was trained last", ""]
    for title, some in (("New", report.drift.added), ("Gone", report.drift.gone)):
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
        f"- {report.singletons} of its categories have a single labelled product, which it was "
        "trained on.",
        f"- Not evaluated, so its quality for these is unknown: {report.unevaluated}.",
        "- Figures hold for products like those of this store.",
    ]
    if report.evaluated < FEW:
        lines.append(
            f"- Only {report.evaluated} products were evaluated: metrics of so few are unreliable."
        )
    if report.copied:
        lines.append(
            f"- {report.copied} of the {report.evaluated} evaluated products have a copy (the same "
            "title or photo) among the training products, which makes the metrics optimistic."
        )
    if report.seen:
        lines.append(
            f"- {report.seen} validation products were used to train an encoder, and are not "
            "evaluated."
        )
    return lines


def _f1(metrics: Metrics) -> str:
    return f"{metrics.weighted_f1:.4f}"


def _interval(metrics: Metrics) -> str:
    low, high = metrics.weighted_f1_interval
    return f"{low:.4f} to {high:.4f}"


def _difference(one: Difference) -> str:
    return f"{one.value:.4f} ({one.low:.4f} to {one.high:.4f})"


def _number(value: float) -> str:
    return "none" if isnan(value) else f"{value:.4f}"
