"""Base models of an ensemble: heads over one modality or both, and the neighbours' vote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrina.classifier.fit import NO_ROWS, FitOptions, fit_head, planned_rows
from vitrina.classifier.fusion import VOTE, vote_logits
from vitrina.classifier.heads import Head
from vitrina.classifier.minibatch import predict
from vitrina.index.exact import exact_search
from vitrina.index.fuse import FusedRows, Fusion
from vitrina.index.vote import VOTERS, VoteRule, vote_shares
from vitrina.parallel import Progress
from vitrina.store.gather import Gathered
from vitrina.store.rows import Rows
from vitrina.types import Codes, Features, Floats, Mask, Modality

NEIGHBOURS = max(VOTERS)
BLOCK_ROWS = 4096
"""Rows whose neighbours are searched at once."""


def fit_heads(
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    classes: int,
    members: Iterable[str],
    options: FitOptions,
    report: Progress,
    held_rows: Codes = NO_ROWS,
) -> dict[str, Head]:
    """Fit one head per base model but the vote, each on the rows that have a vector for it.

    codes: (n,) int64 classes. rows: positions of the train rows. held: the early-stopping split
    among them, with `options.patience`. Raises TrainingError.
    """
    heads = {}
    for member, (visible, train_rows) in _parts(gathered, rows, members).items():
        stopping = np.intersect1d(held_rows, train_rows)
        heads[member] = fit_head(visible, codes, train_rows, classes, options, report, stopping)
    return heads


def planned(
    gathered: Gathered, rows: Codes, classes: int, members: Iterable[str], options: FitOptions
) -> int:
    """Number of rows that `fit_heads` will report, for a progress bar."""
    return sum(
        planned_rows(len(train_rows), len(visible.modalities), classes, options)
        for visible, train_rows in _parts(gathered, rows, members).values()
    )


def _parts(
    gathered: Gathered, rows: Codes, members: Iterable[str]
) -> dict[str, tuple[Gathered, Codes]]:
    out = {}
    for member in members:
        if member != VOTE:
            visible = gathered.only(Features(member).modalities)
            out[member] = (visible, rows[visible.any_present()[rows]])
    return out


@dataclass(frozen=True, eq=False)
class NeighbourVoter:
    """Neighbours' vote over some products. rows: their positions, ascending. codes: (n,) int64.
    whiten: modalities whose vectors are whitened; None for those that lie in a narrow cone."""

    gathered: Gathered
    codes: Codes
    rows: Codes
    classes: int
    whiten: tuple[Modality, ...] | None = None

    def near(self, gathered: Gathered, queries: Codes) -> tuple[Codes, Floats]:
        """Find the nearest voters of the query products, (m,) positions in `gathered`.

        Returns their classes, (m, k) int64, -1 for none, and scores, (m, k) float32.
        """
        voters, codes = self.vectors, self.codes[self.rows]
        labels, scores = [], []
        for start in range(0, len(queries), BLOCK_ROWS):
            block = voters.fusion.fuse(*gathered.blocks(queries[start : start + BLOCK_ROWS]))
            found, near = exact_search(voters, block, np.arange(len(voters)), NEIGHBOURS)
            labels.append(np.where(found >= 0, codes[found], -1))
            scores.append(near)
        return np.concatenate(labels), np.concatenate(scores)

    @cached_property
    def vectors(self) -> FusedRows:
        """The vectors of the voters, with a fusion that is estimated from them alone."""
        one = self.gathered
        rows = Rows.of_arrays(one.modalities, one.vectors, one.present).take(self.rows)
        return Fusion.fit(rows, self.whiten).over(rows)

    @property
    def counts(self) -> Codes:
        """(classes,) int64: voters of each class."""
        return np.bincount(self.codes[self.rows], minlength=self.classes)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Fitted base models. rule: of the vote, None to leave the vote out."""

    heads: Mapping[str, Head]
    voters: NeighbourVoter
    rule: VoteRule | None

    def scores(
        self, gathered: Gathered, rows: Codes, near: tuple[Codes, Floats] | None = None
    ) -> dict[str, Floats]:
        """Scores of each base model for the products `rows` of `gathered`: (m, classes) logits.

        near: the result of `NeighbourVoter.near` for them; None to search.
        """
        out = {}
        for member, head in self.heads.items():
            out[member] = predict(head, gathered.only(Features(member).modalities), rows)
        if self.rule is not None:
            labels, scores = near or self.voters.near(gathered, rows)
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
    """(m,) bool for each modality: the products of `rows` that have it."""
    return {
        one: mask[rows] for one, mask in zip(gathered.modalities, gathered.present, strict=True)
    }
