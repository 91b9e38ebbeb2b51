"""Near duplicates: products that share a title or photo, or have a cosine above a fitted threshold.

Their labels ought to agree, so the labels of a product's copies are evidence about its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrina.types import Codes, Floats

MOST = 50
"""Upper limit of the products with one title or photo to pair with each: thousands may share a
stock photo."""
BIN_PAIRS = 200
"""Pairs in a bin, over which the agreement of labels is measured."""
SLACK = 0.02
"""How far the agreement of copies' labels may fall below that of the nearest pairs."""
LEAST = 0.8
"""Lower limit of the threshold: below this cosine, products share a topic, not an origin."""
NEVER = 2.0
"""A threshold that no cosine reaches."""


def nearness(scores: Floats, same: np.ndarray) -> float:
    """Find the cosine from which products are near duplicates, by the agreement of their labels.

    Args:
        scores: (m,) float32, the cosines of neighbours.
        same: (m,) bool, true where their labels agree.

    Bins of `BIN_PAIRS` pairs are accepted from the nearest on, as long as their labels agree almost
    as often as those of the nearest fiftieth: wrong labels lower both alike. Returns `LEAST` or
    more, and `NEVER` for too few pairs or where the first bin fails.
    """
    order = np.argsort(-scores, kind="stable")
    whole = len(order) // BIN_PAIRS * BIN_PAIRS
    if not whole:
        return NEVER
    agreed = same[order[:whole]].reshape(-1, BIN_PAIRS).mean(axis=1)
    first = max(1, len(agreed) // 50)
    best = float(agreed[:first].mean())
    noise = 2 * np.sqrt(max(best * (1 - best), 0.01) / BIN_PAIRS)
    falls = np.flatnonzero(agreed < best - SLACK - noise)
    last = (falls[0] if len(falls) else len(agreed)) * BIN_PAIRS
    return max(LEAST, float(scores[order[last - 1]])) if last else NEVER


@dataclass(frozen=True, eq=False)
class Groups:
    """Products grouped by a key, such as the hash of a title.

    order: (n,) int64, rows sorted by key. keys: (n,) uint64 in that order; 0 for no group.
    """

    order: Codes
    keys: np.ndarray

    @classmethod
    def of(cls, keys: np.ndarray) -> Groups:
        """Group products. keys: (n,) uint64, one per product; 0 for no group."""
        order = np.argsort(keys, kind="stable").astype(np.int64)
        return cls(order, keys[order])

    def pairs(self, rows: Codes, keys: np.ndarray) -> tuple[Codes, Codes]:
        """Other products with the keys of some rows: (m,) int64 positions in `rows`, and (m,) int64
        rows of the others.

        keys: (len(rows),) uint64, the keys of the rows.
        """
        first = np.searchsorted(self.keys, keys)
        count = np.minimum(np.searchsorted(self.keys, keys, side="right") - first, MOST)
        count[keys == 0] = 0
        who = np.repeat(np.arange(len(rows)), count)
        offset = np.arange(len(who)) - np.repeat(np.cumsum(count) - count, count)
        other = self.order[np.repeat(first, count) + offset]
        kept = other != rows[who]
        return who[kept], other[kept]


@dataclass(frozen=True, eq=False)
class Copies:
    """Near duplicates of a catalogue, computed on request.

    keys: (n,) uint64 each, of the products' titles and of their photos. groups: of these keys.
    threshold: a cosine; see `nearness`.
    """

    keys: tuple[np.ndarray, ...]
    groups: tuple[Groups, ...]
    threshold: float

    @classmethod
    def of(cls, keys: tuple[np.ndarray, ...], threshold: float) -> Copies:
        """Group the products by each array of keys."""
        return cls(keys, tuple(map(Groups.of, keys)), threshold)

    def pairs(self, rows: Codes, near: Codes, scores: Floats) -> tuple[Codes, Codes]:
        """Near duplicates of some rows, without repeats: (m,) int64 positions in `rows`, and (m,)
        int64 rows of the copies.

        near, scores: (len(rows), k), the rows' neighbours, -1 for none, and their cosines.
        """
        found = [
            group.pairs(rows, keys[rows])
            for group, keys in zip(self.groups, self.keys, strict=True)
        ]
        who, column = np.nonzero((scores >= self.threshold) & (near >= 0))
        found.append((who, near[who, column]))
        pairs = np.stack([np.concatenate(part) for part in zip(*found, strict=True)])
        who, other = np.unique(pairs, axis=1)
        return who, other

    def shares(self, who: Codes, labels: Codes, rows: int, classes: int) -> tuple[Floats, Floats]:
        """Label shares among copies, (rows, classes) float32, and their weights, (rows,) float32
        from 0 for no copy to almost 1 for many.

        who: (m,) positions from `pairs`. labels: (m,) int64 of the copies, -1 for none.
        """
        labelled = labels >= 0
        counted = np.zeros((rows, classes), dtype=np.float32)
        np.add.at(counted, (who[labelled], labels[labelled]), 1)
        votes = counted.sum(axis=1)
        counted /= np.maximum(votes, 1)[:, None]
        return counted, votes / (votes + 1)
