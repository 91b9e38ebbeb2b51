"""An image encoder with a classification head, as a model on its own."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from vitrina.data.decode import decode
from vitrina.embedder.photos import OVERSAMPLING
from vitrina.embedder.tuning.augment import augmented
from vitrina.embedder.tuning.groups import by_depth
from vitrina.embedder.tuning.image_network import TrainableImage
from vitrina.embedder.tuning.photo_bytes import PhotoBytes
from vitrina.embedder.tuning.text_classes import Score
from vitrina.parallel import map_ahead
from vitrina.threads import one_thread_each
from vitrina.training.dropout import Dropout
from vitrina.training.loop import Part
from vitrina.training.loss import ClassLoss
from vitrina.training.optimiser import Optimiser, grouped
from vitrina.training.recipe import Recipe
from vitrina.types import Codes, Floats

SERVED = 64
"""Photos that are looked at together when nothing is learnt."""


@dataclass(eq=False)
class ImageClasses:
    """The task of telling classes by photo; its attributes are those of `TextClasses`, with
    `photos` for tokens. augment: show each photo otherwise in every pass."""

    network: TrainableImage
    photos: PhotoBytes
    labels: Codes
    classes: int
    rows: Codes
    held: Codes
    loss: ClassLoss
    score_of: Score
    dtype: torch.dtype = torch.float32
    layer_decay: float = 1.0
    dropout: float = 0.1
    augment: bool = True
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
        return self.network.workers

    def optimiser(self, recipe: Recipe, steps: int) -> Optimiser:
        """As `Task.optimiser`: the head learns at the full rate, the layers below it at less."""
        self.network.begin(self.dtype)
        groups = [*grouped(self.head), *by_depth(self.network.body, self.layer_decay)]
        return Optimiser(groups, [], recipe, steps, list(self.network.body.buffers()))

    def parts(self, rows: Codes, rng: np.random.Generator) -> list[Part]:
        """As `Task.parts`."""
        self.network.train()
        self.head_dropout.train()
        size = self.network.part or len(rows)
        seeds = rng.integers(1 << 62, size=len(rows))
        return [
            Part(
                len(rows[start : start + size]) / len(rows),
                partial(self._loss_of, rows[start : start + size], seeds[start : start + size]),
            )
            for start in range(0, len(rows), size)
        ]

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

        def some(start: int) -> tuple[int, Floats]:
            images = [
                self.network.served(decode(self.photos[int(row)], OVERSAMPLING * self.network.size))
                for row in rows[start : start + SERVED]
            ]
            with torch.inference_mode():
                logits = self.head(self.network.vectors(self.network.pixels(images)))
                return start, logits.float().cpu().numpy()

        with one_thread_each() if self.workers > 1 else nullcontext():
            for start, logits in map_ahead(some, range(0, len(rows), SERVED), self.workers):
                out[start : start + SERVED] = logits
        return out

    def _loss_of(self, rows: Codes, seeds: Codes) -> torch.Tensor:
        images = []
        for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True):
            image = decode(self.photos[row], OVERSAMPLING * self.network.size)
            if self.augment:
                image = augmented(image, self.network.size, np.random.default_rng(seed))
            else:
                image = self.network.served(image)
            images.append(image)
        pooled = self.network.vectors(self.network.pixels(images))
        labels = torch.from_numpy(self.labels[rows]).to(self.network.device)
        return self.loss(self.head(self.head_dropout(pooled)), labels)
