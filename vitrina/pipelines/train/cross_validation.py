"""Who learns and who is judged. Where few rows are kept apart, all others are judged in turn.

A few hundred validation rows say little of weights, of temperatures and least of all of thresholds
of categories. There each other part of the labelled rows is kept apart once too, and heads that
learnt from the rest say of it what they can (cross-validation: Stone, "Cross-validatory choice and
assessment of statistical predictions", 1974). That takes as much training again for each part,
which of few rows is soon done.
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
"""Validation rows below which all rows are judged in turn."""
PARTS = 4
"""Of the rows that are trained on: as large as the validation part is by default."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions of the rows that are learnt from, and of those that are asked about."""

    learnt: Codes
    asked: Codes


def turns_of(first: Fold, codes: Codes, parted: StoreSplit, unseen: Mask, seed: int) -> list[Fold]:
    """The split's own turn, and those in which the other rows are asked about.

    codes: (n,) int64 classes, -1 for none. unseen: (n,) bool, rows that no encoder has learnt from:
    others can't judge. Like a split's validation rows, no row is asked about whose category has
    none to learn from, and groups of duplicates stay together.
    """
    free = np.setdiff1d(first.learnt[unseen[first.learnt]], first.asked)
    if not len(free):
        return [first]
    part = draw_by_group(parted.groups[free], parted.keys[free], seed, 4) % np.uint64(PARTS)
    everybody = np.flatnonzero(codes >= 0)
    found = [first]
    for number in range(PARTS):
        asked = free[part == number]
        learnt = everybody[~np.isin(parted.groups[everybody], parted.groups[asked])]
        known = np.unique(codes[learnt])
        asked = asked[np.isin(codes[asked], known)]
        if len(asked) and len(known) > 1:
            found.append(Fold(learnt, asked))
    return found


@dataclass(frozen=True, eq=False)
class FittedFold:
    """A turn once its heads are trained. voters: the rows that it learnt from. asked: as of
    `Fold`."""

    heads: Mapping[str, Head]
    voters: NeighbourVoter
    asked: Codes

    @cached_property
    def near(self) -> tuple[Codes, Floats]:
        """The nearest voters of those that are asked about; see `Voters.near`."""
        return self.voters.near(self.voters.gathered, self.asked)

    def members(self, rule: VoteRule | None) -> Ensemble:
        """All who may be heard. rule: of the vote, None where nobody votes."""
        return Ensemble(self.heads, self.voters, rule)


def near_of(heard: Sequence[FittedFold]) -> tuple[Codes, Floats]:
    """The nearest voters of all that are asked about, turn by turn."""
    labels, scores = zip(*(one.near for one in heard), strict=True)
    return np.concatenate(labels), np.concatenate(scores)


def scores_of(
    heard: Sequence[FittedFold], rule: VoteRule | None, looked_at: Gathered | None = None
) -> dict[str, Floats]:
    """What each member says of all that are asked about, turn by turn: (m, classes) logits.
    looked_at: how these are seen; None for as they are."""
    parts = [
        one.members(rule).scores(one.voters.gathered, one.asked, one.near)
        if looked_at is None
        else one.members(rule).scores(looked_at, one.asked)
        for one in heard
    ]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
