"""Convolutional network over words, with max pooling over time.

Kim, "Convolutional neural networks for sentence classification", 2014.
"""

from __future__ import annotations

import torch
from torch.nn import functional as fn

from vitrina.baselines.network import Bags, Body, Design
from vitrina.baselines.words import WordPieces
from vitrina.training.dropout import Dropout

FILTERS = (256, 128, 128, 64, 64)
"""Filters over runs of one word, two words, and so on."""


class Convolutions(Body):
    """Filters over runs of words, each computed as a matrix product over concatenated words."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = sum(FILTERS)
        self.dropout = Dropout(0.2)
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(words * dim, filters) for words, filters in enumerate(FILTERS, 1)
        )

    def forward(self, vectors: torch.Tensor, bags: Bags) -> torch.Tensor:
        """As `Body.forward`."""
        assert bags.words is not None
        rows = fn.embedding(bags.words, self.dropout(vectors))
        longest, there = rows.shape[1], (bags.words > 0).unsqueeze(2)
        # Runs begin at each word, and may reach past the text's end.
        rows = fn.pad(rows, (0, 0, 0, len(FILTERS) - 1))
        tops = []
        for words, layer in enumerate(self.layers, 1):
            runs = [rows[:, start : start + longest] for start in range(words)]
            # Padding begins no run, so a text's values do not depend on its batch.
            values = torch.relu(layer(torch.cat(runs, dim=2))) * there
            tops.append(values.amax(dim=1))
        return torch.cat(tops, dim=1)


CNN = Design(reader=WordPieces, body=Convolutions, dim=128)
