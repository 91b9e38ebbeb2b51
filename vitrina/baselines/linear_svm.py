"""A linear support vector machine over TF-IDF of words, word pairs and character n-grams.

One class against all others, by stochastic gradient descent (Zhang, "Solving large scale linear
prediction problems using stochastic gradient descent algorithms", 2004). LinearSVC, which solves
the same problem to the end, took almost three times as long on 20,000 products for half a point
of F1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import SGDClassifier

from vitrina.baselines.base import BaselineTask
from vitrina.baselines.terms import TermKinds, Terms
from vitrina.parallel import Progress
from vitrina.types import Floats

TERMS = TermKinds(words=(1, 2), characters=(2, 5), most=50_000)
PENALTY = 1e-5
"""What the squared length of a class's weights costs, beside its mean hinge loss."""
EPOCHS, STEPS = 5, 100_000
"""Passes over the rows, at least, and rows in all passes, at least."""
CLASSES_AT_ONCE = 64
"""Each is learnt in float64 and kept in float32."""


@dataclass(frozen=True, eq=False)
class LinearSvm:
    """weights: (terms, classes) float32. offsets: (classes,) float32."""

    terms: Terms
    weights: Floats
    offsets: Floats

    def logits(self, texts: Sequence[str]) -> Floats:
        """As `Scorer.logits`: how far on its side of each class's border a text lies."""
        logits: Floats = self.terms(texts) @ self.weights + self.offsets
        return logits


def learn_linear_svm(lesson: BaselineTask, *, seed: int, progress: Progress) -> LinearSvm:
    """Learn all classes, some at a time. progress: told the texts, as their share of the work."""
    terms, matrix = Terms.learn(lesson.texts, TERMS)
    weights = np.empty((len(terms), lesson.classes), dtype=np.float32)
    offsets = np.empty(lesson.classes, dtype=np.float32)
    rows = len(lesson.texts)
    for start in range(0, lesson.classes, CLASSES_AT_ONCE):
        stop = min(start + CLASSES_AT_ONCE, lesson.classes)
        # All others as one class more, which is learnt too and thrown away.
        targets = np.where(lesson.labels < start, stop, np.minimum(lesson.labels, stop))
        machine = SGDClassifier(
            loss="hinge",
            alpha=PENALTY,
            max_iter=max(EPOCHS, -(-STEPS // rows)),
            tol=None,
            random_state=seed,
            n_jobs=-1,
        )
        machine.fit(matrix, targets)
        borders, offset = machine.coef_, machine.intercept_
        if len(borders) == 1:
            # Of two classes scikit-learn gives the second one's border alone.
            borders, offset = np.concatenate([-borders, borders]), np.concatenate([-offset, offset])
        weights[:, start:stop] = borders[: stop - start].T
        offsets[start:stop] = offset[: stop - start]
        progress(rows * stop // lesson.classes - rows * start // lesson.classes)
    return LinearSvm(terms, weights, offsets)
