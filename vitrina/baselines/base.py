"""What every baseline learns from, and what comes of it."""

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
    """A method."""

    NAIVE_BAYES = "naive-bayes"
    LINEAR_SVM = "linear-svm"
    MLP = "mlp"
    CNN = "cnn"
    LSTM = "lstm"


@dataclass(frozen=True, eq=False)
class TextExamples:
    """A catalogue's products, and which of them to use.

    Attributes:
        texts: of all n products.
        labels: (n,) int64 below `classes`, -1 for none.
        classes: how many there are.
        rows: (m,) int64, which to learn from; those without a label are left out.
        held: a few more, to stop and to calibrate by; may be empty. Never validation rows.
    """

    texts: Sequence[str]
    labels: Codes
    classes: int
    rows: Codes
    held: Codes

    def __post_init__(self) -> None:
        """Raise ValueError where the arrays don't fit each other."""
        if len(self.labels) != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts, but {len(self.labels)} labels")
        if len(self.labels) and self.labels.max() >= self.classes:
            raise ValueError(f"class numbers must lie below {self.classes}")
        if len(np.intersect1d(self.rows, self.held)):
            raise ValueError("some rows are held, and to be learnt from too")


@dataclass(frozen=True, eq=False)
class BaselineTask:
    """Examples as a method sees them: only the texts it may see, only the classes they have.

    Attributes:
        texts: to learn from.
        labels: (len(texts),) int64 below `classes`; every class is there.
        held, held_labels: the same of held rows; without those of other classes.
        classes: how many there are.
        present: (classes,) int64, their numbers in the catalogue.
    """

    texts: list[str]
    labels: Codes
    held: list[str]
    held_labels: Codes
    present: Codes

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.present)

    @classmethod
    def of(cls, examples: TextExamples) -> BaselineTask:
        """Raises TrainingError where there is nothing to tell apart."""
        rows = examples.rows[examples.labels[examples.rows] >= 0]
        present, labels = np.unique(examples.labels[rows], return_inverse=True)
        if len(present) < 2:
            raise TrainingError(
                f"a baseline tells classes apart, but the rows to learn from have {len(present)}; "
                "label products of at least two"
            )
        held = examples.held[np.isin(examples.labels[examples.held], present)]
        return cls(
            [examples.texts[row] for row in rows],
            labels.astype(np.int64),
            [examples.texts[row] for row in held],
            np.searchsorted(present, examples.labels[held]).astype(np.int64),
            present,
        )

    def score(self, logits: Floats) -> float:
        """Weighted F1 of what is chosen for held rows by (len(held), classes) logits; NaN where
        there are none."""
        if not self.held:
            return float("nan")
        chosen = logits.argmax(axis=1)
        return evaluate(
            self.held_labels, chosen, None, classes=self.classes, bootstrap=1
        ).weighted_f1


class Scorer(Protocol):
    """A method that has learnt."""

    def logits(self, texts: Sequence[str]) -> Floats:
        """What speaks for each class of the lesson: (len(texts), classes) float32."""
        ...


@dataclass(frozen=True, eq=False)
class Baseline:
    """A method that has learnt, and is calibrated.

    Attributes:
        scorer: what it learnt.
        present: (k,) int64, the classes that it learnt.
        classes: how many the catalogue has.
        temperature: what logits are divided by.
        history: of the training, where it went by `training.loop`.
    """

    scorer: Scorer
    present: Codes
    classes: int
    temperature: float
    history: History | None = None

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """(len(texts), classes) float32, rows sum to 1; 0 for classes that it never saw."""
        out = np.zeros((len(texts), self.classes), dtype=np.float32)
        if len(texts):
            out[:, self.present] = softmax(self.scorer.logits(texts), self.temperature)
        return out
