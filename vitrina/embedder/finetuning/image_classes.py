"""Image classification task: an image encoder with a trainable head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL.Image import Image

from vitrina.data.decode import decode
from vitrina.embedder.finetuning.augment import augmented
from vitrina.embedder.finetuning.classes import Classes
from vitrina.embedder.finetuning.groups import by_depth
from vitrina.embedder.finetuning.image_network import TrainableImage
from vitrina.embedder.finetuning.photo_bytes import PhotoBytes
from vitrina.embedder.photos import OVERSAMPLING
from vitrina.embedder.precision import training_dtype
from vitrina.training.config import TrainingConfig
from vitrina.training.loop import BatchPart
from vitrina.training.optimiser import Optimiser, grouped
from vitrina.types import Codes

SERVED = 64
"""Photos per inference batch."""


@dataclass(eq=False, kw_only=True)
class ImageClasses(Classes):
    """Classification by photo. photos: of every row. augment: augment training photos."""

    network: TrainableImage
    photos: PhotoBytes
    augment: bool = True

    def optimiser(self, recipe: TrainingConfig, steps: int) -> Optimiser:
        """As `Task.optimiser`: the head has the full learning rate, layers below it lower ones."""
        self.network.begin(training_dtype(self.network.device))
        groups = [*grouped(self.head), *by_depth(self.network.body, self.layer_decay)]
        return Optimiser(groups, [], recipe, steps, list(self.network.body.buffers()))

    def parts(self, rows: Codes, rng: np.random.Generator) -> list[BatchPart]:
        """As `Task.parts`."""
        self.train()
        seeds = rng.integers(1 << 62, size=len(rows))
        return [
            BatchPart(len(at) / len(rows), partial(self._photo_loss, rows[at], seeds[at]))
            for at in _runs(len(rows), self.network.part or len(rows))
        ]

    def _batches(self, rows: Codes) -> Iterator[Codes]:
        return _runs(len(rows), SERVED)

    def _served(self, rows: Codes) -> torch.Tensor:
        images = [self.network.served(self._photo(row)) for row in rows.tolist()]
        return self.network.vectors(self.network.pixels(images))

    def _photo_loss(self, rows: Codes, seeds: Codes) -> torch.Tensor:
        images = [
            augmented(self._photo(row), self.network.size, np.random.default_rng(seed))
            if self.augment
            else self.network.served(self._photo(row))
            for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True)
        ]
        return self._loss_of(self.network.vectors(self.network.pixels(images)), rows)

    def _photo(self, row: int) -> Image:
        return decode(self.photos[row], OVERSAMPLING * self.network.size)


def _runs(rows: int, size: int) -> Iterator[Codes]:
    for start in range(0, rows, size):
        yield np.arange(start, min(start + size, rows))
