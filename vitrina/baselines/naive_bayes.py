"""Complement naive Bayes over words and word pairs.

Rennie et al., "Tackling the poor assumptions of naive Bayes text classifiers", 2003. The scores
equal those of scikit-learn's ComplementNB, up to a constant that all classes share. ComplementNB
holds several dense matrices of classes by terms, gigabytes for a catalogue. For a term that a class
lacks, the complement count is the term's total count, so storing each class's own terms suffices.
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
"""Candidates for the smoothing count; held-out rows choose one."""
PRIOR = 1.0
"""Smoothing count if there are no held-out rows."""


@dataclass(frozen=True, eq=False)
class NaiveBayes:
    """Trained naive Bayes.

    weights: (terms, classes), the extra weight of a term for a class that has it. totals:
    (classes,) float64, the weight of any term.
    """

    terms: Terms
    weights: sp.csr_matrix
    totals: npt.NDArray[np.float64]

    def logits(self, texts: Sequence[str]) -> Floats:
        """As `Scorer.logits`."""
        return self.of(self.terms(texts))

    def of(self, matrix: sp.csr_matrix) -> Floats:
        """Logits of texts given as terms, (n, terms): (n, classes) float32."""
        anywhere = np.asarray(matrix.sum(axis=1)) * self.totals
        logits: Floats = ((matrix @ self.weights).toarray() + anywhere).astype(np.float32)
        return logits


def fit_naive_bayes(task: BaselineTask) -> NaiveBayes:
    """Count terms per class, and choose the smoothing count on held-out rows."""
    terms, matrix = Terms.fit(task.texts, TERMS)
    there = np.ones(len(task.texts))
    one_hot = sp.csr_matrix((there, task.labels, np.arange(len(there) + 1)))
    counts = (matrix.T @ one_hot).tocsr()
    if not task.held_out:
        return _weighted(terms, counts, PRIOR)
    held_out = terms(task.held_out)
    candidates = [_weighted(terms, counts, prior) for prior in PRIORS]
    scores = [task.score(one.of(held_out)) for one in candidates]
    return candidates[int(np.argmax(scores))]


def _weighted(terms: Terms, counts: sp.csr_matrix, prior: float) -> NaiveBayes:
    """Compute the weights.

    counts: (terms, classes). prior: added to every term's complement count.
    """
    anywhere = np.asarray(counts.sum(axis=1)).ravel() + prior
    outside = anywhere.sum() - np.asarray(counts.sum(axis=0)).ravel()
    weights = counts.copy()
    own = np.repeat(anywhere, np.diff(counts.indptr))
    # The difference of log(complement count) from log(total count); rounding may leave a complement
    # count below 0.
    weights.data = -np.log(np.maximum(own - counts.data, prior) / own)
    return NaiveBayes(terms, weights, np.log(outside))
