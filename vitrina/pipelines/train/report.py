"""Training report: metrics, comparisons and category drift, as JSON and as terminal lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from vitrina.classifier.calibrate import ReliabilityBin
from vitrina.classifier.card import AGAIN
from vitrina.classifier.error_analysis import Confusion, CoveragePoint
from vitrina.classifier.levels import LevelMetrics
from vitrina.classifier.metrics import Difference, Metrics, metrics_table
from vitrina.data.split import Unevaluated
from vitrina.page.summary import Summarised, Summary
from vitrina.page.tables import aligned_table
from vitrina.page.words import duration
from vitrina.pipelines.train.acceptance import Promised
from vitrina.pipelines.train.report_plots import TrainPlots
from vitrina.stage_timer import stages_line
from vitrina.typed_json import convert_json, renamed
from vitrina.types import CategoryId, Features, FusionKind, HeadKind, Modality, SplitKind

LISTED = 5
"""Most categories to name in a list."""
KEYS = {
    "unevaluated": "unjudged",
    "evaluated": "judged",
    "folds": "turns",
    "acceptance": "promised",
    "singletons": "lone",
    "drift": "since",
}
"""Keys of attributes in JSON, where they differ: the format of `model.json` is older."""
BASELINE_KEYS = {"train_rows": "learnt", "evaluated": "judged"}
"""Keys of a baseline's attributes in JSON, where they differ."""
COMPARISON = (
    "fusion",
    "weighted F1",
    "calibration error",
    "behind the best (95% interval)",
    "weights",
    "",
)
"""Columns of the comparison of kinds of fusion, for a terminal."""
FEW = 50
"""Evaluation rows below which the metrics are unreliable."""


@dataclass(frozen=True)
class Compared:
    """One kind of fusion on the evaluation rows. behind: its difference to the best one. weights:
    of the base models."""

    fusion: FusionKind
    metrics: Metrics
    error: float
    behind: Difference
    weights: Mapping[str, float]

    def cells(self, taken: bool) -> tuple[str, ...]:
        """The row of the comparison table. taken: whether this fusion was chosen."""
        gap = self.behind
        return (
            self.fusion,
            f"{self.metrics.weighted_f1:.4f}",
            f"{self.error:.4f}",
            f"{gap.value:.4f} ({gap.low:.4f} to {gap.high:.4f})",
            " + ".join(f"{weight:.2f} {name}" for name, weight in self.weights.items()),
            "taken" if taken else "",
        )


@dataclass(frozen=True)
class SingleModality:
    """A head over one modality on the evaluation rows. ahead: the model's lead over it."""

    modality: Modality
    metrics: Metrics
    ahead: Difference

    def line(self) -> str:
        """The model's lead, for a terminal, with advice if it is not significant."""
        other = "photos" if self.modality is Modality.TEXT else "text"
        return _ahead(
            f"{self.modality} alone",
            self.ahead,
            f"`--features {self.modality}` does as well without {other}",
        )


@dataclass(frozen=True)
class BaselineScore:
    """A text baseline for comparison.

    train_rows: of its largest fold. evaluated: rows that it was evaluated on. Both are samples
    of many rows. metrics, ahead: None if there is no baseline; skipped is the reason. ahead: the
    model's lead over it on the same rows. seconds: of training and prediction.
    """

    train_rows: int
    evaluated: int
    metrics: Metrics | None
    ahead: Difference | None
    seconds: float
    skipped: str = ""

    @classmethod
    def left_out(cls, why: str) -> BaselineScore:
        """A record without a baseline. why: the reason."""
        return cls(0, 0, None, None, 0.0, why)

    def line(self, rows: int) -> str:
        """The model's lead, for a terminal. rows: all evaluation rows."""
        if self.metrics is None or self.ahead is None:
            return f"no TF-IDF baseline: {self.skipped}"
        sample = "" if self.evaluated == rows else f", on a sample of {self.evaluated} of the rows"
        return _ahead(
            f"TF-IDF (naive Bayes over words, from {self.train_rows} texts{sample})",
            self.ahead,
            "a plain text model does as well",
        )


def _ahead(of: str, gap: Difference, way_out: str) -> str:
    """The model's lead over a simpler one, `of`, with advice if it is not significant."""
    spread = f"{gap.value:.4f} ({gap.low:.4f} to {gap.high:.4f})"
    if gap.low > 0:
        return f"ahead of {of} by {spread}"
    if gap.high < 0:
        return f"surely worse than {of}: ahead by {spread}; {way_out}"
    return f"not significantly better than {of}: ahead by {spread}; {way_out}"


@dataclass(frozen=True)
class CategoryCount:
    """A category with its number of labelled products."""

    category_id: CategoryId
    name: str
    rows: int


@dataclass(frozen=True)
class CategoryDrift:
    """Categories added since a head of this name was trained, and those that no product has now."""

    added: tuple[CategoryCount, ...]
    gone: tuple[CategoryCount, ...]

    def lines(self) -> list[str]:
        """The changes, for a terminal."""
        return [
            f"{len(some)} categories are {title} since it was trained: {listed(some, LISTED)}"
            for title, some in (("new", self.added), ("gone", self.gone))
            if some
        ]


def listed(some: Sequence[CategoryCount], most: int) -> str:
    """The largest categories with their rows, `most` at most, as text."""
    largest = sorted(some, key=lambda one: -one.rows)[:most]
    names = ", ".join(f"{one.name or one.category_id} ({one.rows})" for one in largest)
    return names + (", ..." if len(some) > most else "")


@dataclass(frozen=True, repr=False)
class TrainReport(Summarised, TrainPlots):
    """Metrics of a trained model.

    All metrics come from heads that were not trained on the evaluation rows, with blend weights and
    thresholds fitted on other evaluation rows. `vote` is the neighbours' vote over training rows by
    the default rule.

    Attributes:
        unevaluated: categories without an evaluation row.
        copied: evaluation rows with a copy among the train rows of their fold, which makes the
            metrics optimistic; 0 in a grouped split.
        seen: validation rows left out because an encoder was trained on them; 0 if it was
            fine-tuned with the same split and seed.
        evaluated: number of evaluation rows: a sample of very many validation rows; of few, the
            other labelled rows too.
        folds: number of folds.
        fusion, weights: the fusion, and the weights of the base models for products with all
            modalities.
        scales: factors of the fused head's blocks of inputs.
        calibration_error, calibration_error_before: expected, with and without calibration.
        calibration_error_by_chance: of as many perfectly calibrated predictions.
        train, validation, vote: on training rows; of the model and of the vote on evaluation rows.
        bins, bins_before: the reliability diagrams with and without calibration.
        levels, hierarchical_f1: in the tree of categories.
        acceptance: accepted predictions.
        compared: all kinds of fusion, with `--compare`.
        alone: heads over one modality, if there are several.
        baseline: a text classifier for comparison.
        singletons: number of categories with one labelled product.
        drift: category drift, None if the store has no head of this name.
        stages: seconds of the run by stage. seconds: of the whole run.
        confusions: the most confused pairs of categories, on evaluation rows.
        coverage: precision against coverage on evaluation rows.
    """

    store: str
    model: str
    features: Features
    head: HeadKind
    split: SplitKind
    unevaluated: Unevaluated
    copied: int
    seen: int
    evaluated: int
    folds: int
    classes: int
    fusion: FusionKind
    weights: Mapping[str, float]
    scales: tuple[float, ...]
    calibration_error: float
    calibration_error_before: float
    calibration_error_by_chance: float
    bins: tuple[ReliabilityBin, ...]
    bins_before: tuple[ReliabilityBin, ...]
    train: Metrics
    validation: Metrics
    vote: Metrics
    levels: tuple[LevelMetrics, ...]
    hierarchical_f1: float
    acceptance: Promised
    compared: tuple[Compared, ...]
    alone: tuple[SingleModality, ...]
    baseline: BaselineScore
    singletons: int
    drift: CategoryDrift | None
    stages: Mapping[str, float]
    seconds: float
    confusions: tuple[Confusion, ...] = ()
    coverage: tuple[CoveragePoint, ...] = ()

    def measured(self) -> list[tuple[str, Metrics]]:
        """Metrics by name: of the head, the vote, single modalities and the baseline."""
        named = [("train", self.train), ("validation", self.validation), ("vote", self.vote)]
        named += [(f"{one.modality} alone", one.metrics) for one in self.alone]
        if self.baseline.metrics is not None:
            named.append(("TF-IDF", self.baseline.metrics))
        return named

    def summary(self) -> Summary:
        """Metrics by name, and what the predictions promise."""
        accepted = self.acceptance
        low, high = self.validation.weighted_f1_interval
        table = metrics_table(self.measured())
        facts = [
            ("head", f"{self.head} over {self.features}, {self.fusion} fusion"),
            ("categories", self.classes),
            ("split", f"{self.split}, {self.evaluated:,} products evaluated"),
            ("weighted F1, 95% interval", f"{low:.4f} to {high:.4f}"),
            (
                "accepted",
                f"{accepted.coverage:.1%} of products at a target precision of "
                f"{accepted.precision:g}; with ancestors {accepted.with_ancestors:.1%}",
            ),
            (
                "calibration error",
                f"{self.calibration_error:.3f}, {self.calibration_error_before:.3f} before",
            ),
            ("time", duration(self.seconds)),
        ]
        return Summary(f"Head {self.model} of {self.store}", facts, table)

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible dict, as in `model.json` and `--json`; NaN becomes None."""
        plain = renamed(_plain(asdict(self)), KEYS)
        return {**plain, "baseline": renamed(plain["baseline"], BASELINE_KEYS)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> TrainReport:
        """Read the output of `to_json`. where: its file. Raises StoreError for anything else."""
        value = renamed(value, {key: name for name, key in KEYS.items()})
        accepted, baseline = value.get("acceptance"), value.get("baseline")
        if isinstance(accepted, Mapping):
            nan = {name: math.nan for name, one in accepted.items() if one is None}
            value["acceptance"] = {**accepted, **nan}
        if isinstance(baseline, Mapping):
            names = {key: name for name, key in BASELINE_KEYS.items()}
            value["baseline"] = renamed(baseline, names)
        return convert_json(value, cls, where, AGAIN)

    @property
    def _how_evaluated(self) -> str:
        if self.folds == 1:
            return "to validate"
        return f"evaluated in {self.folds} folds by heads that were not trained on them"

    def lines(self) -> list[str]:
        """The report for a terminal."""
        metrics = [
            (
                name,
                f"{one.weighted_f1:.4f}",
                f"{one.macro_f1:.4f}",
                f"{one.coverage_at_95:.3f}" if one.coverage_at_95 else "",
            )
            for name, one in self.measured()
        ]
        lines = aligned_table(
            ("", "weighted F1", "macro F1", "coverage at 95% precision"), metrics, {0}
        )
        low, high = self.validation.weighted_f1_interval
        lines.append(
            f"split: {self.split}, measured on {self.train.rows} rows trained on and "
            f"{self.evaluated} {self._how_evaluated}; 95% interval of validation {low:.4f} to "
            f"{high:.4f}"
        )
        if self.compared:
            rows = [one.cells(one.fusion is self.fusion) for one in self.compared]
            lines += ["", *aligned_table(COMPARISON, rows, {0, 3, 4, 5}), ""]
        lines += [one.line() for one in self.alone]
        lines.append(self.baseline.line(self.evaluated))
        if self.unevaluated.categories:
            lines.append(f"not evaluated, too few products: {self.unevaluated}")
        if self.evaluated < FEW:
            lines.append(
                f"only {self.evaluated} products were evaluated: metrics of so few are unreliable"
            )
        if self.copied:
            lines.append(
                f"{self.copied} of the {self.evaluated} evaluated products have a copy (the same "
                "title or photo) among the training products, which makes the metrics optimistic; "
                "`--split grouped` keeps copies together"
            )
        if self.seen:
            lines.append(
                f"{self.seen} validation products were used to train an encoder and are not "
                "evaluated; with the --split and --seed that it was fine-tuned with, all are"
            )
        lines.append(
            f"calibration: expected error {self.calibration_error_before:.3f} before, "
            f"{self.calibration_error:.3f} after; "
            f"{self.calibration_error_by_chance:.3f} is what chance makes of a perfect one"
        )
        lines += self.acceptance.lines()
        if self.drift is not None:
            lines += self.drift.lines()
        lines.append(f"time: {stages_line(self.stages)}")
        lines.append(
            f"done: head {self.model}, {self.fusion} fusion, {self.classes} categories, "
            f"{self.seconds:.0f} s"
        )
        return lines


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and value != value:
        return None
    return value.value if isinstance(value, StrEnum) else value
