"""A text encoder with a classification head, as a model on its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from vitrina.embedder.text import token_batches
from vitrina.embedder.tuning.groups import by_depth
from vitrina.embedder.tuning.text_network import TrainableText
from vitrina.embedder.tuning.tokens import TokenLists
from vitrina.parallel import map_ahead
from vitrina.threads import one_thread_each
from vitrina.training.dropout import Dropout
from vitrina.training.loop import Part
from vitrina.training.loss import ClassLoss
from vitrina.training.optimiser import Optimiser, grouped
from vitrina.training.recipe import Recipe
from vitrina.types import Codes, Floats

Score = Callable[[Codes, Codes], float]
"""Of true and predicted classes: the higher, the better."""


@dataclass(eq=False)
class TextClasses:
    """The task of telling classes by text.

    Attributes:
        network: what is trained, with its head.
        tokens: of every row.
        labels: (n,) int64, the class of every row.
        classes: how many there are.
        rows: to train on.
        held: to score on while training goes on; may be empty.
        loss, score: of the head's logits; of its choices.
        dtype: the numbers to train in.
        layer_decay: what the learning rate of each layer is multiplied by, seen from the one
            above it.
        word_dropout: the share of tokens that are hidden anew in each pass.
    """

    network: TrainableText
    tokens: TokenLists
    labels: Codes
    classes: int
    rows: Codes
    held: Codes
    loss: ClassLoss
    score_of: Score
    dtype: torch.dtype = torch.float32
    layer_decay: float = 1.0
    dropout: float = 0.1
    word_dropout: float = 0.0
    head: torch.nn.Linear = field(init=False)
    head_dropout: Dropout = field(init=False)

    def __post_init__(self) -> None:
        """Add a head of zeros: at first every class is as likely."""
        self.head = torch.nn.Linear(self.network.dim, self.classes).to(self.network.device)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.head_dropout = Dropout(self.dropout)

    def optimiser(self, recipe: Recipe, steps: int) -> Optimiser:
        """As `Task.optimiser`: the head learns at the full rate, the layers below it at less."""
        table = self.network.begin(self.dtype, averaged=bool(recipe.average))
        groups = [*grouped(self.head), *by_depth(self.network.body, self.layer_decay)]
        return Optimiser(groups, [table], recipe, steps)

    @property
    def workers(self) -> int:
        """As `Task.workers`."""
        return self.network.workers

    def parts(self, rows: Codes, rng: np.random.Generator) -> list[Part]:
        """As `Task.parts`: texts of like length."""
        self.network.body.train()
        self.head_dropout.train()
        parts, used = [], []
        lengths = self.tokens.starts[rows + 1] - self.tokens.starts[rows]
        for chosen in token_batches(lengths.tolist(), self.network.budget):
            ids, there = self.tokens.padded(rows[chosen], self.network.pad)
            ids = self._hide(ids, rng)
            used.append(ids.flatten())
            labels = torch.from_numpy(self.labels[rows[chosen]]).to(self.network.device)
            parts.append(Part(len(chosen) / len(rows), partial(self._loss_of, ids, there, labels)))
        self.network.table.open(torch.cat(used).to(self.network.device))
        return parts

    def score(self) -> float:
        """As `Task.score`."""
        if not len(self.held):
            return float("nan")
        return self.score_of(self.labels[self.held], self.logits(self.held).argmax(axis=1))

    def logits(self, rows: Codes) -> Floats:
        """What the head says of some rows: (len(rows), classes) float32."""
        out = np.empty((len(rows), self.classes), dtype=np.float32)
        lengths = self.tokens.starts[rows + 1] - self.tokens.starts[rows]
        self.network.body.eval()
        self.head_dropout.eval()

        def some(chosen: list[int]) -> tuple[list[int], Floats]:
            with torch.inference_mode():
                logits = self._logits(*self.tokens.padded(rows[chosen], self.network.pad))
                return chosen, logits.float().cpu().numpy()

        batches = token_batches(lengths.tolist(), self.network.budget)
        with one_thread_each() if self.workers > 1 else nullcontext():
            for chosen, logits in map_ahead(some, batches, self.workers):
                out[chosen] = logits
        return out

    def _hide(self, ids: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        if not self.word_dropout or self.network.mask is None:
            return ids
        hidden = torch.from_numpy(rng.random(tuple(ids.shape)) < self.word_dropout)
        special = torch.isin(ids, torch.tensor(self.network.special))
        return ids.masked_fill(hidden & ~special, self.network.mask)

    def _loss_of(
        self, ids: torch.Tensor, there: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        return self.loss(self._logits(ids, there), labels)

    def _logits(self, ids: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        device = self.network.device
        pooled = self.network.pooled(ids.to(device), there.to(device))
        logits: torch.Tensor = self.head(self.head_dropout(pooled))
        return logits
