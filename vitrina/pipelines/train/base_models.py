"""Who is heard of a product's category: heads over one modality or both, and its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vitrina.classifier.fit import NOBODY, FitOptions, fit_head, planned_rows
from vitrina.classifier.fusion import VOTE, vote_logits
from vitrina.classifier.heads import Head
from vitrina.classifier.minibatch import predict
from vitrina.index.exact import exact_search
from vitrina.index.fuse import read_fused
from vitrina.index.vote import VOTERS, VoteRule, vote_shares
from vitrina.parallel import Progress
from vitrina.store.gather import Gathered
from vitrina.store.rows import Rows
from vitrina.types import Codes, Features, Floats, Mask, Modality

NEIGHBOURS = max(VOTERS)
BLOCK_ROWS = 4096
"""Rows that ask their neighbours at once."""


def fit_heads(
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    classes: int,
    members: Iterable[str],
    options: FitOptions,
    report: Progress,
    held: Codes = NOBODY,
) -> dict[str, Head]:
    """A head for each member but the vote, each from those of some rows that have what it looks at.

    codes: (n,) int64 classes. rows: positions to learn from. held: those of them to stop by, where
    `options.patience` asks for it. Raises TrainingError.
    """
    heads = {}
    for member, (seen, own) in _parts(gathered, rows, members).items():
        kept = np.intersect1d(held, own)
        heads[member] = fit_head(seen, codes, own, classes, options, report, kept)
    return heads


def planned(
    gathered: Gathered, rows: Codes, classes: int, members: Iterable[str], options: FitOptions
) -> int:
    """Rows that `fit_heads` will report, for a progress bar."""
    return sum(
        planned_rows(len(own), len(seen.modalities), classes, options)
        for seen, own in _parts(gathered, rows, members).values()
    )


def _parts(
    gathered: Gathered, rows: Codes, members: Iterable[str]
) -> dict[str, tuple[Gathered, Codes]]:
    out = {}
    for member in members:
        if member != VOTE:
            seen = gathered.only(Features(member).modalities)
            out[member] = (seen, rows[seen.any_present()[rows]])
    return out


@dataclass(frozen=True, eq=False)
class NeighbourVoter:
    """The products whose neighbourhood votes. rows: positions, ascending. codes: (n,) int64."""

    gathered: Gathered
    codes: Codes
    rows: Codes
    classes: int

    def near(self, looked_at: Gathered, asked: Codes) -> tuple[Codes, Floats]:
        """The nearest voters of some products, as these are looked at: their classes, (m, k) int64,
        -1 for none, and their scores, (m, k) float32."""
        weights = (1.0,) * len(self.gathered.modalities)
        rows, queries = (
            Rows.of_arrays(one.modalities, one.vectors, one.present)
            for one in (self.gathered, looked_at)
        )
        labels, scores = [], []
        for start in range(0, len(asked), BLOCK_ROWS):
            block = read_fused(queries, asked[start : start + BLOCK_ROWS], weights)
            found, near = exact_search(rows, weights, block, self.rows, NEIGHBOURS)
            labels.append(np.where(found >= 0, self.codes[found], -1))
            scores.append(near)
        return np.concatenate(labels), np.concatenate(scores)

    @property
    def counts(self) -> Codes:
        """(classes,) int64: how many of each class vote."""
        return np.bincount(self.codes[self.rows], minlength=self.classes)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Members ready to be heard. rule: None where nobody votes."""

    heads: Mapping[str, Head]
    voters: NeighbourVoter
    rule: VoteRule | None

    def scores(
        self, looked_at: Gathered, rows: Codes, near: tuple[Codes, Floats] | None = None
    ) -> dict[str, Floats]:
        """What each says of some products, as these are looked at: (m, classes) logits. near: what
        `Voters.near` says of them, where that is at hand."""
        out = {}
        for member, head in self.heads.items():
            out[member] = predict(head, looked_at.only(Features(member).modalities), rows)
        if self.rule is not None:
            labels, scores = near or self.voters.near(looked_at, rows)
            shares = vote_shares(
                labels,
                scores,
                classes=self.voters.classes,
                rule=self.rule,
                counts=self.voters.counts,
            )
            out[VOTE] = vote_logits(shares)
        return out


def present_of(gathered: Gathered, rows: Codes) -> dict[Modality, Mask]:
    """(m,) bool for each modality: which of some products have it."""
    return {
        one: mask[rows] for one, mask in zip(gathered.modalities, gathered.present, strict=True)
    }
