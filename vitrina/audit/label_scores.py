"""Label scores: out-of-fold evidence against each label, pooled and ranked.

Three models score every product: a head over its vectors and a linear model over its words, both
fitted on other products without its copies, and a vote of its neighbours. Their probabilities are
averaged (a linear opinion pool: Stone, "The opinion pool", 1961), since a mean tolerates one
overconfident model, as a product of probabilities would not. Labels are ranked by the odds of the
most probable other category against them. That ranks better than the label's own probability, as in
confident learning (Northcutt, Jiang & Chuang, 2021): where the models are uncertain, the label's
probability is low, and so is every other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrina.types import Codes, Floats, Mask

DOUBT = 0.05
"""Added to every label's probability: odds of 0.2 to 0.0001 are no stronger evidence than odds of
0.9 to 0.001."""
RARE = 0.5
"""Added as well to a label whose category has no other product; a tenth of it where there are 9
others."""


@dataclass(frozen=True, eq=False)
class LabelScores:
    """Probabilities of the labels of n products, and of the most probable other categories.

    given: (n,) float32, the probability of the label. other: (n,) int64, the most probable other
    category; -1 for none. beside: (n,) float32, the probability of that one.
    """

    given: Floats
    other: Codes
    beside: Floats

    @classmethod
    def nothing(cls, rows: int) -> LabelScores:
        """Empty scores of this many products, to be filled in by `put`."""
        return cls(
            np.zeros(rows, dtype=np.float32),
            np.full(rows, -1, dtype=np.int64),
            np.zeros(rows, dtype=np.float32),
        )

    def of(self, rows: Codes) -> LabelScores:
        """The scores of some rows."""
        return LabelScores(self.given[rows], self.other[rows], self.beside[rows])

    def put(self, rows: Codes, shares: Floats, codes: Codes) -> None:
        """Fill in some rows. shares: (m, classes) probabilities. codes: (m,) int64, their labels,
        none missing."""
        at = np.arange(len(rows))
        self.given[rows] = shares[at, codes]
        rest = shares.copy()
        rest[at, codes] = -1
        other = rest.argmax(axis=1)
        self.other[rows] = other
        self.beside[rows] = np.maximum(rest[at, other], 0)

    @property
    def against(self) -> Mask:
        """Mask of labels less probable than another category: (n,) bool."""
        found: Mask = self.beside > self.given
        return found

    def score(self, others: Codes) -> Floats:
        """Evidence against each label: (n,) float32 from 0 to 1, and 0.5 where another category is
        more probable by exactly the label's allowance.

        others: (n,) int64, the number of other products of each label's category. The score is the
        odds with an allowance for the label: `DOUBT`, and more for a rare category, which no model
        can predict well.
        """
        allowance = DOUBT + RARE / (1 + np.maximum(others, 0))
        found: Floats = (self.beside / (self.beside + self.given + allowance)).astype(np.float32)
        return found


def ranking(score: Floats, keys: Codes) -> Codes:
    """Rows, the highest score first; ties by the smaller key. Returns (n,) int64."""
    return np.lexsort((keys, -score))


def confident(said: LabelScores, codes: Codes, classes: int) -> Mask:
    """Mask of labels that confident learning counts as wrong (Northcutt et al. 2021), (n,) bool:
    another category is at least as probable as it is on average for its own products.

    codes: (n,) int64 labels. Use it to estimate how many labels are wrong, not which.
    """
    rows = np.bincount(codes, minlength=classes)
    sums = np.bincount(codes, weights=said.given, minlength=classes)
    expected = np.where(rows > 0, sums / np.maximum(rows, 1), np.inf)
    found: Mask = said.against & (said.beside >= expected[np.maximum(said.other, 0)])
    return found & (said.other >= 0)
