"""Text encoder: the text tower of CLIP or SigLIP, whose vectors match those of its image tower."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from vitrina.device import best_device
from vitrina.embedder.base import EncoderCard
from vitrina.embedder.fingerprint import fingerprint, weights
from vitrina.embedder.pooling import padded
from vitrina.embedder.precision import (
    check_probes,
    choose,
    first_run,
    has_bfloat16,
)
from vitrina.embedder.probes import PROBES
from vitrina.embedder.text_batches import TextBatches, Tokenize
from vitrina.embedder.text_parts import Tokens
from vitrina.malloc import keep_freed
from vitrina.stage_timer import stage
from vitrina.threads import one_thread_each
from vitrina.types import Compute, Modality, Vectors


@dataclass(frozen=True, eq=False)
class TextTower:
    """Parts of a text tower.

    network: token ids and a 0/1 mask, (n, tokens) int64 each, to (n, dim). tokenize: texts to token
    lists, none longer than `limit`. pad: the token that fills a batch's shorter texts. whole: each
    text is filled up to the limit, not to the longest of its batch. settings: further settings that
    determine the output.
    """

    network: torch.nn.Module
    tokenize: Tokenize
    limit: int
    pad: int
    whole: bool
    settings: dict[str, Any]


class ClipText:
    """Text encoder: a loaded text tower."""

    def __init__(
        self, tower: TextTower, model: str, revision: str | None, compute: Compute | None = None
    ) -> None:
        settings = {"format": 1, "limit": tower.limit, "normalised": True, **tower.settings}
        taken = fingerprint(weights(tower.network), settings)
        self._tower = tower
        self._device = best_device()
        keep_freed()
        self._batches = TextBatches(self._device, tower.limit if tower.whole else None)
        self._compute, self._network, dim = self._choose(compute, taken, model)
        self.card = EncoderCard(
            modality=Modality.TEXT,
            model=model,
            revision=revision,
            fingerprint=taken,
            dim=dim,
            details={
                "pooling": "text tower",
                "max_length": tower.limit,
                "compute": self._compute.value,
                "device": self._device.type,
            },
        )

    @stage("compiling and choosing numbers")
    def _choose(
        self, requested: Compute | None, taken: str, model: str
    ) -> tuple[Compute, PaddedTower, int]:
        with first_run(model):
            tokens = sorted(self._tower.tokenize(PROBES), key=len, reverse=True)

        def probe(network: PaddedTower) -> Vectors:
            with one_thread_each():
                return self._batches.run(network.pooled, tokens)

        make = partial(PaddedTower, self._tower, self._device)
        own = make(torch.float32)
        with first_run(model):
            exact = probe(own)
        check_probes(exact, model)
        makers: dict[Compute, Callable[[], PaddedTower]] = {Compute.FLOAT32: lambda: own}
        if has_bfloat16(self._device):
            makers[Compute.BFLOAT16] = partial(make, torch.bfloat16)
        compute, network = choose(makers, probe, exact, requested, fingerprint=taken)
        return compute, network, exact.shape[1]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Texts to (len(texts), dim) float32, L2-normalised, in the order given.

        Duplicate texts are encoded once. Not thread-safe. Raises EncoderError if memory does not
        suffice for a single text, or vectors are not finite.
        """
        return self._batches.encode(
            self._network.pooled, self._tower.tokenize, texts, self.card.dim, self.card.model
        )


class PaddedTower:
    """Runs a text tower with its own code, each batch padded."""

    def __init__(self, tower: TextTower, device: torch.device, dtype: torch.dtype) -> None:
        self._tower, self._device = tower, device
        self._network = copy.deepcopy(tower.network).to(device, dtype)

    def pooled(self, tokens: Tokens) -> torch.Tensor:
        """Vectors of token lists: (len(tokens), dim) float32, not normalised."""
        width = self._tower.limit if self._tower.whole else None
        ids, mask = padded(tokens, self._tower.pad, width)
        vectors: torch.Tensor = self._network(ids.to(self._device), mask.to(self._device))
        return vectors.float()
