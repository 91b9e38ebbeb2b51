"""Bidirectional LSTM over words, with max and mean pooling over time."""

from __future__ import annotations

import torch
from torch.nn import functional as fn

from vitrina.baselines.network import Bags, Body, Design
from vitrina.baselines.words import WordPieces
from vitrina.training.dropout import Dropout

HIDDEN = 128
"""State size in each direction."""


class Recurrent(Body):
    """Two LSTMs, one per direction.

    Both take left-aligned texts, so padding follows all words and changes no state that counts.
    A packed bidirectional LSTM gives the same result but takes several times as long: PyTorch has
    a fused kernel for padded batches only.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = 4 * HIDDEN
        self.dropout = Dropout(0.2)
        self.ways = torch.nn.ModuleList(
            torch.nn.LSTM(dim, HIDDEN, batch_first=True) for _ in range(2)
        )

    def forward(self, vectors: torch.Tensor, bags: Bags) -> torch.Tensor:
        """As `Body.forward`."""
        assert bags.words is not None
        vectors, there = self.dropout(vectors), bags.words > 0
        lengths = there.sum(dim=1, keepdim=True)
        places = torch.arange(bags.words.shape[1])
        backward = bags.words.gather(1, (lengths - 1 - places).clamp(min=0)) * there
        pooled = []
        for way, words in zip(self.ways, (bags.words, backward), strict=True):
            states, _ = way(fn.embedding(words, vectors))
            # No state reaches -1, so padding is never the maximum.
            pooled.append(states.masked_fill(~there.unsqueeze(2), -1.0).amax(dim=1))
            pooled.append((states * there.unsqueeze(2)).sum(dim=1) / lengths.clamp(min=1))
        return torch.cat(pooled, dim=1)


LSTM = Design(reader=WordPieces, body=Recurrent, dim=128)
