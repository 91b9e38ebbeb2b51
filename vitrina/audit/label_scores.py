"""How much speaks against a label: what those say who never saw it, pooled and ranked.

Three voices are heard of every product: a head over its vectors and a linear model of its words,
both fitted on other products and their copies left out, and its neighbours. Their probabilities
are averaged (a linear opinion pool: Stone, "The opinion pool", 1961), since a mean bears one voice
that is wrongly sure, as a product of them would not. A label is then suspect by the odds of the
likeliest other category against it. That ranks better than the label's own probability, as in
confident learning (Northcutt, Jiang & Chuang, 2021): where the voices are at a loss, the label's
probability is low, and so is every other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrina.types import Codes, Floats, Mask

DOUBT = 0.05
"""What every label is granted beside its probability: odds of 0.2 to 0.0001 are no surer a sign
than odds of 0.9 to 0.001."""
RARE = 0.5
"""What the label of a category without another product is granted besides; that of one with 9 more
a tenth of it."""


@dataclass(frozen=True, eq=False)
class LabelScores:
    """What somebody says of the categories of n products.

    given: (n,) float32, the probability of the one that each has. other: (n,) int64, the likeliest
    one beside it. beside: (n,) float32, that one's probability.
    """

    given: Floats
    other: Codes
    beside: Floats

    @classmethod
    def nothing(cls, rows: int) -> LabelScores:
        """Of so many products, to be filled in by `put`."""
        return cls(
            np.zeros(rows, dtype=np.float32),
            np.full(rows, -1, dtype=np.int64),
            np.zeros(rows, dtype=np.float32),
        )

    def of(self, rows: Codes) -> LabelScores:
        """What is said of some of them."""
        return LabelScores(self.given[rows], self.other[rows], self.beside[rows])

    def put(self, rows: Codes, shares: Floats, codes: Codes) -> None:
        """Fill in some rows. shares: (m, classes) probabilities. codes: (m,) their labels, which
        are all there."""
        at = np.arange(len(rows))
        self.given[rows] = shares[at, codes]
        rest = shares.copy()
        rest[at, codes] = -1
        other = rest.argmax(axis=1)
        self.other[rows] = other
        self.beside[rows] = np.maximum(rest[at, other], 0)

    @property
    def against(self) -> Mask:
        """(n,) bool: whether another category is likelier than the label."""
        found: Mask = self.beside > self.given
        return found

    def score(self, others: Codes) -> Floats:
        """(n,) float32 from 0 to 1: how suspect each label is, 0.5 where another category is
        likelier by just what is granted to a label.

        others: (n,) int64, the other products of each label's category. The odds, but every label
        is granted `DOUBT`, and that of a rare category more: nobody can have learnt to tell it.
        """
        granted = DOUBT + RARE / (1 + np.maximum(others, 0))
        found: Floats = (self.beside / (self.beside + self.given + granted)).astype(np.float32)
        return found


def ranking(score: Floats, keys: Codes) -> Codes:
    """Rows, the most suspect first; of equals the one with the smaller key."""
    return np.lexsort((keys, -score))


def confident(said: LabelScores, codes: Codes, classes: int) -> Mask:
    """(n,) bool: labels that confident learning counts as wrong (Northcutt et al. 2021): another
    category reaches the probability that its own products have of it on average.

    codes: (n,) int64 the labels. It serves to tell how many labels are wrong, not which.
    """
    rows = np.bincount(codes, minlength=classes)
    sums = np.bincount(codes, weights=said.given, minlength=classes)
    expected = np.where(rows > 0, sums / np.maximum(rows, 1), np.inf)
    found: Mask = said.against & (said.beside >= expected[np.maximum(said.other, 0)])
    return found & (said.other >= 0)
