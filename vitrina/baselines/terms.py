"""Texts as TF-IDF of words, word pairs and character n-grams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from vitrina.errors import TrainingError

LONGEST = 2000
"""Characters of a text that are read."""
MANY = 1000
"""Texts from which on rare terms are of no use."""


@dataclass(frozen=True)
class TermKinds:
    """Which terms to take.

    words, characters: the shortest and the longest n-gram of each sort; None for none.
    fewest: texts that have a term that is kept; of a few texts all terms are.
    most: terms of each sort that are kept, the commonest; None for all.
    """

    words: tuple[int, int] = (1, 2)
    characters: tuple[int, int] | None = (2, 5)
    fewest: int = 2
    most: int | None = None


class Terms:
    """Terms of training texts, and what each weighs."""

    def __init__(self, sorts: Sequence[TfidfVectorizer]) -> None:
        """sorts: fitted, one for each sort of terms."""
        self._sorts = sorts

    @classmethod
    def learn(cls, texts: Sequence[str], kinds: TermKinds) -> tuple[Terms, sp.csr_matrix]:
        """Terms of these texts, and the texts by them.

        Raises TrainingError where there are none.
        """
        common: dict[str, Any] = {
            "sublinear_tf": True,
            "dtype": np.float32,
            "max_features": kinds.most,
            "min_df": kinds.fewest if len(texts) >= MANY else 1,
        }
        sorts = [TfidfVectorizer(token_pattern=r"\b\w+\b", ngram_range=kinds.words, **common)]
        if kinds.characters:
            sorts.append(
                TfidfVectorizer(analyzer="char_wb", ngram_range=kinds.characters, **common)
            )
        cut = _cut(texts)
        try:
            blocks = [sort.fit_transform(cut) for sort in sorts]
        except ValueError as err:
            raise TrainingError(
                "the texts to learn from hold no words, or none that recurs"
            ) from err
        return cls(sorts), sp.hstack(blocks, format="csr")

    def __len__(self) -> int:
        return sum(len(sort.vocabulary_) for sort in self._sorts)

    def __call__(self, texts: Sequence[str]) -> sp.csr_matrix:
        """(len(texts), terms) float32; each sort of terms has a norm of 1, or 0 for none."""
        if not len(texts):
            return sp.csr_matrix((0, len(self)), dtype=np.float32)
        cut = _cut(texts)
        return sp.hstack([sort.transform(cut) for sort in self._sorts], format="csr")


def _cut(texts: Sequence[str]) -> list[str]:
    return [text[:LONGEST] for text in texts]
