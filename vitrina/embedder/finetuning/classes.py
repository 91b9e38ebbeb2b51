"""What telling classes by text and by photo have in common: a head over an encoder's vectors."""

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
from vitrina.training.loss import GUESSES, ClassLoss, Guesses
from vitrina.types import Codes, Floats

BLOCK = 20_000
"""Rows whose logits are held at once while they are guessed."""

Score = Callable[[Codes, Codes], float]
"""Of true and predicted classes: the higher, the better."""


@dataclass(eq=False, kw_only=True)
class Classes(ABC):
    """The task of telling classes by an encoder's vectors.

    Attributes:
        network: what is trained, with its head.
        labels: (n,) int64, the class of every row.
        classes: how many there are.
        rows: to train on.
        held: to score on while training goes on; may be empty.
        loss, score_of: of the head's logits; of its choices.
        layer_decay: what the learning rate of each layer is multiplied by, seen from the one
            above it.
        dropout: the share of a vector's numbers that the head does not see.
        guesses: of rows to train on that have no label; None where all have one.
    """

    network: Any
    labels: Codes
    classes: int
    rows: Codes
    held: Codes
    loss: ClassLoss
    score_of: Score
    layer_decay: float = 1.0
    dropout: float = 0.1
    guesses: Guesses | None = None
    head: torch.nn.Linear = field(init=False)
    head_dropout: Dropout = field(init=False)

    def __post_init__(self) -> None:
        """Add a head of zeros: at first every class is as likely."""
        self.head = torch.nn.Linear(self.network.dim, self.classes).to(self.network.device)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.head_dropout = Dropout(self.dropout)

    @property
    def workers(self) -> int:
        """As `Task.workers`."""
        return int(self.network.workers)

    def learn(self) -> None:
        """Let network and head learn."""
        self.network.train()
        self.head_dropout.train()

    def score(self) -> float:
        """As `Task.score`."""
        if not len(self.held):
            return float("nan")
        return self.score_of(self.labels[self.held], self.logits(self.held).argmax(axis=1))

    def logits(self, rows: Codes) -> Floats:
        """What the head says of some rows: (len(rows), classes) float32."""
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
        """Which of some rows are looked at together when nothing is learnt: positions in `rows`."""

    @abstractmethod
    def _served(self, rows: Codes) -> torch.Tensor:
        """The vectors of some rows as serving would have them: (len(rows), dim) float32."""

    def _loss_of(self, vectors: torch.Tensor, rows: Codes) -> torch.Tensor:
        labels = torch.from_numpy(self.labels[rows]).to(self.network.device)
        logits = self.head(self.head_dropout(vectors))
        if self.guesses is None:
            return self.loss(logits, labels)
        return self.loss.with_guesses(logits, labels, rows, self.guesses)

    def guess(self, rows: Codes) -> tuple[Codes, Floats]:
        """The likeliest classes of rows and their probabilities, (len(rows), k) each."""
        kept = min(GUESSES, self.classes)
        classes = np.empty((len(rows), kept), dtype=np.int64)
        odds = np.empty((len(rows), kept), dtype=np.float32)
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            scores = self.loss.scores(torch.from_numpy(self.logits(rows[block])))
            top = scores.softmax(dim=1).topk(kept, dim=1)
            classes[block], odds[block] = top.indices.numpy(), top.values.numpy()
        return classes, odds
