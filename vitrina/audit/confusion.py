"""Confused categories: suspects by pair of categories, and categories that look alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrina.audit.label_scores import LabelScores
from vitrina.types import Codes, Mask

TWIN = 0.2
"""Mean probability of the other category, over the products of each, from which two look alike."""
INSIDE = 0.35
"""`TWIN`'s limit for one direction, if the other direction stays below `TWIN`."""
FEWEST = 5
"""Lower limit of the products of a category that is compared."""


@dataclass(frozen=True)
class SuspectPair:
    """Suspects with one given and one suggested category. rows: the first of them."""

    given: int
    suggested: int
    count: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Twins:
    """Two categories that look alike.

    share: mean probability of the other category, over the products of both, or of `one` where it
    is inside. inside: `one` looks like a part of `other`, not the other way round.
    """

    one: int
    other: int
    products: int
    share: float
    inside: bool


def pairs(given: Codes, suggested: Codes, rows: Codes, named: int = 8) -> tuple[SuspectPair, ...]:
    """Suspects grouped by given and suggested category, the most frequent pair first.

    given, suggested: (m,) int64 classes of the suspects. rows: (m,) int64, their rows, the surest
    first. named: the number of rows kept of each pair.
    """
    if not len(given):
        return ()
    both, place, counts = np.unique(
        np.stack([given, suggested]), axis=1, return_inverse=True, return_counts=True
    )
    # NumPy 2.0 keeps the axis.
    place = place.ravel()
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
    """Pairs of categories that may be duplicates, or one a part of the other.

    said: out-of-fold scores of n products. codes: (n,) int64 labels. checked: (n,) bool, rows that
    have scores.
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
