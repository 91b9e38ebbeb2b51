"""Folds of training and test rows: the store split, and cross-validation if rows are few.

A few hundred validation rows are too few to estimate weights, temperatures and, least of all,
thresholds of categories. Then the other labelled rows are divided into parts, and heads trained
without each part predict it (cross-validation: Stone, "Cross-validatory choice and assessment of
statistical predictions", 1974). That repeats the training once per part, which is quick on few
rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrina.classifier.heads import Head
from vitrina.data.split import draw_by_group
from vitrina.index.vote import VoteRule
from vitrina.pipelines.common.store_split import StoreSplit
from vitrina.pipelines.train.base_models import Ensemble, NeighbourVoter
from vitrina.store.gather import Gathered
from vitrina.types import Codes, Floats, Mask

SCARCE = 1000
"""Validation rows below which cross-validation is used."""
PARTS = 4
"""Parts of the training rows: each is as large as the validation rows are by default."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Train rows and test rows as positions in the product table."""

    train_rows: Codes
    test_rows: Codes


def cross_validation_folds(
    first: Fold, codes: Codes, store_split: StoreSplit, unseen: Mask, seed: int
) -> list[Fold]:
    """The store split's own fold, `first`, and folds whose test rows are the other rows.

    codes: (n,) int64 classes, -1 for none. unseen: (n,) bool, rows that no encoder was trained on:
    only these become test rows. As in the store split, a test row's category has train rows, and
    groups of duplicates stay on one side.
    """
    free = np.setdiff1d(first.train_rows[unseen[first.train_rows]], first.test_rows)
    if not len(free):
        return [first]
    parts_of = draw_by_group(store_split.groups[free], store_split.keys[free], seed, 4) % np.uint64(
        PARTS
    )
    labelled = np.flatnonzero(codes >= 0)
    found = [first]
    for number in range(PARTS):
        test_rows = free[parts_of == number]
        train_rows = labelled[~np.isin(store_split.groups[labelled], store_split.groups[test_rows])]
        known = np.unique(codes[train_rows])
        test_rows = test_rows[np.isin(codes[test_rows], known)]
        if len(test_rows) and len(known) > 1:
            found.append(Fold(train_rows, test_rows))
    return found


@dataclass(frozen=True, eq=False)
class FittedFold:
    """A fold with its trained heads. voters: over the train rows. test_rows: of the fold."""

    heads: Mapping[str, Head]
    voters: NeighbourVoter
    test_rows: Codes

    @cached_property
    def near(self) -> tuple[Codes, Floats]:
        """The nearest voters of the test rows; see `NeighbourVoter.near`."""
        return self.voters.near(self.voters.gathered, self.test_rows)

    def members(self, rule: VoteRule | None) -> Ensemble:
        """The base models of the fold. rule: of the vote, None to leave the vote out."""
        return Ensemble(self.heads, self.voters, rule)


def near_of(fitted_folds: Sequence[FittedFold]) -> tuple[Codes, Floats]:
    """The nearest voters of all test rows, fold by fold; see `NeighbourVoter.near`."""
    labels, scores = zip(*(one.near for one in fitted_folds), strict=True)
    return np.concatenate(labels), np.concatenate(scores)


def scores_of(
    fitted_folds: Sequence[FittedFold], rule: VoteRule | None, gathered: Gathered | None = None
) -> dict[str, Floats]:
    """Scores of each base model for all test rows, fold by fold: (m, classes) logits.

    gathered: vectors to predict from, such as those without a modality; None for all vectors.
    """
    parts = [
        one.members(rule).scores(one.voters.gathered, one.test_rows, one.near)
        if gathered is None
        else one.members(rule).scores(gathered, one.test_rows)
        for one in fitted_folds
    ]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
