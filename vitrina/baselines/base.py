"""Common types of all baselines: training examples, the scorer protocol, the trained baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from vitrina.classifier.calibrate import softmax
from vitrina.classifier.metrics import evaluate
from vitrina.errors import TrainingError
from vitrina.training.loop import History
from vitrina.types import Codes, Floats


class BaselineKind(StrEnum):
    """A baseline method."""

    NAIVE_BAYES = "naive-bayes"
    LINEAR_SVM = "linear-svm"
    MLP = "mlp"
    CNN = "cnn"
    LSTM = "lstm"


@dataclass(frozen=True, eq=False)
class TextExamples:
    """A catalogue's products, and the training and held-out rows among them.

    Attributes:
        texts: of all n products.
        labels: (n,) int64 below `classes`, -1 for none.
        classes: number of classes.
        rows: (m,) int64, training rows; those without a label are left out.
        held: int64, held-out rows for early stopping and calibration; may be empty. Never
            validation rows.
    """

    texts: Sequence[str]
    labels: Codes
    classes: int
    rows: Codes
    held_out: Codes

    def __post_init__(self) -> None:
        """Raise ValueError if the arrays don't fit each other."""
        if len(self.labels) != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts, but {len(self.labels)} labels")
        if len(self.labels) and self.labels.max() >= self.classes:
            raise ValueError(f"class numbers must be below {self.classes}")
        if len(np.intersect1d(self.rows, self.held_out)):
            raise ValueError("some rows are both training and held-out rows")


@dataclass(frozen=True, eq=False)
class BaselineTask:
    """Examples in the form that a method trains on, with classes renumbered to those present.

    Attributes:
        texts: of the training rows.
        labels: (len(texts),) int64 below `classes`; every class occurs.
        held, held_labels: texts and labels of held-out rows; rows of other classes are left out.
        classes: number of classes.
        present: (classes,) int64, their numbers in the catalogue.
    """

    texts: list[str]
    labels: Codes
    held_out: list[str]
    held_out_labels: Codes
    present: Codes

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.present)

    @classmethod
    def of(cls, examples: TextExamples) -> BaselineTask:
        """Select rows and classes. Raises TrainingError if the rows have fewer than two classes."""
        rows = examples.rows[examples.labels[examples.rows] >= 0]
        present, labels = np.unique(examples.labels[rows], return_inverse=True)
        if len(present) < 2:
            raise TrainingError(
                f"a baseline needs two classes, but the training rows have {len(present)}; "
                "label products of at least two"
            )
        held_out = examples.held_out[np.isin(examples.labels[examples.held_out], present)]
        return cls(
            [examples.texts[row] for row in rows],
            labels.astype(np.int64),
            [examples.texts[row] for row in held_out],
            np.searchsorted(present, examples.labels[held_out]).astype(np.int64),
            present,
        )

    def score(self, logits: Floats) -> float:
        """Weighted F1 on held-out rows by their logits, (len(held), classes); NaN if there are no
        such rows."""
        if not self.held_out:
            return float("nan")
        chosen = logits.argmax(axis=1)
        return evaluate(
            self.held_out_labels, chosen, None, classes=self.classes, bootstrap=1
        ).weighted_f1


class Scorer(Protocol):
    """A trained method."""

    def logits(self, texts: Sequence[str]) -> Floats:
        """Logits over the task's classes: (len(texts), classes) float32."""
        ...


@dataclass(frozen=True, eq=False)
class Baseline:
    """A trained, calibrated method.

    Attributes:
        scorer: the trained method.
        present: (k,) int64, the catalogue's numbers of the scorer's classes.
        classes: number of classes in the catalogue.
        temperature: divisor of the logits.
        history: of the training; None for a method not trained by `training.loop`.
    """

    scorer: Scorer
    present: Codes
    classes: int
    temperature: float
    history: History | None = None

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """(len(texts), classes) float32, rows sum to 1; 0 for classes without training rows."""
        out = np.zeros((len(texts), self.classes), dtype=np.float32)
        if len(texts):
            out[:, self.present] = softmax(self.scorer.logits(texts), self.temperature)
        return out
