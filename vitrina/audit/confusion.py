"""Categories that are taken for one another: by pair, and so often that they look like twins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrina.audit.label_scores import LabelScores
from vitrina.types import Codes, Mask

TWIN = 0.2
"""Of a category's products, what another one draws on average, from which on they look alike."""
INSIDE = 0.35
"""The same where only one of the two draws the other's products."""
FEWEST = 5
"""Products of a category that has something to be told of."""


@dataclass(frozen=True)
class SuspectPair:
    """Suspects of one category for which another is suggested. rows: the first of them."""

    given: int
    suggested: int
    count: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Twins:
    """Two categories that look alike.

    share: of the products of both, what the other category draws on average. inside: `one` looks
    like a part of `other`, not the other way round.
    """

    one: int
    other: int
    products: int
    share: float
    inside: bool


def pairs(given: Codes, suggested: Codes, rows: Codes, named: int = 8) -> tuple[SuspectPair, ...]:
    """Confusions, the most frequent first.

    given, suggested: (m,) int64 of the suspects. rows: (m,) int64, what they are named by, the
    surest first.
    """
    if not len(given):
        return ()
    both, place, counts = np.unique(
        np.stack([given, suggested]), axis=1, return_inverse=True, return_counts=True
    )
    order = np.argsort(place, kind="stable")
    starts = np.cumsum(counts) - counts
    found = [
        SuspectPair(
            int(one),
            int(other),
            int(count),
            tuple(rows[order[start : start + min(named, count)]].tolist()),
        )
        for one, other, count, start in zip(both[0], both[1], counts, starts, strict=True)
    ]
    return tuple(sorted(found, key=lambda pair: (-pair.count, pair.given, pair.suggested)))


def twins(said: LabelScores, codes: Codes, checked: Mask, classes: int) -> tuple[Twins, ...]:
    """Categories that may be duplicates of one another, or one a part of the other.

    codes: (n,) int64 labels. checked: (n,) bool, of whom something was said.
    """
    rows = np.flatnonzero(checked & (said.other >= 0))
    sizes = np.bincount(codes[checked], minlength=classes)
    key = codes[rows] * classes + said.other[rows]
    unique, place = np.unique(key, return_inverse=True)
    drawn = np.bincount(place, weights=said.beside[rows], minlength=len(unique))
    shares = {
        (int(pair // classes), int(pair % classes)): amount / sizes[pair // classes]
        for pair, amount in zip(unique.tolist(), drawn.tolist(), strict=True)
    }
    found = []
    for (one, other), share in shares.items():
        back = shares.get((other, one), 0.0)
        products = int(sizes[one] + sizes[other])
        if min(sizes[one], sizes[other]) < FEWEST:
            continue
        if one < other and min(share, back) >= TWIN:
            both = (share * sizes[one] + back * sizes[other]) / products
            found.append(Twins(one, other, products, float(both), inside=False))
        elif share >= INSIDE and back < TWIN and sizes[one] <= sizes[other]:
            found.append(Twins(one, other, products, float(share), inside=True))
    return tuple(sorted(found, key=lambda two: (-two.share, two.one, two.other)))
