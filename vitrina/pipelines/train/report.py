"""What a training says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from vitrina.classifier.calibrate import ReliabilityBin
from vitrina.classifier.levels import LevelMetrics
from vitrina.classifier.metrics import Difference, Metrics
from vitrina.data.split import Unjudged
from vitrina.stage_timer import told
from vitrina.types import CategoryId, Features, FusionKind, HeadKind, Modality, SplitKind

LISTED = 5
"""Categories that are named."""
FEW = 50
"""Judged products below which figures say little."""


@dataclass(frozen=True)
class Compared:
    """A way of putting members together, on the judged rows. behind: how far it is behind the one
    that reaches most."""

    fusion: FusionKind
    metrics: Metrics
    error: float
    behind: Difference
    weights: Mapping[str, float]

    def line(self, taken: bool) -> str:
        """A line of the table."""
        gap = self.behind
        heard = " + ".join(f"{weight:.2f} {name}" for name, weight in self.weights.items())
        return (
            f"{self.fusion:<8}{self.metrics.weighted_f1:.4f}        {self.error:.4f}        "
            f"{gap.value:.4f} ({gap.low:.4f} to {gap.high:.4f})   {heard}"
            f"{'   <- taken' if taken else ''}"
        )


@dataclass(frozen=True)
class SingleModality:
    """One modality by its own head, on the judged rows. ahead: how far the model is ahead of it."""

    modality: Modality
    metrics: Metrics
    ahead: Difference

    def line(self) -> str:
        """How far the model is ahead, for a terminal, and what to do where it is not surely."""
        other = "photos" if self.modality is Modality.TEXT else "text"
        return _ahead(
            f"{self.modality} alone",
            self.ahead,
            f"`--features {self.modality}` does as well without {other}",
        )


@dataclass(frozen=True)
class BaselineScore:
    """A plain text classifier beside the model: what it has to beat, learnt in moments.

    learnt, judged: the rows that it learnt from at once, at most, and those that it was measured
    on: of many, samples. metrics, ahead: None where it is left out, and skipped says why; ahead is
    how far the model is ahead of it on the same rows.
    """

    learnt: int
    judged: int
    metrics: Metrics | None
    ahead: Difference | None
    seconds: float
    skipped: str = ""

    @classmethod
    def left_out(cls, why: str) -> BaselineScore:
        """Where there is none."""
        return cls(0, 0, None, None, 0.0, why)

    def line(self, judged: int) -> str:
        """A line with its figure, and how far the model is ahead. judged: all rows that were."""
        if self.metrics is None or self.ahead is None:
            return f"no TF-IDF baseline: {self.skipped}"
        sample = "" if self.judged == judged else f", on a sample of {self.judged} of the rows"
        return _ahead(
            f"TF-IDF (naive Bayes over words, from {self.learnt} texts{sample})",
            self.ahead,
            "a plain text model does as well",
        )


def _ahead(of: str, gap: Difference, way_out: str) -> str:
    """How far the model is ahead of something simpler, and what that means where it is not."""
    spread = f"{gap.value:.4f} ({gap.low:.4f} to {gap.high:.4f})"
    if gap.low > 0:
        return f"ahead of {of} by {spread}"
    if gap.high < 0:
        return f"surely worse than {of}: ahead by {spread}; {way_out}"
    return f"not surely better than {of}: ahead by {spread}, no more than chance; {way_out}"


@dataclass(frozen=True)
class CategoryCount:
    """A category with how many labelled products it has."""

    category_id: CategoryId
    name: str
    rows: int


@dataclass(frozen=True)
class CategoryDrift:
    """What has changed since a head of this name was trained: categories that are new to it, and
    those that have no product any more."""

    added: tuple[CategoryCount, ...]
    gone: tuple[CategoryCount, ...]

    def lines(self) -> list[str]:
        """What has changed, for a terminal."""
        return [
            f"{len(some)} categories are {title} since it was trained: {listed(some, LISTED)}"
            for title, some in (("new", self.added), ("gone", self.gone))
            if some
        ]


def listed(some: Sequence[CategoryCount], most: int) -> str:
    """The largest of some categories, with their rows."""
    largest = sorted(some, key=lambda one: -one.rows)[:most]
    told = ", ".join(f"{one.name or one.category_id} ({one.rows})" for one in largest)
    return told + (", ..." if len(some) > most else "")


@dataclass(frozen=True)
class Promised:
    """What may be let through at a promised precision.

    precision: the promise. coverage, reached: of the categories themselves: the share of rows, and
    the precision among them, NaN for none. with_ancestors, reached_with: with ancestors of them.
    """

    precision: float
    coverage: float
    reached: float
    with_ancestors: float
    reached_with: float

    def lines(self) -> list[str]:
        """What is promised, for a terminal."""
        if not self.with_ancestors:
            return [f"nothing could be accepted at a precision of {self.precision:g}"]
        lines = []
        if self.coverage:
            lines.append(
                f"accepted at a promised precision of {self.precision:g}: {self.coverage:.3f} of "
                f"products, {self.reached:.3f} of them right"
            )
        if self.with_ancestors > self.coverage:
            lines.append(
                f"with ancestors of unsure categories: {self.with_ancestors:.3f}, "
                f"{self.reached_with:.3f} right"
            )
        return lines


@dataclass(frozen=True)
class TrainReport:
    """What a model reaches. `train`, `validation` and all that is measured with it, and `vote`, are
    of heads that never saw a validation row, put together by numbers that other validation rows
    chose; `vote` is the neighbours' among training rows alone, by the default rule.

    Attributes:
        unjudged: categories that none of this tells of.
        copied: judged rows of which heads learnt from a copy, by which all of this is flattered; 0
            in a grouped split.
        seen: validation rows that an encoder learnt from, which are not judged; 0 where it was
            fine-tuned with the same split and seed.
        judged: rows that all this was measured on: of very many validation rows, a sample; where
            these are few, the other labelled rows too.
        turns: in which they were judged, each by heads that had not learnt from them.
        fusion, weights: how members are put together, and how much each is heard of products that
            lack nothing.
        scales: what the fused head's blocks of inputs are multiplied by.
        calibration_error, calibration_error_before: expected, with and without calibration.
        calibration_error_by_chance: what so many perfectly calibrated predictions would show.
        bins, bins_before: the reliability diagrams of both.
        levels, hierarchical_f1: in the tree of categories.
        promised: what may be let through.
        compared: other ways of fusion, where asked for.
        alone: modalities by themselves, of several.
        baseline: a plain text classifier beside them.
        lone: categories with one labelled product.
        since: None where no head of this name was there.
        stages: seconds of the run by stage, all in all `seconds`.
    """

    store: str
    model: str
    features: Features
    head: HeadKind
    split: SplitKind
    unjudged: Unjudged
    copied: int
    seen: int
    judged: int
    turns: int
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
    promised: Promised
    compared: tuple[Compared, ...]
    alone: tuple[SingleModality, ...]
    baseline: BaselineScore
    lone: int
    since: CategoryDrift | None
    stages: Mapping[str, float]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As `model.json` and `--json` hold it."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    @property
    def _how_judged(self) -> str:
        if self.turns == 1:
            return "to validate"
        return f"judged in {self.turns} turns by heads that had not learnt from them"

    def lines(self) -> list[str]:
        """The report for a terminal."""
        lines = ["              weighted F1   macro F1   coverage at 95% precision"]
        named = [("train", self.train), ("validation", self.validation), ("vote", self.vote)]
        named += [(f"{one.modality} alone", one.metrics) for one in self.alone]
        if self.baseline.metrics is not None:
            named.append(("TF-IDF", self.baseline.metrics))
        for name, one in named:
            covered = f"     {one.coverage_at_95:.3f}" if one.coverage_at_95 else ""
            lines.append(f"{name:<14}{one.weighted_f1:.4f}        {one.macro_f1:.4f}{covered}")
        low, high = self.validation.weighted_f1_interval
        lines.append(
            f"split: {self.split}, measured on {self.train.rows} rows trained on and {self.judged} "
            f"{self._how_judged}; 95% interval of validation {low:.4f} to {high:.4f}"
        )
        if self.compared:
            lines += ["", "fusion  weighted F1   calibration   behind the best (95% interval)"]
            lines += [one.line(one.fusion is self.fusion) for one in self.compared]
            lines.append("")
        lines += [one.line() for one in self.alone]
        lines.append(self.baseline.line(self.judged))
        if self.unjudged.categories:
            lines.append(f"not judged, for want of products to spare: {self.unjudged}")
        if self.judged < FEW:
            lines.append(f"only {self.judged} products were judged: figures of so few say little")
        if self.copied:
            lines.append(
                f"{self.copied} of the {self.judged} judged products have a copy (the same title "
                "or photo) that heads learnt from, which flatters all of this; `--split grouped` "
                "keeps copies together"
            )
        if self.seen:
            lines.append(
                f"{self.seen} validation products were learnt from by an encoder and are not "
                "judged; with the --split and --seed that it was fine-tuned with, all are"
            )
        lines.append(
            f"calibration: expected error {self.calibration_error_before:.3f} before, "
            f"{self.calibration_error:.3f} after; "
            f"{self.calibration_error_by_chance:.3f} is what chance makes of a perfect one"
        )
        lines += self.promised.lines()
        if self.since is not None:
            lines += self.since.lines()
        lines.append(f"time: {told(self.stages)}")
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
