"""Voting rules: choice of the best one, and leave-one-out metrics of the neighbours' vote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vitrina.classifier.metrics import NEVER, Metrics, evaluate
from vitrina.errors import TrainingError
from vitrina.index.vote import DEFAULT_RULE, PRIORS, Vote, VoteRule, rules_to_try, vote
from vitrina.pipelines.index.vote_report import (
    CategoryScore,
    CurvePoint,
    SizeBucket,
    VoteEvaluation,
)
from vitrina.types import CategoryId, Codes, Floats, Mask

MARGIN = 0.0005
"""Shortfall of weighted F1 within which the simpler rule is preferred."""
GRID_ROWS = 50_000
"""Rows to choose a rule on, at most: about a hundred rules vote on each."""
VOTE_BLOCK = 1 << 16
"""Rows that vote at once: a vote holds several times its labels in memory."""
PERCENTS = (80, 85, 90, 95, 98, 99)
"""Precisions of the curve; whole, since 0.95 is no float."""
SIZES = (1, 2, 5, 10, 30, 100, 300)
"""The fewest rows of a category in each bucket."""


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

    def measure(self, votes: Vote, rows: Codes, seed: int) -> Metrics:
        true = self.codes[rows]
        return evaluate(true, votes.codes, votes.shares, classes=self.classes, seed=seed)


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

    `rules_to_try` orders rules from simple to complex. More than `GRID_ROWS` rows are sampled by
    the seed.
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
    codes : (n,) int64, the category of every query row, from 0 to `classes` - 1.
    labels : (n, K) int64, its neighbours' categories, nearest first and itself left out; -1 for
        no label or no neighbour.
    scores : (n, K) float32, their similarities; higher is nearer.
    classes : number of categories.
    names, ids : of each category, by code.
    seed : random seed of the halves, the grid's rows and the bootstrap.
    counts : (classes,) int64, rows of each category in the index; None if `codes` has all of them.
        The query row is included: a prior without it would leak its category.

    The confidence of a vote is its share. Raises TrainingError if there are fewer than two rows,
    ValueError for arrays that don't fit each other.
    """
    graph = _checked(codes, labels, scores, classes, counts)
    if len(names) != classes or len(ids) != classes:
        raise ValueError(f"{classes} categories, but {len(names)} names and {len(ids)} ids")
    if len(codes) < 2:
        raise TrainingError(f"two labelled rows are the fewest to choose by, not {len(codes)}")
    choosing, reported = split_halves(len(codes), seed)
    rule = _choose(graph, choosing, seed)
    true, given = codes[reported], graph.vote(rule, reported)
    return VoteEvaluation(
        rule=rule,
        chosen_on=min(len(choosing), GRID_ROWS),
        metrics=graph.measure(given, reported, seed),
        default_metrics=graph.measure(graph.vote(DEFAULT_RULE, reported), reported, seed),
        by_category=tuple(_by_category(true, given.codes, names, ids)),
        curve=coverage_curve(true == given.codes, given.shares),
        by_size=tuple(_by_size(graph, rule, reported, given.codes)),
    )


def measure_rule(
    rule: VoteRule,
    codes: Codes,
    labels: npt.NDArray[np.int64],
    scores: Floats,
    classes: int,
    *,
    seed: int = 0,
    counts: Codes | None = None,
) -> Metrics:
    """Metrics of a rule on the half of the rows that `evaluate_votes` reports on; see there."""
    graph = _checked(codes, labels, scores, classes, counts)
    reported = split_halves(len(codes), seed)[1]
    return graph.measure(graph.vote(rule, reported), reported, seed)


def coverage_curve(right: Mask, confidence: Floats) -> tuple[CurvePoint, ...]:
    """Largest coverage at each precision of `PERCENTS`.

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
        raise TrainingError("there is no labelled row to evaluate a vote on")
    if not 0 <= codes.min() <= codes.max() < classes:
        raise ValueError(f"codes must be in [0, {classes}), not [{codes.min()}, {codes.max()}]")
    if labels.ndim != 2 or labels.shape != scores.shape or len(labels) != len(codes):
        raise ValueError(
            f"labels and scores must both be ({len(codes)}, K): {labels.shape}, {scores.shape}"
        )
    if labels.shape[1] == 0:
        raise ValueError("there must be a neighbour to vote")
    if counts is None:
        counts = np.bincount(codes, minlength=classes)
    voters = labels[(labels >= 0) & (labels < classes)]
    if counts.shape != (classes,) or counts[voters].min(initial=1) < 1:
        raise ValueError(f"counts must be ({classes},), and 1 at least of a neighbour's category")
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
    # Pairs ascend by category, then by predicted category; the stable sort keeps that order.
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
