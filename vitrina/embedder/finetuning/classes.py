"""Base of text and image classification tasks: a trainable head over an encoder's vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from vitrina.parallel import map_ahead
from vitrina.threads import side_by_side
from vitrina.training.dropout import Dropout
from vitrina.training.loss import GUESSES, ClassLoss, SoftTargets
from vitrina.types import Codes, Floats

BLOCK = 20_000
"""Rows whose logits are in memory at once during pseudo-labelling."""

Score = Callable[[Codes, Codes], float]
"""Scores true and predicted classes, higher is better."""


@dataclass(eq=False, kw_only=True)
class Classes(ABC):
    """Classification by an encoder's vectors; a `Task`.

    Attributes:
        network: the encoder network, trained with its head.
        labels: (n,) int64, the class of every row.
        classes: number of classes.
        rows: training rows.
        held: held-out rows, scored after each epoch; may be empty.
        loss: of the head's logits.
        score_of: scores the head's predictions.
        layer_decay: learning rate of a layer relative to the layer above it.
        dropout: dropout probability before the head.
        guesses: pseudo-labels of training rows without a label; None if all have one.
    """

    network: Any
    labels: Codes
    classes: int
    rows: Codes
    held_out: Codes
    loss: ClassLoss
    score_of: Score
    layer_decay: float = 1.0
    dropout: float = 0.1
    pseudo_labels: SoftTargets | None = None
    head: torch.nn.Linear = field(init=False)
    head_dropout: Dropout = field(init=False)

    def __post_init__(self) -> None:
        """Add a zero-initialised head, for which all classes are equally probable."""
        self.head = torch.nn.Linear(self.network.dim, self.classes).to(self.network.device)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.head_dropout = Dropout(self.dropout)

    @property
    def workers(self) -> int:
        """As `Task.workers`."""
        return int(self.network.workers)

    def train(self) -> None:
        """Switch network and head to training mode."""
        self.network.train()
        self.head_dropout.train()

    def score(self) -> float:
        """As `Task.score`: `score_of` on held-out rows."""
        if not len(self.held_out):
            return float("nan")
        return self.score_of(self.labels[self.held_out], self.logits(self.held_out).argmax(axis=1))

    def logits(self, rows: Codes) -> Floats:
        """The head's logits for some rows: (len(rows), classes) float32."""
        out = np.empty((len(rows), self.classes), dtype=np.float32)
        self.network.eval()
        self.head_dropout.eval()

        def some(chosen: Codes) -> tuple[Codes, Floats]:
            with torch.inference_mode():
                logits = self.head(self._served(rows[chosen]))
                return chosen, logits.float().cpu().numpy()

        with side_by_side(self.workers):
            for chosen, logits in map_ahead(some, self._batches(rows), self.workers):
                out[chosen] = logits
        return out

    @abstractmethod
    def _batches(self, rows: Codes) -> Iterable[Codes]:
        """Split rows into inference batches: positions in `rows`."""

    @abstractmethod
    def _served(self, rows: Codes) -> torch.Tensor:
        """Vectors of some rows as in inference, without augmentation: (len(rows), dim) float32."""

    def _loss_of(self, vectors: torch.Tensor, rows: Codes) -> torch.Tensor:
        labels = torch.from_numpy(self.labels[rows]).to(self.network.device)
        logits = self.head(self.head_dropout(vectors))
        if self.pseudo_labels is None:
            return self.loss(logits, labels)
        return self.loss.with_pseudo_labels(logits, labels, rows, self.pseudo_labels)

    def predict_top(self, rows: Codes) -> tuple[Codes, Floats]:
        """Pseudo-label rows: the most probable classes, (len(rows), k) int64, and their
        probabilities, (len(rows), k) float32."""
        kept = min(GUESSES, self.classes)
        classes = np.empty((len(rows), kept), dtype=np.int64)
        probabilities = np.empty((len(rows), kept), dtype=np.float32)
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            scores = self.loss.scores(torch.from_numpy(self.logits(rows[block])))
            top = scores.softmax(dim=1).topk(kept, dim=1)
            classes[block], probabilities[block] = top.indices.numpy(), top.values.numpy()
        return classes, probabilities
