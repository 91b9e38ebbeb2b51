"""Text classification task: a text encoder with a trainable head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from vitrina.embedder.finetuning.classes import Classes
from vitrina.embedder.finetuning.groups import by_depth
from vitrina.embedder.finetuning.text_network import TrainableText
from vitrina.embedder.finetuning.tokens import TokenLists
from vitrina.embedder.precision import training_dtype
from vitrina.training.config import TrainingConfig
from vitrina.training.loop import BatchPart
from vitrina.training.optimiser import Optimiser, grouped
from vitrina.types import Codes


@dataclass(eq=False, kw_only=True)
class TextClasses(Classes):
    """Classification by text. tokens: of every row. word_dropout: the share of tokens masked at
    random in each pass."""

    network: TrainableText
    tokens: TokenLists
    word_dropout: float = 0.0

    def optimiser(self, recipe: TrainingConfig, steps: int) -> Optimiser:
        """As `Task.optimiser`: the head has the full learning rate, layers below it lower ones."""
        dtype = training_dtype(self.network.device, transformer=True)
        table = self.network.begin(dtype, averaged=bool(recipe.average))
        groups = [*grouped(self.head), *by_depth(self.network.body, self.layer_decay)]
        return Optimiser(groups, [table], recipe, steps)

    def parts(self, rows: Codes, rng: np.random.Generator) -> list[BatchPart]:
        """As `Task.parts`: parts of texts of similar length."""
        self.train()
        parts, used = [], []
        for chosen in self._batches(rows):
            ids, there = self.tokens.padded(rows[chosen], self.network.pad)
            ids = self._mask_words(ids, rng)
            used.append(ids.flatten())
            loss = partial(self._text_loss, ids, there, rows[chosen])
            parts.append(BatchPart(len(chosen) / len(rows), loss))
        self.network.table.open(torch.cat(used).to(self.network.device))
        return parts

    def _batches(self, rows: Codes) -> Iterator[Codes]:
        return self.network.batches(self.tokens.lengths_of(rows))

    def _served(self, rows: Codes) -> torch.Tensor:
        return self.network.pooled(*self.tokens.padded(rows, self.network.pad))

    def _text_loss(self, ids: torch.Tensor, there: torch.Tensor, rows: Codes) -> torch.Tensor:
        return self._loss_of(self.network.pooled(ids, there), rows)

    def _mask_words(self, ids: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        if not self.word_dropout or self.network.mask is None:
            return ids
        hidden = torch.from_numpy(rng.random(tuple(ids.shape)) < self.word_dropout)
        special = torch.isin(ids, torch.tensor(self.network.special))
        return ids.masked_fill(hidden & ~special, self.network.mask)
