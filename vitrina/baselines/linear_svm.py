"""Linear support vector machine over TF-IDF of words, word pairs and character n-grams.

One-vs-rest, by stochastic gradient descent (Zhang, "Solving large scale linear prediction problems
using stochastic gradient descent algorithms", 2004). LinearSVC, which solves the same problem to
convergence, took almost three times as long on 20,000 products for half a point of F1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import SGDClassifier

from vitrina.baselines.base import BaselineTask
from vitrina.baselines.terms import TermKinds, Terms
from vitrina.limits import worker_threads
from vitrina.parallel import Progress
from vitrina.types import Floats

TERMS = TermKinds(words=(1, 2), characters=(2, 5), most=50_000)
PENALTY = 1e-5
"""L2 penalty on a class's weights, relative to its mean hinge loss."""
EPOCHS, STEPS = 5, 100_000
"""Minimum passes over the rows, and minimum rows summed over passes."""
CLASSES_AT_ONCE = 64
"""Classes fitted together, in float64; weights are kept in float32."""


@dataclass(frozen=True, eq=False)
class LinearSvm:
    """Trained linear SVM. weights: (terms, classes) float32. offsets: (classes,) float32."""

    terms: Terms
    weights: Floats
    offsets: Floats

    def logits(self, texts: Sequence[str]) -> Floats:
        """Decision values of each class; see `Scorer.logits`."""
        logits: Floats = self.terms(texts) @ self.weights + self.offsets
        return logits


def fit_linear_svm(task: BaselineTask, *, seed: int, progress: Progress) -> LinearSvm:
    """Fit all classes, `CLASSES_AT_ONCE` at a time. progress: takes texts, `len(lesson.texts)` in
    total. Raises TrainingError if the texts hold no words."""
    terms, matrix = Terms.fit(task.texts, TERMS)
    weights = np.empty((len(terms), task.classes), dtype=np.float32)
    offsets = np.empty(task.classes, dtype=np.float32)
    rows = len(task.texts)
    for start in range(0, task.classes, CLASSES_AT_ONCE):
        stop = min(start + CLASSES_AT_ONCE, task.classes)
        # All other classes form one more class, whose weights are discarded.
        targets = np.where(task.labels < start, stop, np.minimum(task.labels, stop))
        machine = SGDClassifier(
            loss="hinge",
            alpha=PENALTY,
            max_iter=max(EPOCHS, -(-STEPS // rows)),
            tol=None,
            random_state=seed,
            n_jobs=worker_threads(),
        )
        machine.fit(matrix, targets)
        borders, offset = machine.coef_, machine.intercept_
        if len(borders) == 1:
            # For two classes scikit-learn returns the second one's weights alone.
            borders, offset = np.concatenate([-borders, borders]), np.concatenate([-offset, offset])
        weights[:, start:stop] = borders[: stop - start].T
        offsets[start:stop] = offset[: stop - start]
        progress(rows * stop // task.classes - rows * start // task.classes)
    return LinearSvm(terms, weights, offsets)
