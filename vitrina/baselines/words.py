"""Subword features: texts as sequences of words, words as sets of pieces.

As in fastText (Bojanowski et al., "Enriching word vectors with subword information", 2017) a word
is its character n-grams, plus the whole word if it is frequent, so unseen words have vectors too.
N-grams come from the training texts and are not hashed: an untrained n-gram would only add noise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.feature_extraction.text import CountVectorizer

from vitrina.baselines.network import Bags, bags_of
from vitrina.errors import TrainingError
from vitrina.types import Codes

LONGEST = 64
"""Words of a text that are used; the rest is cut off."""
GRAMS = (2, 5)
"""The shortest and the longest n-gram, including the marks of a word's ends."""
MOST_GRAMS, MOST_WORDS = 100_000, 50_000
"""Maximum n-grams and words kept, the most frequent."""
MANY = 1000
"""Number of distinct words from which on words that occur once, and n-grams of a single word, are
no pieces."""

_WORD = re.compile(r"[^\W\d_]+|\d+")


@dataclass(frozen=True, eq=False)
class WordLists:
    """n texts; a `network.Texts`.

    pieces: (distinct words, pieces) float32, the piece weights of each word; rows have norm 1, or 0
    for a word without a known piece. flat: int64, the words of all texts, concatenated. starts:
    (n + 1,) int64, offsets of the texts in `flat`.
    """

    pieces: sp.csr_matrix
    flat: Codes
    starts: Codes

    @property
    def lengths(self) -> Codes:
        """As `network.Texts.lengths`."""
        return np.diff(self.starts)

    def bags(self, rows: Codes) -> Bags:
        """As `network.Texts.bags`: each distinct word is one sum."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        there = np.arange(max(1, lengths.max())) < lengths[:, None]
        used = np.concatenate([self.flat[self.starts[row] : self.starts[row + 1]] for row in rows])
        distinct, places = np.unique(used, return_inverse=True)
        words = np.zeros(there.shape, dtype=np.int64)
        words[there] = 1 + places
        bags = bags_of(self.pieces[distinct])
        # The empty sum comes first.
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), bags.starts])
        return Bags(bags.ids, bags.weights, starts, torch.from_numpy(words))


class WordPieces:
    """Word pieces of the training texts; a `network.TextReader`."""

    def __init__(self, texts: Sequence[str]) -> None:
        """texts: training texts. Raises TrainingError if they hold no words."""
        counts = Counter(word for text in texts for word in split(text))
        if not counts:
            raise TrainingError("the training texts have no words")
        least = 2 if len(counts) >= MANY else 1
        common = [word for word, count in counts.most_common(MOST_WORDS) if count >= least]
        self._words = {word: number for number, word in enumerate(common)}
        self._grams = CountVectorizer(
            analyzer="char",
            lowercase=False,
            ngram_range=GRAMS,
            min_df=least,
            max_features=MOST_GRAMS,
            dtype=np.float32,
        )
        self._grams.fit(_marked(sorted(counts)))

    def __len__(self) -> int:
        return len(self._words) + len(self._grams.vocabulary_)

    def __call__(self, texts: Sequence[str]) -> WordLists:
        """Split texts into words, and words into pieces."""
        numbers: dict[str, int] = {}
        lists = [[numbers.setdefault(word, len(numbers)) for word in split(t)] for t in texts]
        starts = np.cumsum([0, *(len(one) for one in lists)])
        flat = np.fromiter((n for one in lists for n in one), np.int64, int(starts[-1]))
        grams = self._grams.transform(_marked(list(numbers)))
        whole = [(row, self._words[word]) for word, row in numbers.items() if word in self._words]
        rows, columns = np.array(whole, dtype=np.int64).reshape(-1, 2).T
        words = sp.csr_matrix(
            (np.ones(len(rows), dtype=np.float32), (rows, columns)),
            shape=(len(numbers), len(self._words)),
        )
        pieces = sp.hstack([words, grams], format="csr")
        counts = np.diff(pieces.indptr)
        pieces.data = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts).astype(np.float32)
        return WordLists(pieces, flat, starts)


def split(text: str) -> list[str]:
    """Split a text into runs of letters and runs of digits, in lower case, with ё as е."""
    return _WORD.findall(text.lower().replace("ё", "е"))[:LONGEST]


def _marked(words: Sequence[str]) -> list[str]:
    return [f"<{word}>" for word in words]
