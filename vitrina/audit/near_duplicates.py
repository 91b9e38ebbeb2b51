"""Near-duplicates: products that share a title or a photo, or lie nearer than the data's threshold.

Their labels ought to agree, so what each product's copies are labelled speaks of its own label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrina.types import Codes, Floats

MOST = 50
"""Products of one title or photo that are looked at for each of them: a stock photo may join
thousands."""
BIN_PAIRS = 200
"""Pairs by which it is told how often labels agree at some nearness."""
SLACK = 0.02
"""Copies' labels may agree by so much less than those of the nearest pairs do."""
LEAST = 0.8
"""Cosine below which two products have a topic in common, not an origin."""
NEVER = 2.0
"""A threshold that no cosine reaches."""


def nearness(scores: Floats, same: np.ndarray) -> float:
    """From which cosine on two products are copies, as the labels of pairs tell.

    Args:
        scores: (m,) float32, the cosines of neighbours.
        same: (m,) bool, whether their labels are the same.

    Pairs are looked at from the nearest on, `BIN_PAIRS` at a time, as long as their labels agree
    almost as often as those of the nearest fiftieth do: wrong labels lower both alike. Returns
    `LEAST` or more, and `NEVER` where pairs are too few to tell.
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
    """Products by something that they share, such as a title.

    order: (n,) int64, rows sorted by key. keys: (n,) uint64 in that order; 0 is shared by nobody.
    """

    order: Codes
    keys: np.ndarray

    @classmethod
    def of(cls, keys: np.ndarray) -> Groups:
        """keys: (n,) uint64, one per product."""
        order = np.argsort(keys, kind="stable").astype(np.int64)
        return cls(order, keys[order])

    def pairs(self, rows: Codes, keys: np.ndarray) -> tuple[Codes, Codes]:
        """Who shares with some rows: (m,) places in `rows`, and (m,) the others' rows.

        keys: (len(rows),) those of the rows.
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
    """All near-duplicates of a catalogue, told when asked for.

    keys: (n,) uint64 each: the products' titles, their photos. threshold: see `nearness`.
    """

    keys: tuple[np.ndarray, ...]
    groups: tuple[Groups, ...]
    threshold: float

    @classmethod
    def of(cls, keys: tuple[np.ndarray, ...], threshold: float) -> Copies:
        """Sort them once."""
        return cls(keys, tuple(map(Groups.of, keys)), threshold)

    def pairs(self, rows: Codes, near: Codes, scores: Floats) -> tuple[Codes, Codes]:
        """The copies of some rows, each once: (m,) places in `rows`, and (m,) the copies' rows.

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
        """What copies say: (rows, classes) float32 shares of labels, and (rows,) float32 how much
        to hear them, from 0 for none to almost 1 for many.

        who: (m,) of `pairs`. labels: (m,) int64, the copies', -1 for none.
        """
        told = labels >= 0
        counted = np.zeros((rows, classes), dtype=np.float32)
        np.add.at(counted, (who[told], labels[told]), 1)
        heard = counted.sum(axis=1)
        counted /= np.maximum(heard, 1)[:, None]
        return counted, heard / (heard + 1)
