"""Report of a vote evaluation, as JSON and as lines for a terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vitrina.classifier.metrics import NEVER, Metrics
from vitrina.index.vote import DEFAULT_RULE, PRIORS, VoteRule
from vitrina.page.summary import Summarised, Summary, counted
from vitrina.page.tables import aligned_table
from vitrina.types import CategoryId, VoteKind

WORST = 10
"""Categories to list on a terminal, by their loss."""
LEAF = 28
"""Characters of a category's name on a terminal."""


@dataclass(frozen=True)
class CategoryScore:
    """Metrics of one category.

    Attributes:
        rows: its reported rows; 0 if it was only predicted.
        confused_with, confused_name, confused_rows: the most frequent wrong prediction for its
            rows, and its number; None and 0 if there is none.
    """

    category_id: CategoryId
    category_name: str
    rows: int
    precision: float
    recall: float
    f1: float
    confused_with: CategoryId | None
    confused_name: str | None
    confused_rows: int

    @property
    def lost(self) -> float:
        """Its share of the loss of weighted F1, in rows: rows * (1 - F1)."""
        return self.rows * (1 - self.f1)


@dataclass(frozen=True)
class CurvePoint:
    """coverage: the largest share of rows, most confident first, accepted at this precision.
    threshold: the minimum share of the vote of these rows; `NEVER` for none."""

    precision: float
    coverage: float
    threshold: float


@dataclass(frozen=True)
class SizeBucket:
    """The categories with `smallest` to `largest` rows in the index; None for no end.

    categories, rows: those among the reported rows. weighted_f1: of these categories, weighted by
    their rows. accuracy: the share of these rows that is correct. accuracy_by_prior: the same with
    each prior of `PRIORS` in the rule.
    """

    smallest: int
    largest: int | None
    categories: int
    rows: int
    weighted_f1: float
    accuracy: float
    accuracy_by_prior: tuple[float, ...]


@dataclass(frozen=True, repr=False)
class VoteEvaluation(Summarised):
    """Evaluation of the vote on rows that its rule was not chosen on.

    Attributes:
        rule: chosen on `chosen_on` rows, none of which is reported on.
        metrics, default_metrics: of the rule, and of `DEFAULT_RULE` on the same rows.
        by_category: the categories that appear, in truth or prediction, by code.
        curve: at each precision of `evaluate.PERCENTS`.
        by_size: the buckets that hold a reported row, smallest first.
    """

    rule: VoteRule
    chosen_on: int
    metrics: Metrics
    default_metrics: Metrics
    by_category: tuple[CategoryScore, ...]
    curve: tuple[CurvePoint, ...]
    by_size: tuple[SizeBucket, ...]

    def summary(self) -> Summary:
        """Metrics of the rule."""
        facts = [
            ("weighted F1", f"{self.metrics.weighted_f1:.4f}"),
            ("macro F1", f"{self.metrics.macro_f1:.4f}"),
            ("the default's weighted F1", f"{self.default_metrics.weighted_f1:.4f}"),
            ("chosen on", counted(self.chosen_on, "row")),
        ]
        return Summary(f"Vote: {rule_line(self.rule)}", facts)

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible dict."""
        plain = asdict(self)
        for name in ("rule", "metrics", "default_metrics"):
            plain[name] = getattr(self, name).to_json()
        for name in ("by_category", "curve", "by_size"):
            plain[name] = list(plain[name])
        for bucket in plain["by_size"]:
            by_prior = zip(map(str, PRIORS), bucket["accuracy_by_prior"], strict=True)
            bucket["accuracy_by_prior"] = dict(by_prior)
        return plain


def format_evaluation(evaluation: VoteEvaluation) -> list[str]:
    """The evaluation as lines for a terminal."""
    rules = (
        (rule_line(evaluation.rule), evaluation.metrics),
        (f"default: {rule_line(DEFAULT_RULE)}", evaluation.default_metrics),
    )
    worst = sorted(evaluation.by_category, key=lambda score: -score.lost)[:WORST]
    return [
        *aligned_table(
            ["vote", "weighted F1", "95% interval", "macro F1", "accuracy"],
            [_rule_row(name, metrics) for name, metrics in rules],
            words={0},
        ),
        f"{evaluation.metrics.rows} rows, each without itself; the rule was chosen on "
        f"{evaluation.chosen_on} others",
        "",
        *aligned_table(
            ["precision", "rows accepted", "from a vote's share of"],
            [_point_row(point) for point in evaluation.curve],
            words=(),
        ),
        "",
        *aligned_table(
            ["category of", "categories", "rows", "weighted F1", "accuracy"]
            + [f"prior {prior:g}" for prior in PRIORS],
            [_bucket_row(bucket) for bucket in evaluation.by_size],
            words={0},
        ),
        "",
        *aligned_table(
            ["loses most", "rows", "precision", "recall", "F1", "most often predicted as"],
            [_category_row(score) for score in worst],
            words={0, 5},
        ),
    ]


def _rule_row(name: str, metrics: Metrics) -> list[str]:
    low, high = metrics.weighted_f1_interval
    figures = (metrics.weighted_f1, metrics.macro_f1, metrics.accuracy)
    weighted, macro, accuracy = (f"{figure:.4f}" for figure in figures)
    return [name, weighted, f"{low:.4f} to {high:.4f}", macro, accuracy]


def _point_row(point: CurvePoint) -> list[str]:
    threshold = f"{point.threshold:.4f}" if point.threshold < NEVER else "none"
    return [f"{point.precision:.0%}", f"{point.coverage:.1%}", threshold]


def _bucket_row(bucket: SizeBucket) -> list[str]:
    figures = (bucket.weighted_f1, bucket.accuracy, *bucket.accuracy_by_prior)
    counts = (bucket.categories, bucket.rows)
    return [_range(bucket), *map(str, counts), *(f"{figure:.3f}" for figure in figures)]


def _category_row(score: CategoryScore) -> list[str]:
    taken = score.confused_with
    return [
        _leaf(score.category_name, score.category_id),
        str(score.rows),
        *(f"{figure:.3f}" for figure in (score.precision, score.recall, score.f1)),
        "" if taken is None else _leaf(score.confused_name or "", taken),
    ]


def rule_line(rule: VoteRule) -> str:
    """A rule as words: "similarity, 10 nearest, prior 0.5"."""
    kind = f"{rule.kind} {rule.temperature:g}" if rule.kind is VoteKind.SOFTMAX else f"{rule.kind}"
    return f"{kind}, {rule.k} nearest" + (f", prior {rule.prior:g}" if rule.prior else "")


def _range(bucket: SizeBucket) -> str:
    if bucket.largest == bucket.smallest:
        return f"{bucket.smallest} row"
    return f"{bucket.smallest}{f'-{bucket.largest}' if bucket.largest else '+'} rows"


def _leaf(name: str, category: CategoryId) -> str:
    leaf = name.rsplit("->", 1)[-1].strip() or str(category)
    return leaf if len(leaf) <= LEAF else leaf[: LEAF - 1] + "…"
