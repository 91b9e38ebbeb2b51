"""TF-IDF features of texts: words, word pairs and character n-grams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from vitrina.errors import TrainingError

LONGEST = 2000
"""Characters of a text that are used; the rest is cut off."""
MANY = 1000
"""Number of texts from which on rare terms are dropped."""


@dataclass(frozen=True)
class TermKinds:
    """Options of term selection.

    words, characters: the shortest and the longest n-gram; None for no character n-grams.
    fewest: minimum document frequency of a term; below `MANY` texts all terms are kept.
    most: maximum number of terms of each kind, the most frequent; None for all.
    """

    words: tuple[int, int] = (1, 2)
    characters: tuple[int, int] | None = (2, 5)
    fewest: int = 2
    most: int | None = None


class Terms:
    """Terms of the training texts with their weights."""

    def __init__(self, sorts: Sequence[TfidfVectorizer]) -> None:
        """sorts: fitted vectorizers, one for each kind of terms."""
        self._vectorizers = sorts

    @classmethod
    def fit(cls, texts: Sequence[str], kinds: TermKinds) -> tuple[Terms, sp.csr_matrix]:
        """Fit terms on texts; returns them and the texts' matrix, (len(texts), terms) float32.

        Raises TrainingError if there are none.
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
        cut = _truncated(texts)
        try:
            blocks = [sort.fit_transform(cut) for sort in sorts]
        except ValueError as err:
            raise TrainingError("the training texts have no words, or none that recurs") from err
        return cls(sorts), sp.hstack(blocks, format="csr")

    def __len__(self) -> int:
        return sum(len(sort.vocabulary_) for sort in self._vectorizers)

    def __call__(self, texts: Sequence[str]) -> sp.csr_matrix:
        """(len(texts), terms) float32; each kind of terms has norm 1, or 0 if the
        text has none."""
        if not len(texts):
            return sp.csr_matrix((0, len(self)), dtype=np.float32)
        cut = _truncated(texts)
        return sp.hstack([sort.transform(cut) for sort in self._vectorizers], format="csr")


def _truncated(texts: Sequence[str]) -> list[str]:
    return [text[:LONGEST] for text in texts]
