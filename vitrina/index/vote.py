"""Neighbour voting: a product's category from its neighbours' labels, and the rules of the vote."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vitrina.types import Codes, Floats, Modality, VoteKind

MOST_VOTERS = 1000
"""Maximum k of a stored rule: a search fetches this many neighbours per product."""
PRIOR_LIMIT = 16.0
"""A count of rows raised to this power is still a finite float64."""


def _is_number(value: object) -> bool:
    # bool is an int to Python, but JSON's `true` is no number.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class VoteRule:
    """Rule of a neighbour vote.

    Attributes:
        kind: weight of a vote. UNIFORM: one. SIMILARITY: its score. SOFTMAX:
            exp((score - the best score that votes) / temperature).
        k: number of nearest neighbours that vote.
        temperature: for SOFTMAX; the lower, the greater the weight of the nearest.
        prior: each vote is divided by (rows of its category in the index) ** prior. A small
            category has fewer rows that can be neighbours; 1 compensates fully, 0 not at all
            (cf. Menon et al., "Long-tail learning via logit adjustment", 2021).

    Raises ValueError for values out of range.
    """

    kind: VoteKind = VoteKind.SIMILARITY
    k: int = 10
    temperature: float = 0.1
    prior: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.kind, VoteKind):
            raise ValueError(f"a vote's kind is one of {[*map(str, VoteKind)]}, not {self.kind!r}")
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise ValueError(f"the number that vote must be a whole one from 1 on, not {self.k!r}")
        if not _is_number(self.temperature) or self.temperature <= 0:
            raise ValueError(f"the temperature must be positive, not {self.temperature!r}")
        if not _is_number(self.prior) or not 0 <= self.prior <= PRIOR_LIMIT:
            raise ValueError(f"the prior must be in [0, {PRIOR_LIMIT:g}], not {self.prior!r}")

    def to_json(self) -> dict[str, Any]:
        """The rule as JSON values."""
        return {**asdict(self), "kind": self.kind.value}


@dataclass(frozen=True)
class RuleCard:
    """A rule in an index card, with all fields required. Raises ValueError as `VoteRule` does."""

    kind: VoteKind
    k: Annotated[int, Meta(ge=1, le=MOST_VOTERS)]
    temperature: float
    prior: float

    def __post_init__(self) -> None:
        _ = self.rule

    @property
    def rule(self) -> VoteRule:
        """The card as `VoteRule`."""
        return VoteRule(self.kind, self.k, self.temperature, self.prior)


@dataclass(frozen=True)
class HeadVoteCard(RuleCard):
    """A rule in a head's card. whitened: modalities whose vectors were whitened when it was chosen;
    none in heads of an earlier version."""

    whitened: tuple[Modality, ...] = ()


DEFAULT_RULE = VoteRule()

VOTERS = (3, 5, 10, 20, 50)
TEMPERATURES = (0.2, 0.1, 0.05, 0.02)
PRIORS = (0.0, 0.25, 0.5)


def rules_to_try(columns: int) -> Iterator[VoteRule]:
    """Yield the rules to evaluate for `columns` neighbours per product, simplest first.

    The order is fewer voters, then uniform before similarity before softmax, then smaller prior,
    then higher temperature. k = 1 is excluded: its share is always 1, so the vote has no confidence
    by which to select products for automatic acceptance.
    """
    for k in VOTERS:
        if k > max(columns, VOTERS[0]):
            break
        for kind, prior in product(VoteKind, PRIORS):
            if kind is VoteKind.SOFTMAX:
                yield from (VoteRule(kind, k, temperature, prior) for temperature in TEMPERATURES)
            else:
                yield VoteRule(kind, k, prior=prior)


@dataclass(frozen=True, eq=False)
class Vote:
    """Result of a neighbour vote for q products.

    codes: (q,) int64 the winning category, -1 without votes.
    shares: (q,) float32 its share of the summed votes, in (0, 1]; 0 without votes.
    """

    codes: Codes
    shares: Floats


def vote(
    labels: npt.NDArray[np.int64],
    scores: Floats,
    *,
    classes: int,
    rule: VoteRule | None = None,
    counts: Codes | None = None,
) -> Vote:
    """Count neighbours' votes. Memory grows with q * k, not with `classes`.

    Args:
        labels: (q, k) int64 category codes below `classes`, nearest first; -1 abstains (a
            neighbour without a label, or no neighbour). Columns past the rule's k don't vote.
        scores: (q, k) float32 similarities; a score of zero or less abstains too.
        classes: number of categories.
        rule: None for similarity over all columns.
        counts: (classes,) int64 rows of each category in the index; needed for a prior.

    Of categories with equal sums the one with the nearest neighbour wins, then the smallest
    code. Raises ValueError if the shapes differ, a label is outside [-1, classes), or the rule
    has a prior and the counts lack a category that votes.
    """
    if rule is None:
        rule = VoteRule(k=max(1, labels.shape[-1]))
    _check(labels, scores, classes, rule, counts)
    labels, scores = labels[:, : rule.k], scores[:, : rule.k]
    codes = np.full(len(labels), -1, dtype=np.int64)
    shares = np.zeros(len(labels), dtype=np.float32)
    rows, categories, near = _ballots(labels, scores, classes)
    if len(rows) == 0:
        return Vote(codes, shares)
    owner, category, sums, group = _sums(rows, categories, near, rule, counts)
    nearest = np.maximum.reduceat(near, group)
    first = np.flatnonzero(_changes(owner))
    repeats = np.diff(first, append=len(owner))
    leads = sums == np.repeat(np.maximum.reduceat(sums, first), repeats)
    nearest[~leads] = 0
    leads &= nearest == np.repeat(np.maximum.reduceat(nearest, first), repeats)
    # A row's categories ascend by code, so the first leader left has the smallest code.
    leaders = np.flatnonzero(leads)
    winners = leaders[np.searchsorted(leaders, first)]
    codes[owner[first]] = category[winners]
    shares[owner[first]] = sums[winners] / np.add.reduceat(sums, first)
    return Vote(codes, shares)


def vote_shares(
    labels: npt.NDArray[np.int64],
    scores: Floats,
    *,
    classes: int,
    rule: VoteRule,
    counts: Codes | None = None,
) -> Floats:
    """Every category's share of the summed votes, (q, classes) float32; zeros without votes.

    Arguments and errors are those of `vote`.
    """
    _check(labels, scores, classes, rule, counts)
    out = np.zeros((len(labels), classes), dtype=np.float32)
    rows, categories, near = _ballots(labels[:, : rule.k], scores[:, : rule.k], classes)
    if len(rows):
        owner, category, sums, _ = _sums(rows, categories, near, rule, counts)
        whole = np.bincount(owner, sums, minlength=len(labels))
        out[owner, category] = sums / whole[owner]
    return out


def _sums(
    rows: Codes, categories: Codes, near: Floats, rule: VoteRule, counts: Codes | None
) -> tuple[Codes, Codes, npt.NDArray[np.float64], Codes]:
    """Sum the votes per row and category: row, category, sum, and position of the first vote."""
    group = np.flatnonzero(_changes(rows) | _changes(categories))
    # Sums of a few float32 are exact in float64, so equal sums compare equal in any order.
    sums = np.add.reduceat(_weights(rows, near, rule), group)
    owner, category = rows[group], categories[group]
    if counts is not None and rule.prior > 0:
        # After the sum, which is then as exact as without a prior.
        sums /= _sizes(counts, category) ** rule.prior
    return owner, category, sums, group


def _check(
    labels: npt.NDArray[np.int64],
    scores: Floats,
    classes: int,
    rule: VoteRule,
    counts: Codes | None,
) -> None:
    if labels.ndim != 2 or labels.shape != scores.shape:
        raise ValueError(f"labels and scores must both be (q, k): {labels.shape}, {scores.shape}")
    if labels.size and not -1 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels must be in [-1, {classes}), not [{labels.min()}, {labels.max()}]")
    if counts is None and rule.prior > 0:
        raise ValueError(f"a prior of {rule.prior} needs the count of each category")
    if counts is not None and counts.shape != (classes,):
        raise ValueError(f"counts must be ({classes},), not {counts.shape}")


def _ballots(
    labels: npt.NDArray[np.int64], scores: Floats, classes: int
) -> tuple[Codes, Codes, Floats]:
    """The votes cast: row, category and score of each, sorted by row, category, column."""
    columns = labels.shape[1]
    bits = columns.bit_length()
    cast = (labels >= 0) & (scores > 0)
    # Sorting keys that include the column is several times faster than an argsort. Abstentions
    # sort last.
    keys = np.where(cast, labels, classes).astype(np.int64) << bits | np.arange(columns)
    keys.sort(axis=1)
    kept = keys < classes << bits
    ordered = np.take_along_axis(scores, keys & ((1 << bits) - 1), axis=1)
    rows = np.repeat(np.arange(len(labels)), np.count_nonzero(cast, axis=1))
    return rows, keys[kept] >> bits, ordered[kept]


def _changes(values: Codes) -> npt.NDArray[np.bool_]:
    """Mask of values that differ from the previous one; the first is always True."""
    return np.append(True, values[1:] != values[:-1])


def _weights(rows: Codes, near: Floats, rule: VoteRule) -> npt.NDArray[np.float64]:
    if rule.kind is VoteKind.UNIFORM:
        return np.ones(len(near))
    scores = near.astype(np.float64)
    if rule.kind is VoteKind.SIMILARITY:
        return scores
    first = np.flatnonzero(_changes(rows))
    best = np.maximum.reduceat(scores, first)
    # Relative to the best, whose vote weighs 1: a row's sum is never 0, at any temperature.
    scores -= np.repeat(best, np.diff(first, append=len(rows)))
    scores /= rule.temperature
    return np.exp(scores, out=scores)


def _sizes(counts: Codes, category: Codes) -> npt.NDArray[np.float64]:
    sizes = counts[category]
    if sizes.min() < 1:
        raise ValueError(
            f"category {category[sizes.argmin()]} votes, but its count is {sizes.min()}"
        )
    return sizes.astype(np.float64)
