"""Report of a vote evaluation, as JSON and as lines for a terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vitrina.classifier.metrics import NEVER, Metrics
from vitrina.index.vote import DEFAULT_RULE, PRIORS, VoteRule
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


@dataclass(frozen=True)
class VoteEvaluation:
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
    rule = _words(evaluation.rule)
    default = f"default: {_words(DEFAULT_RULE)}"
    width = max(len(rule), len(default)) + 2
    lines = [f"{'vote':<{width}}weighted F1                 macro F1   accuracy"]
    for label, metrics in ((rule, evaluation.metrics), (default, evaluation.default_metrics)):
        low, high = metrics.weighted_f1_interval
        lines.append(
            f"{label:<{width}}{metrics.weighted_f1:.4f} ({low:.4f} to {high:.4f})   "
            f"{metrics.macro_f1:.4f}     {metrics.accuracy:.4f}"
        )
    lines.append(
        f"{evaluation.metrics.rows} rows, each without itself; the rule was chosen on "
        f"{evaluation.chosen_on} others"
    )
    lines += ["", "precision  rows accepted  from a vote's share of"]
    for point in evaluation.curve:
        threshold = f"{point.threshold:.4f}" if point.threshold < NEVER else "none"
        lines.append(f"{point.precision:>9.0%}{point.coverage:>15.1%}{threshold:>24}")
    priors = "".join(f"{f'prior {prior:g}':>12}" for prior in PRIORS)
    lines += ["", f"{'category of':<14}categories    rows  weighted F1  accuracy{priors}"]
    for bucket in evaluation.by_size:
        by_prior = "".join(f"{accuracy:>12.3f}" for accuracy in bucket.accuracy_by_prior)
        lines.append(
            f"{_range(bucket):<14}{bucket.categories:>10}{bucket.rows:>8}"
            f"{bucket.weighted_f1:>13.3f}{bucket.accuracy:>10.3f}{by_prior}"
        )
    lines += ["", f"{'loses most':<32}rows  precision  recall     F1  most often predicted as"]
    for score in sorted(evaluation.by_category, key=lambda score: -score.lost)[:WORST]:
        taken = score.confused_with
        other = "" if taken is None else _leaf(score.confused_name or "", taken)
        lines.append(
            f"{_leaf(score.category_name, score.category_id):<30}{score.rows:>6}"
            f"{score.precision:>11.3f}{score.recall:>8.3f}{score.f1:>7.3f}  {other}".rstrip()
        )
    return lines


def _words(rule: VoteRule) -> str:
    kind = f"{rule.kind} {rule.temperature:g}" if rule.kind is VoteKind.SOFTMAX else f"{rule.kind}"
    return f"{kind}, {rule.k} nearest" + (f", prior {rule.prior:g}" if rule.prior else "")


def _range(bucket: SizeBucket) -> str:
    if bucket.largest == bucket.smallest:
        return f"{bucket.smallest} row"
    return f"{bucket.smallest}{f'-{bucket.largest}' if bucket.largest else '+'} rows"


def _leaf(name: str, category: CategoryId) -> str:
    leaf = name.rsplit("->", 1)[-1].strip() or str(category)
    return leaf if len(leaf) <= LEAF else leaf[: LEAF - 1] + "…"
