"""A multilayer perceptron over TF-IDF terms; its first layer is a table of which each step touches
the terms in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from vitrina.baselines.network import Bags, Body, Design, bags_of
from vitrina.baselines.terms import TermKinds, Terms
from vitrina.training.dropout import Dropout
from vitrina.types import Codes

TERMS = TermKinds(words=(1, 2), characters=(2, 5), most=75_000)
WIDTH = 512


@dataclass(frozen=True, eq=False)
class TermTexts:
    """n texts, each one sum; a `network.Texts`. terms: (n, terms) float32."""

    terms: sp.csr_matrix

    @property
    def lengths(self) -> Codes:
        """As `Texts.lengths`."""
        lengths: Codes = np.diff(self.terms.indptr).astype(np.int64)
        return lengths

    def bags(self, rows: Codes) -> Bags:
        """As `Texts.bags`."""
        return bags_of(self.terms[rows])


class TermReader:
    """Training texts' terms; a `network.Reader`."""

    def __init__(self, texts: Sequence[str]) -> None:
        """texts: to learn the terms from. Raises TrainingError where they hold none."""
        self._terms, _ = Terms.learn(texts, TERMS)

    def __len__(self) -> int:
        return len(self._terms)

    def __call__(self, texts: Sequence[str]) -> TermTexts:
        """As `Reader`."""
        return TermTexts(self._terms(texts))


class Layers(Body):
    """Two hidden layers, of which the first is the normalised sum of a text's terms."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = WIDTH
        self.norm = torch.nn.LayerNorm(dim)
        self.dropout = Dropout(0.2)
        self.linear = torch.nn.Linear(dim, WIDTH)

    def forward(self, vectors: torch.Tensor, bags: Bags) -> torch.Tensor:  # noqa: ARG002
        """As `Body.forward`."""
        hidden = self.dropout(torch.relu(self.norm(vectors)))
        return torch.relu(self.linear(hidden))


# Small at first, since a rare term's row takes few steps: its first numbers are noise.
MLP = Design(reader=TermReader, body=Layers, dim=128, scale=0.01)
