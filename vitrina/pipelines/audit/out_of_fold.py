"""What is said of every label by those who never saw it, a block of products at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vitrina.audit.label_scores import LabelScores
from vitrina.audit.near_duplicates import Copies
from vitrina.baselines.base import BaselineTask, TextExamples
from vitrina.baselines.linear_svm import LinearSvm, learn_linear_svm
from vitrina.baselines.terms import LONGEST
from vitrina.classifier.calibrate import fit_temperature, softmax
from vitrina.classifier.fit import FitOptions
from vitrina.classifier.heads import Head
from vitrina.classifier.minibatch import predict
from vitrina.data.split import draw_by_group
from vitrina.errors import TrainingError
from vitrina.ids import Keys
from vitrina.index.vote import VoteRule, vote_shares
from vitrina.parallel import Progress
from vitrina.pipelines.audit.neighbour_cache import NEIGHBOURS, Neighbours
from vitrina.pipelines.common.product_inputs import texts
from vitrina.pipelines.train.base_models import fit_heads, planned
from vitrina.store.gather import Gathered
from vitrina.store.products import Products
from vitrina.types import Codes, Features, Floats, HeadKind, Mask, Modality, VoteKind

RULE = VoteRule(VoteKind.SOFTMAX, NEIGHBOURS, temperature=0.05)
BLOCK_VALUES = 1 << 22
"""Probabilities of one voice that are held at once: 16 MiB."""
CALIBRATED_BY = 5000
WORDS_ROWS = 200_000
"""Products that the model of words learns from, at most."""
WORDS_VALUES = 1 << 28
"""Weights that it may have: 1 GiB. With more categories than that allows it is not heard."""
TERMS = 100_000


@dataclass(eq=False)
class OutOfFoldModel:
    """What was said of n products.

    pooled: by all voices together. model, words, near: by each. alone: by heads that see one
    modality. copied: (n,) float32, the share of a product's copies that have its label, NaN for
    one without copies. checked: (n,) bool, of whom something was said.
    """

    pooled: LabelScores
    model: LabelScores
    words: LabelScores | None
    near: LabelScores
    alone: dict[Modality, LabelScores]
    copied: Floats
    checked: Mask
    members: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class OutOfFoldPredictor:
    """Everything that is needed to hear.

    codes: (n,) int64 labels, -1 for none or for no vector. groups: (n,) int64, copies stand in one
    group, which is learnt from or asked, never both. keys: (n,) uint64, the products'. shares:
    (n, classes) float32 to be filled in with what all say together, where it is wanted whole.
    """

    products: Products
    gathered: Gathered
    features: Features
    codes: Codes
    classes: int
    groups: Codes
    keys: Keys
    near: Neighbours
    copies: Copies
    folds: int
    seed: int
    shares: Floats | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """The heads."""
        alone = [one.value for one in self.features.modalities]
        return tuple(dict.fromkeys([self.features.value, *alone]))

    @property
    def rows(self) -> Codes:
        """The products that are checked."""
        return np.flatnonzero(self.codes >= 0)

    @property
    def fit(self) -> FitOptions:
        """How heads are trained: a linear one learns wrong labels by heart the least."""
        return FitOptions(kind=HeadKind.LOGISTIC, seed=self.seed)

    @property
    def hears_words(self) -> bool:
        """Whether the model of words is heard."""
        return Modality.TEXT in self.features.modalities and self.classes * TERMS <= WORDS_VALUES

    def planned(self) -> int:
        """Rows that `hear` reports."""
        learnt = len(self.rows) * (self.folds - 1) // self.folds
        some = self.rows[:learnt]
        heads = planned(self.gathered, some, self.classes, self.members, self.fit)
        words = min(learnt, WORDS_ROWS) if self.hears_words else 0
        return self.folds * (heads + words) + len(self.rows)

    def hear(self, progress: Progress) -> OutOfFoldModel:
        """Hear all. Raises TrainingError where there are too few categories to tell apart."""
        count = len(self.codes)
        fold = self._fold()
        heard = OutOfFoldModel(
            LabelScores.nothing(count),
            LabelScores.nothing(count),
            None,
            LabelScores.nothing(count),
            {one: LabelScores.nothing(count) for one in self.features.modalities},
            np.full(count, np.nan, dtype=np.float32),
            np.zeros(count, dtype=bool),
        )
        for number in range(self.folds):
            learnt = self.rows[fold[self.rows] != number]
            asked = self.rows[fold[self.rows] == number]
            if not len(asked):
                continue
            if len(np.unique(self.codes[learnt])) < 2:
                raise TrainingError(
                    "an audit needs products of at least two categories that are no copies of "
                    "each other; embed a catalogue with more labelled products"
                )
            heads = fit_heads(
                self.gathered, self.codes, learnt, self.classes, self.members, self.fit, progress
            )
            words = self._learn_words(learnt, progress) if self.hears_words else None
            if words is not None and heard.words is None:
                heard.words = LabelScores.nothing(count)
            self._ask(heard, heads, words, asked, progress)
        heard.members = [f"{name} head" for name in self.members]
        heard.members += ["words"] * (heard.words is not None) + ["neighbours", "copies"]
        return heard

    def _fold(self) -> Codes:
        """(n,) int64: by their keys, so that products keep their folds as others come and go."""
        rows = self.rows
        drawn = draw_by_group(self.groups[rows], self.keys[rows], self.seed, 3)
        fold = np.full(len(self.codes), -1, dtype=np.int64)
        fold[rows] = (drawn % np.uint64(self.folds)).astype(np.int64)
        return fold

    def _ask(
        self,
        heard: OutOfFoldModel,
        heads: dict[str, Head],
        words: _Words | None,
        asked: Codes,
        progress: Progress,
    ) -> None:
        some = asked[:: max(1, len(asked) // CALIBRATED_BY)]
        warm = {
            name: fit_temperature(self._logits(head, name, some), self.codes[some])
            for name, head in heads.items()
        }
        texts_of = self._texts(asked)
        if words is not None:
            words = words.warmed(list(self._texts(some)), self.codes[some])
        step = max(64, BLOCK_VALUES // self.classes)
        for start in range(0, len(asked), step):
            rows = asked[start : start + step]
            codes = self.codes[rows]
            said = {
                name: softmax(self._logits(head, name, rows), warm[name])
                for name, head in heads.items()
            }
            voices = [(said[self.features.value], np.ones(len(rows), dtype=np.float32))]
            heard.model.put(rows, voices[0][0], codes)
            for modality, one in heard.alone.items():
                there = self.gathered.present[self.gathered.modalities.index(modality)][rows]
                one.put(rows[there], said[modality.value][there], codes[there])
            near, scores = self.near.of(rows)
            labels = np.where(near >= 0, self.codes[near], -1)
            vote = vote_shares(labels, scores, classes=self.classes, rule=RULE)
            heard.near.put(rows, vote, codes)
            voices.append((vote, (vote.max(axis=1) > 0).astype(np.float32)))
            if words is not None and heard.words is not None:
                block = [next(texts_of) for _ in rows]
                shares = words.shares(block)
                spoken = np.array([bool(text) for text in block])
                heard.words.put(rows[spoken], shares[spoken], codes[spoken])
                voices.append((shares, spoken.astype(np.float32)))
            who, other = self.copies.pairs(rows, near, scores)
            copied, weight = self.copies.shares(who, self.codes[other], len(rows), self.classes)
            at = np.arange(len(rows))
            heard.copied[rows] = np.where(weight > 0, copied[at, codes], np.nan)
            voices.append((copied, weight))
            pooled = _mean(voices)
            heard.pooled.put(rows, pooled, codes)
            if self.shares is not None:
                self.shares[rows] = pooled
            heard.checked[rows] = True
            progress(len(rows))

    def _logits(self, head: Head, name: str, rows: Codes) -> Floats:
        return predict(head, self.gathered.only(Features(name).modalities), rows)

    def _learn_words(self, learnt: Codes, progress: Progress) -> _Words | None:
        some = learnt
        if len(some) > WORDS_ROWS:
            drawn = np.random.default_rng([self.seed, 5]).choice(len(some), WORDS_ROWS, False)
            some = some[np.sort(drawn)]
        held = np.zeros(0, dtype=np.int64)
        told = list(self._texts(some))
        examples = TextExamples(told, self.codes[some], self.classes, np.arange(len(some)), held)
        try:
            lesson = BaselineTask.of(examples)
            model = learn_linear_svm(lesson, seed=self.seed, progress=progress)
        except TrainingError:
            # Titles without words say nothing; the others are heard all the same.
            return None
        return _Words(model, lesson.present, self.classes)

    def _texts(self, rows: Codes) -> Iterator[str]:
        """The texts of some rows, which ascend, cut as far as they are looked at."""
        start, at = 0, 0
        for batch in texts(self.products):
            stop = int(np.searchsorted(rows, start + len(batch)))
            for row in rows[at:stop].tolist():
                yield batch[row - start][:LONGEST]
            start, at = start + len(batch), stop


@dataclass(frozen=True, eq=False)
class _Words:
    """The linear model of words. present: (m,) the classes that it knows. temperature: of its
    margins."""

    model: LinearSvm
    present: Codes
    classes: int
    temperature: float = 1.0

    def warmed(self, told: Sequence[str], codes: Codes) -> _Words:
        """The same, calibrated by products that it did not learn from."""
        place = np.full(self.classes, -1, dtype=np.int64)
        place[self.present] = np.arange(len(self.present))
        known = place[codes]
        if (known < 0).all():
            return self
        return replace(self, temperature=fit_temperature(self.model.logits(told), known))

    def shares(self, told: Sequence[str]) -> Floats:
        """(len(told), classes) float32 probabilities."""
        out = np.zeros((len(told), self.classes), dtype=np.float32)
        out[:, self.present] = softmax(self.model.logits(told), self.temperature)
        return out


def _mean(voices: Sequence[tuple[Floats, Floats]]) -> Floats:
    """The weighted mean of voices, each with a weight for every row."""
    total = np.zeros_like(voices[0][0])
    whole = np.zeros(len(total), dtype=np.float32)
    for shares, weight in voices:
        total += shares * weight[:, None]
        whole += weight
    total /= np.maximum(whole, np.float32(1e-9))[:, None]
    return total
