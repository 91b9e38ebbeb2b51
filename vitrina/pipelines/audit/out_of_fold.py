"""Out-of-fold predictions for every label, a block of products at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vitrina.audit.label_scores import LabelScores
from vitrina.audit.near_duplicates import Copies
from vitrina.baselines.base import BaselineTask, TextExamples
from vitrina.baselines.linear_svm import LinearSvm, fit_linear_svm
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
"""Probabilities of one model that are held in memory at once: 16 MiB."""
CALIBRATED_BY = 5000
"""Test rows of a fold that calibrate its models, about."""
WORDS_ROWS = 200_000
"""Most train rows of the text model."""
WORDS_VALUES = 1 << 28
"""Most weights of the text model, 1 GiB. With too many categories for that it is left out."""
TERMS = 100_000
"""Terms of the text model, to estimate its weights."""


@dataclass(eq=False)
class OutOfFoldModel:
    """Out-of-fold label scores of n products.

    pooled: of the mean of all models. model: of the head over all features. words: of the text
    model, None if it is left out. near: of the neighbours' vote. alone: of heads over one modality.
    copied: (n,) float32, the share of a product's copies that have its label, NaN for one without
    copies. checked: (n,) bool, products with scores. members: names of the models.
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
    """Cross-validation of the audit's models over all labelled products.

    codes: (n,) int64 labels, -1 for none or for no vector. groups: (n,) int64; copies share a group
    and so a fold. keys: (n,) uint64, the products'. shares: (n, classes) float32, filled in with
    the pooled probabilities; None to drop them.
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
        """Names of the heads: over all features, and over each modality."""
        alone = [one.value for one in self.features.modalities]
        return tuple(dict.fromkeys([self.features.value, *alone]))

    @property
    def rows(self) -> Codes:
        """Positions of the products to check."""
        return np.flatnonzero(self.codes >= 0)

    @property
    def fit(self) -> FitOptions:
        """Options of the heads: logistic ones, which memorise wrong labels the least."""
        return FitOptions(kind=HeadKind.LOGISTIC, seed=self.seed)

    @property
    def uses_text_model(self) -> bool:
        """True if the text model is used."""
        return Modality.TEXT in self.features.modalities and self.classes * TERMS <= WORDS_VALUES

    def planned(self) -> int:
        """Number of rows that `predict` reports, about."""
        train_rows = len(self.rows) * (self.folds - 1) // self.folds
        some = self.rows[:train_rows]
        heads = planned(self.gathered, some, self.classes, self.members, self.fit)
        words = min(train_rows, WORDS_ROWS) if self.uses_text_model else 0
        return self.folds * (heads + words) + len(self.rows)

    def predict(self, progress: Progress) -> OutOfFoldModel:
        """Predict every product by models of the other folds.

        Raises TrainingError if the train rows of a fold have fewer than two categories.
        """
        count = len(self.codes)
        fold = self._fold()
        out = OutOfFoldModel(
            LabelScores.nothing(count),
            LabelScores.nothing(count),
            None,
            LabelScores.nothing(count),
            {one: LabelScores.nothing(count) for one in self.features.modalities},
            np.full(count, np.nan, dtype=np.float32),
            np.zeros(count, dtype=bool),
        )
        for number in range(self.folds):
            train_rows = self.rows[fold[self.rows] != number]
            test_rows = self.rows[fold[self.rows] == number]
            if not len(test_rows):
                continue
            if len(np.unique(self.codes[train_rows])) < 2:
                raise TrainingError(
                    "an audit needs products of at least two categories that are no copies of "
                    "each other; embed a catalogue with more labelled products"
                )
            heads = fit_heads(
                self.gathered,
                self.codes,
                train_rows,
                self.classes,
                self.members,
                self.fit,
                progress,
            )
            words = self._fit_text_model(train_rows, progress) if self.uses_text_model else None
            if words is not None and out.words is None:
                out.words = LabelScores.nothing(count)
            self._predict_fold(out, heads, words, test_rows, progress)
        out.members = [f"{name} head" for name in self.members]
        out.members += ["words"] * (out.words is not None) + ["neighbours", "copies"]
        return out

    def _fold(self) -> Codes:
        """(n,) int64 fold of each product, -1 for none. Folds are drawn by keys: a product keeps
        its fold when others are added or removed."""
        rows = self.rows
        drawn = draw_by_group(self.groups[rows], self.keys[rows], self.seed, 3)
        fold = np.full(len(self.codes), -1, dtype=np.int64)
        fold[rows] = (drawn % np.uint64(self.folds)).astype(np.int64)
        return fold

    def _predict_fold(
        self,
        out: OutOfFoldModel,
        heads: dict[str, Head],
        words: _TextModel | None,
        test_rows: Codes,
        progress: Progress,
    ) -> None:
        some = test_rows[:: max(1, len(test_rows) // CALIBRATED_BY)]
        temperatures = {
            name: fit_temperature(self._logits(head, name, some), self.codes[some])
            for name, head in heads.items()
        }
        texts_of = self._texts(test_rows)
        if words is not None:
            words = words.calibrated(list(self._texts(some)), self.codes[some])
        step = max(64, BLOCK_VALUES // self.classes)
        for start in range(0, len(test_rows), step):
            rows = test_rows[start : start + step]
            codes = self.codes[rows]
            predicted = {
                name: softmax(self._logits(head, name, rows), temperatures[name])
                for name, head in heads.items()
            }
            predictions = [(predicted[self.features.value], np.ones(len(rows), dtype=np.float32))]
            out.model.put(rows, predictions[0][0], codes)
            for modality, one in out.alone.items():
                there = self.gathered.present[self.gathered.modalities.index(modality)][rows]
                one.put(rows[there], predicted[modality.value][there], codes[there])
            near, scores = self.near.of(rows)
            labels = np.where(near >= 0, self.codes[near], -1)
            vote = vote_shares(labels, scores, classes=self.classes, rule=RULE)
            out.near.put(rows, vote, codes)
            predictions.append((vote, (vote.max(axis=1) > 0).astype(np.float32)))
            if words is not None and out.words is not None:
                block = [next(texts_of) for _ in rows]
                shares = words.shares(block)
                has_text = np.array([bool(text) for text in block])
                out.words.put(rows[has_text], shares[has_text], codes[has_text])
                predictions.append((shares, has_text.astype(np.float32)))
            who, other = self.copies.pairs(rows, near, scores)
            copied, weight = self.copies.shares(who, self.codes[other], len(rows), self.classes)
            at = np.arange(len(rows))
            out.copied[rows] = np.where(weight > 0, copied[at, codes], np.nan)
            predictions.append((copied, weight))
            pooled = _mean(predictions)
            out.pooled.put(rows, pooled, codes)
            if self.shares is not None:
                self.shares[rows] = pooled
            out.checked[rows] = True
            progress(len(rows))

    def _logits(self, head: Head, name: str, rows: Codes) -> Floats:
        return predict(head, self.gathered.only(Features(name).modalities), rows)

    def _fit_text_model(self, train_rows: Codes, progress: Progress) -> _TextModel | None:
        some = train_rows
        if len(some) > WORDS_ROWS:
            drawn = np.random.default_rng([self.seed, 5]).choice(len(some), WORDS_ROWS, False)
            some = some[np.sort(drawn)]
        stopping = np.zeros(0, dtype=np.int64)
        train_texts = list(self._texts(some))
        examples = TextExamples(
            train_texts, self.codes[some], self.classes, np.arange(len(some)), stopping
        )
        try:
            task = BaselineTask.of(examples)
            model = fit_linear_svm(task, seed=self.seed, progress=progress)
        except TrainingError:
            # Titles without words train no text model; the other models remain.
            return None
        return _TextModel(model, task.present, self.classes)

    def _texts(self, rows: Codes) -> Iterator[str]:
        """The texts of ascending rows, cut to `LONGEST` characters."""
        start, at = 0, 0
        for batch in texts(self.products):
            stop = int(np.searchsorted(rows, start + len(batch)))
            for row in rows[at:stop].tolist():
                yield batch[row - start][:LONGEST]
            start, at = start + len(batch), stop


@dataclass(frozen=True, eq=False)
class _TextModel:
    """The linear text model. present: (m,) the classes that it was trained on. temperature: of its
    margins."""

    model: LinearSvm
    present: Codes
    classes: int
    temperature: float = 1.0

    def calibrated(self, batch: Sequence[str], codes: Codes) -> _TextModel:
        """Calibrate on test rows with their codes, (len(batch),) int64. Returns a copy."""
        place = np.full(self.classes, -1, dtype=np.int64)
        place[self.present] = np.arange(len(self.present))
        known = place[codes]
        if (known < 0).all():
            return self
        return replace(self, temperature=fit_temperature(self.model.logits(batch), known))

    def shares(self, batch: Sequence[str]) -> Floats:
        """(len(batch), classes) float32 probabilities."""
        out = np.zeros((len(batch), self.classes), dtype=np.float32)
        out[:, self.present] = softmax(self.model.logits(batch), self.temperature)
        return out


def _mean(models: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Weighted mean of probabilities, (m, classes), each with weights, (m,)."""
    total = np.zeros_like(models[0][0])
    whole = np.zeros(len(total), dtype=np.float32)
    for shares, weight in models:
        total += shares * weight[:, None]
        whole += weight
    total /= np.maximum(whole, np.float32(1e-9))[:, None]
    return total
