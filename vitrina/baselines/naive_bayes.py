"""Complement naive Bayes over words and word pairs.

Rennie et al., "Tackling the poor assumptions of naive Bayes text classifiers", 2003; the scores are
those of scikit-learn's ComplementNB, up to what is the same for all classes. That one holds several
matrices of classes by terms, gigabytes for a catalogue; but of what the others have of a term, a
class that lacks it has all, so that only the terms that a class has are worth holding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from vitrina.baselines.base import BaselineTask
from vitrina.baselines.terms import TermKinds, Terms
from vitrina.types import Floats

TERMS = TermKinds(words=(1, 2), characters=None, fewest=1)
PRIORS = (0.1, 0.3, 1.0, 3.0)
"""What may be added to every count; held rows choose."""
PRIOR = 1.0
"""Where there are none."""


@dataclass(frozen=True, eq=False)
class NaiveBayes:
    """weights: (terms, classes), what a term speaks for a class. totals: (classes,) float64, what
    any term does."""

    terms: Terms
    weights: sp.csr_matrix
    totals: npt.NDArray[np.float64]

    def logits(self, texts: Sequence[str]) -> Floats:
        """As `Scorer.logits`."""
        return self.of(self.terms(texts))

    def of(self, matrix: sp.csr_matrix) -> Floats:
        """The same of texts as their terms."""
        anywhere = np.asarray(matrix.sum(axis=1)) * self.totals
        logits: Floats = ((matrix @ self.weights).toarray() + anywhere).astype(np.float32)
        return logits


def learn_naive_bayes(lesson: BaselineTask) -> NaiveBayes:
    """Count, and choose what is added to the counts by held rows."""
    terms, matrix = Terms.learn(lesson.texts, TERMS)
    there = np.ones(len(lesson.texts))
    members = sp.csr_matrix((there, lesson.labels, np.arange(len(there) + 1)))
    counts = (matrix.T @ members).tocsr()
    if not lesson.held:
        return _weighed(terms, counts, PRIOR)
    held = terms(lesson.held)
    candidates = [_weighed(terms, counts, prior) for prior in PRIORS]
    scores = [lesson.score(one.of(held)) for one in candidates]
    return candidates[int(np.argmax(scores))]


def _weighed(terms: Terms, counts: sp.csr_matrix, prior: float) -> NaiveBayes:
    """counts: (terms, classes). prior: added to the count of every term outside a class."""
    anywhere = np.asarray(counts.sum(axis=1)).ravel() + prior
    outside = anywhere.sum() - np.asarray(counts.sum(axis=0)).ravel()
    weights = counts.copy()
    own = np.repeat(anywhere, np.diff(counts.indptr))
    # log(others' count) is log(everybody's) but for this; rounding may leave others less than 0.
    weights.data = -np.log(np.maximum(own - counts.data, prior) / own)
    return NaiveBayes(terms, weights, np.log(outside))
