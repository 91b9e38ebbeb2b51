"""Multilayer perceptron over TF-IDF terms; its first layer is a sparse embedding of the terms."""

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
    """n texts, each one weighted sum of terms; a `network.Texts`. terms: (n, terms) float32."""

    terms: sp.csr_matrix

    @property
    def lengths(self) -> Codes:
        """Number of terms of each text; see `Texts.lengths`."""
        lengths: Codes = np.diff(self.terms.indptr).astype(np.int64)
        return lengths

    def bags(self, rows: Codes) -> Bags:
        """As `Texts.bags`."""
        return bags_of(self.terms[rows])


class TermReader:
    """TF-IDF terms of the training texts; a `network.TextReader`."""

    def __init__(self, texts: Sequence[str]) -> None:
        """texts: training texts. Raises TrainingError if they hold no terms."""
        self._terms, _ = Terms.fit(texts, TERMS)

    def __len__(self) -> int:
        return len(self._terms)

    def __call__(self, texts: Sequence[str]) -> TermTexts:
        """As `TextReader.__call__`."""
        return TermTexts(self._terms(texts))


class Layers(Body):
    """Two hidden layers; the first is the layer-normalised sum of a text's term vectors."""

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


# Small initial scale: a rare term's row takes few steps, so its initial values remain as noise.
MLP = Design(reader=TermReader, body=Layers, dim=128, scale=0.01)
