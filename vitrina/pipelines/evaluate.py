"""How good the neighbours' vote is, leave-one-out, and which rule of voting serves best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vitrina.classifier.metrics import NEVER, Metrics, evaluate
from vitrina.errors import TrainingError
from vitrina.index.vote import DEFAULT_RULE, PRIORS, Vote, VoteRule, rules_to_try, vote
from vitrina.types import CategoryId, Codes, Floats, Mask, VoteKind

MARGIN = 0.0005
"""A weighted F1 that falls this little short of the best is as good: the simpler rule wins."""
GRID_ROWS = 50_000
"""Rows that a rule is chosen on at most: each of them votes about a hundred times."""
VOTE_BLOCK = 1 << 16
"""Rows that vote at once: a vote holds several times its labels in memory."""
PERCENTS = (80, 85, 90, 95, 98, 99)
"""Precisions of the curve; whole, since 0.95 is no float."""
SIZES = (1, 2, 5, 10, 30, 100, 300)
"""The fewest rows of a category in each bucket."""
WORST = 10
"""Categories that are listed on a terminal, by what they lose."""
LEAF = 28
"""Characters of a category's name there."""


@dataclass(frozen=True)
class CategoryScore:
    """How the rows of one category fare.

    Attributes:
        rows: how many of the reported rows truly have it; 0 where it was only predicted.
        confused_with, confused_name, confused_rows: the wrong category that its rows are given
            most often, and how many are; None and 0 where none is given a wrong one.
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
        """What it takes from the weighted F1, in rows."""
        return self.rows * (1 - self.f1)


@dataclass(frozen=True)
class CurvePoint:
    """coverage: the largest share of rows, most confident first, accepted at this precision.
    threshold: the share of the vote from which on they are; `NEVER` for none."""

    precision: float
    coverage: float
    threshold: float


@dataclass(frozen=True)
class SizeBucket:
    """The categories with `smallest` to `largest` rows in the index; None for no end.

    categories, rows: those among the reported rows. weighted_f1: of these categories, weighted
    by their rows. accuracy: the share of these rows that is right. accuracy_by_prior: the same
    were the rule's prior each of `PRIORS`.
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
    """What the vote reaches on rows that had no say in choosing its rule.

    Attributes:
        rule: chosen on `chosen_on` rows, none of which is reported on.
        metrics, default_metrics: of the rule, and of `DEFAULT_RULE` on the same rows.
        by_category: the categories that appear, in truth or prediction, by code.
        curve: at each precision of `PERCENTS`.
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
        """As JSON's types."""
        plain = asdict(self)
        for name in ("rule", "metrics", "default_metrics"):
            plain[name] = getattr(self, name).to_json()
        for name in ("by_category", "curve", "by_size"):
            plain[name] = list(plain[name])
        for bucket in plain["by_size"]:
            by_prior = zip(map(str, PRIORS), bucket["accuracy_by_prior"], strict=True)
            bucket["accuracy_by_prior"] = dict(by_prior)
        return plain


@dataclass(frozen=True, eq=False)
class _Graph:
    """Rows with a category, and their neighbours: see `evaluate_votes`."""

    codes: Codes
    labels: npt.NDArray[np.int64]
    scores: Floats
    classes: int
    counts: Codes

    def vote(self, rule: VoteRule, rows: Codes) -> Vote:
        codes, shares = [], []
        for start in range(0, len(rows), VOTE_BLOCK):
            block = rows[start : start + VOTE_BLOCK]
            labels, scores = self.labels[block, : rule.k], self.scores[block, : rule.k]
            cast = vote(labels, scores, classes=self.classes, rule=rule, counts=self.counts)
            codes.append(cast.codes)
            shares.append(cast.shares)
        return Vote(np.concatenate(codes), np.concatenate(shares))


@dataclass(frozen=True, eq=False)
class _Tally:
    """(classes,) each: rows that have a category, are given it, are both (int64); F1."""

    support: Codes
    chosen: Codes
    hits: Codes
    f1: npt.NDArray[np.float64]

    @classmethod
    def of(cls, true: Codes, predicted: Codes, classes: int) -> _Tally:
        named = predicted[predicted >= 0]
        support, chosen, hits = (
            np.bincount(rows, minlength=classes) for rows in (true, named, true[true == predicted])
        )
        return cls(support, chosen, hits, 2 * hits / np.maximum(support + chosen, 1))

    @property
    def weighted_f1(self) -> float:
        return float(self.f1 @ self.support / self.support.sum())


def split_halves(rows: int, seed: int) -> tuple[Codes, Codes]:
    """The rows that a rule is chosen on and the rows that are reported, ascending."""
    order = np.random.default_rng(seed).permutation(rows)
    return np.sort(order[: rows // 2]), np.sort(order[rows // 2 :])


def choose_rule(
    codes: Codes,
    labels: npt.NDArray[np.int64],
    scores: Floats,
    classes: int,
    *,
    seed: int,
    counts: Codes | None = None,
) -> VoteRule:
    """The simplest rule whose weighted F1 is within `MARGIN` of the best; see `evaluate_votes`.

    `rules_to_try` says which are simpler. Past `GRID_ROWS` rows only as many, drawn by the seed,
    are asked.
    """
    graph = _checked(codes, labels, scores, classes, counts)
    return _choose(graph, np.arange(len(codes)), seed)


def evaluate_votes(
    codes: Codes,
    labels: npt.NDArray[np.int64],
    scores: Floats,
    classes: int,
    *,
    names: Sequence[str],
    ids: Sequence[CategoryId],
    seed: int = 0,
    counts: Codes | None = None,
) -> VoteEvaluation:
    """Choose a rule on one half of the rows, drawn by the seed, and measure it on the other.

    Parameters
    ----------
    codes : (n,) int64, the category of every row asked about, from 0 to `classes` - 1.
    labels : (n, K) int64, its neighbours' categories, nearest first and itself left out; -1 for
        no label or no neighbour.
    scores : (n, K) float32, their similarities; higher is nearer.
    classes : how many categories there are.
    names, ids : of each category, by code.
    seed : what the halves, the grid's rows and the bootstrap are drawn with.
    counts : (classes,) int64, rows of each category in the index; None if all were asked about.
        The asked row is among them: a prior that left it out would know its category.

    The confidence of a vote is its share. Raises TrainingError where there are fewer than two
    rows, ValueError for arrays that don't fit each other.
    """
    graph = _checked(codes, labels, scores, classes, counts)
    if len(names) != classes or len(ids) != classes:
        raise ValueError(f"{classes} categories, but {len(names)} names and {len(ids)} ids")
    if len(codes) < 2:
        raise TrainingError(f"two labelled rows are the fewest to choose by, not {len(codes)}")
    choosing, reported = split_halves(len(codes), seed)
    rule = _choose(graph, choosing, seed)
    true = codes[reported]
    given, plain = graph.vote(rule, reported), graph.vote(DEFAULT_RULE, reported)
    metrics, default_metrics = (
        evaluate(true, votes.codes, votes.shares, classes=classes, seed=seed)
        for votes in (given, plain)
    )
    return VoteEvaluation(
        rule=rule,
        chosen_on=min(len(choosing), GRID_ROWS),
        metrics=metrics,
        default_metrics=default_metrics,
        by_category=tuple(_by_category(true, given.codes, names, ids)),
        curve=coverage_curve(true == given.codes, given.shares),
        by_size=tuple(_by_size(graph, rule, reported, given.codes)),
    )


def coverage_curve(right: Mask, confidence: Floats) -> tuple[CurvePoint, ...]:
    """How much can be accepted unseen at each precision of `PERCENTS`.

    `right` is (n,) bool; `confidence` is (n,) float32, 0 for rows with no prediction, which are
    never accepted.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    hits, accepted = np.cumsum(right[order]), np.arange(1, len(order) + 1)
    # A threshold takes all rows of equal confidence or none: it can only fall where they end.
    ends = np.append(ranked[1:] < ranked[:-1], True) & (ranked > 0)
    points = []
    for percent in PERCENTS:
        good = np.flatnonzero(ends & (100 * hits >= percent * accepted))
        coverage, threshold = 0.0, NEVER
        if len(good):
            coverage, threshold = float((good[-1] + 1) / len(order)), float(ranked[good[-1]])
        points.append(CurvePoint(percent / 100, coverage, threshold))
    return tuple(points)


def _checked(
    codes: Codes,
    labels: npt.NDArray[np.int64],
    scores: Floats,
    classes: int,
    counts: Codes | None,
) -> _Graph:
    if len(codes) == 0:
        raise TrainingError("there is no labelled row to measure a vote on")
    if not 0 <= codes.min() <= codes.max() < classes:
        raise ValueError(f"codes must lie in [0, {classes}), not [{codes.min()}, {codes.max()}]")
    if labels.ndim != 2 or labels.shape != scores.shape or len(labels) != len(codes):
        raise ValueError(
            f"labels and scores must both be ({len(codes)}, K): {labels.shape}, {scores.shape}"
        )
    if labels.shape[1] == 0:
        raise ValueError("there must be a neighbour to vote")
    if counts is None:
        counts = np.bincount(codes, minlength=classes)
    if counts.shape != (classes,) or counts[codes].min() < 1:
        raise ValueError(f"counts must be ({classes},), and 1 at least where a row has the code")
    return _Graph(codes, labels, scores, classes, counts)


def _choose(graph: _Graph, rows: Codes, seed: int) -> VoteRule:
    if len(rows) > GRID_ROWS:
        drawn = np.random.default_rng(seed).choice(len(rows), GRID_ROWS, replace=False)
        rows = rows[np.sort(drawn)]
    true = graph.codes[rows]
    reached = {
        rule: _Tally.of(true, graph.vote(rule, rows).codes, graph.classes).weighted_f1
        for rule in rules_to_try(graph.labels.shape[1])
    }
    enough = max(reached.values()) - MARGIN
    return next(rule for rule, f1 in reached.items() if f1 >= enough)


def _by_category(
    true: Codes, predicted: Codes, names: Sequence[str], ids: Sequence[CategoryId]
) -> Iterator[CategoryScore]:
    classes = len(ids)
    tally = _Tally.of(true, predicted, classes)
    wrong = (true != predicted) & (predicted >= 0)
    pairs, times = np.unique(true[wrong] * classes + predicted[wrong], return_counts=True)
    # Pairs ascend by category, then by what it is taken for; the sort keeps that among equals.
    order = np.lexsort((-times, pairs // classes))
    owners, first = np.unique(pairs[order] // classes, return_index=True)
    worst = dict(zip(owners.tolist(), order[first].tolist(), strict=True))
    for code in np.flatnonzero(tally.support + tally.chosen).tolist():
        at = worst.get(code)
        taken_for = None if at is None else int(pairs[at] % classes)
        yield CategoryScore(
            category_id=ids[code],
            category_name=names[code],
            rows=int(tally.support[code]),
            precision=float(tally.hits[code] / max(tally.chosen[code], 1)),
            recall=float(tally.hits[code] / max(tally.support[code], 1)),
            f1=float(tally.f1[code]),
            confused_with=None if taken_for is None else ids[taken_for],
            confused_name=None if taken_for is None else names[taken_for],
            confused_rows=0 if at is None else int(times[at]),
        )


def _by_size(graph: _Graph, rule: VoteRule, rows: Codes, predicted: Codes) -> Iterator[SizeBucket]:
    true = graph.codes[rows]
    tally = _Tally.of(true, predicted, graph.classes)
    right = [graph.vote(replace(rule, prior=prior), rows).codes == true for prior in PRIORS]
    bucket_of = np.searchsorted(SIZES, graph.counts, side="right") - 1
    for bucket, smallest in enumerate(SIZES):
        inside = bucket_of[true] == bucket
        if not inside.any():
            continue
        support = np.where(bucket_of == bucket, tally.support, 0)
        yield SizeBucket(
            smallest=smallest,
            largest=SIZES[bucket + 1] - 1 if bucket + 1 < len(SIZES) else None,
            categories=int(np.count_nonzero(support)),
            rows=int(inside.sum()),
            weighted_f1=float(tally.f1 @ support / support.sum()),
            accuracy=float((predicted == true)[inside].mean()),
            accuracy_by_prior=tuple(float(hit[inside].mean()) for hit in right),
        )


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
    lines += ["", f"{'loses most':<32}rows  precision  recall     F1  most often taken for"]
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
