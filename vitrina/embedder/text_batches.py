"""Texts in batches of similar length, run side by side in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from vitrina.embedder.precision import check_numbers, unit_vectors
from vitrina.embedder.text_parts import Tokens
from vitrina.parallel import map_ahead
from vitrina.threads import one_thread_each, workers
from vitrina.types import Vectors

BATCH_TOKENS = {"cpu": 1024, "cuda": 65_536, "mps": 8192}
"""Tokens per batch, by device: on a CPU few enough for one core's cache, on a GPU enough to
fill it."""

WINDOW = 4096
"""Texts tokenised and sorted by length together, while the model runs on the previous ones."""

Tokenize = Callable[[Sequence[str]], Tokens]
Pooled = Callable[[Tokens], torch.Tensor]
"""Vectors of token lists: (len(tokens), dim) float32, not normalised."""


class TextBatches:
    """Runs text models over batches of a number of tokens, which falls if memory does not
    suffice."""

    def __init__(self, device: torch.device, fill: int | None = None) -> None:
        """fill: the length that every text is filled up to; None: the longest of its batch."""
        self._device, self._fill = device, fill
        self._budget = BATCH_TOKENS[device.type]

    def run(self, pooled: Pooled, tokens: Tokens) -> Vectors:
        """One batch: (len(tokens), dim) float32, L2-normalised. Raises EncoderError if memory does
        not suffice for a single text."""

        def smaller(batch: Tokens) -> None:
            self._budget = max(len(batch[0]), self._budget // 2)

        return unit_vectors(
            pooled,
            tokens,
            smaller=smaller,
            alone=lambda text: f"a text of {len(text[0])} tokens",
        )

    def encode(
        self, pooled: Pooled, tokenize: Tokenize, texts: Sequence[str], dim: int, model: str
    ) -> Vectors:
        """Texts to (len(texts), dim) float32, L2-normalised, in the order given.

        Duplicate texts are encoded once. model: its name in messages. Raises EncoderError if memory
        does not suffice for a single text, or vectors are not finite.
        """

        def encoded(batch: tuple[list[int], Tokens]) -> tuple[list[int], Vectors]:
            vectors = self.run(pooled, batch[1])
            check_numbers(vectors, model)
            return batch[0], vectors

        unique = list(dict.fromkeys(texts))
        out = np.empty((len(unique), dim), dtype=np.float32)
        with one_thread_each():
            batches = self._batches(tokenize, unique)
            for at, vectors in map_ahead(encoded, batches, workers(self._device)):
                out[at] = vectors
        if len(unique) == len(texts):
            return out
        place = {text: at for at, text in enumerate(unique)}
        return out[[place[text] for text in texts]]

    def _batches(
        self, tokenize: Tokenize, texts: Sequence[str]
    ) -> Iterator[tuple[list[int], Tokens]]:
        windows = (texts[at : at + WINDOW] for at in range(0, len(texts), WINDOW))
        start = 0
        for tokens in map_ahead(tokenize, windows, 2 if len(texts) > WINDOW else 1):
            lengths = [self._fill or len(ids) for ids in tokens]
            for batch in token_batches(lengths, self._budget):
                yield [start + at for at in batch], [tokens[at] for at in batch]
            start += len(tokens)


def token_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Split texts into batches of similar length, longest first.

    lengths: tokens of each text. budget: tokens per batch, padding included; a longer text forms
    its own batch. Yields positions; each appears exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda at: (-lengths[at], at))
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size
