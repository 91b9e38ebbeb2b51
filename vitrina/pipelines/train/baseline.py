"""Text baseline for comparison: naive Bayes over TF-IDF of words, on the same evaluation rows.

It is quick and needs no encoder, so a head's lead over it is the value of the vectors.
"""

from __future__ import annotations

import time

import numpy as np

from vitrina.baselines.base import BaselineKind, TextExamples
from vitrina.baselines.terms import LONGEST
from vitrina.baselines.train import train_baseline
from vitrina.classifier.metrics import difference, evaluate
from vitrina.data.product import TEXT_FIELDS, encoder_text
from vitrina.errors import TrainingError
from vitrina.pipelines.train.report import BaselineScore
from vitrina.pipelines.train.trainer import HeadTrainer
from vitrina.store.products import Products
from vitrina.types import Codes, Floats

LEAST_TEXTS = 20
"""Training texts below which there is no baseline."""
MOST_TRAIN_TEXTS, MOST_EVALUATED = 20_000, 20_000
"""Most training texts per fold, and most evaluation rows. More are sampled: the baseline would take
as long as a head."""
BLOCK_VALUES = 1 << 24


def text_baseline(products: Products, trainer: HeadTrainer) -> BaselineScore:
    """Train and evaluate the baseline on the folds of a trainer whose `learn` has run."""
    started = time.perf_counter()
    seed, codes = trainer.options.seed, trainer.codes
    rows = np.concatenate([fold.test_rows for fold in trainer.folds])
    chosen = np.full(len(rows), -1, dtype=np.int64)
    sure = np.zeros(len(rows), dtype=np.float32)
    wanted = np.zeros(len(rows), dtype=bool)
    wanted[_sample(np.arange(len(rows)), MOST_EVALUATED, seed)] = True
    most, start = 0, 0
    for number, fold in enumerate(trainer.folds):
        here = start + np.flatnonzero(wanted[start : start + len(fold.test_rows)])
        start += len(fold.test_rows)
        train_rows = _sample(fold.train_rows, MOST_TRAIN_TEXTS, seed + number)
        texts = _texts(products, train_rows)
        there = np.array([bool(text) for text in texts], dtype=bool)
        count = int(there.sum())
        if count < LEAST_TEXTS:
            return BaselineScore.left_out(
                f"{count} labelled products have a text to train on, fewer than {LEAST_TEXTS}"
            )
        most = max(most, count)
        train_texts = [text for text in texts if text]
        try:
            test_texts = _texts(products, rows[here])
            chosen[here], sure[here] = _predict(trainer, train_rows[there], train_texts, test_texts)
        except TrainingError as err:
            return BaselineScore.left_out(str(err))
    true, fused = codes[rows[wanted]], trainer.evaluation.decided.chosen[wanted]
    return BaselineScore(
        train_rows=most,
        evaluated=int(wanted.sum()),
        metrics=evaluate(true, chosen[wanted], sure[wanted], classes=trainer.classes),
        ahead=difference(true, fused, chosen[wanted], classes=trainer.classes, seed=seed),
        seconds=round(time.perf_counter() - started, 2),
    )


def _sample(rows: Codes, most: int, seed: int) -> Codes:
    """All positions, or a sample of `most`."""
    if len(rows) <= most:
        return rows
    return np.random.default_rng([seed, most]).choice(rows, most, replace=False)


def _texts(products: Products, rows: Codes) -> list[str]:
    """The encoder texts of some products, cut to `LONGEST` characters."""
    order, place = np.unique(rows, return_inverse=True)
    rows_of = products.take(order, TEXT_FIELDS).to_pylist()
    texts = [encoder_text(**row)[:LONGEST] for row in rows_of]
    return [texts[at] for at in place.tolist()]


def _predict(
    trainer: HeadTrainer, train_rows: Codes, texts: list[str], test_texts: list[str]
) -> tuple[Codes, Floats]:
    """Train naive Bayes and predict: the class of each test text, -1 for an empty one, and its
    probability.

    train_rows: positions. texts: theirs, none empty. test_texts: to predict.
    """
    stopping_rows = trainer.store_split.early_stopping_split(train_rows, trainer.options.seed)[1]
    stopping = np.flatnonzero(np.isin(train_rows, stopping_rows))
    rows = np.setdiff1d(np.arange(len(train_rows)), stopping)
    examples = TextExamples(texts, trainer.codes[train_rows], trainer.classes, rows, stopping)
    model = train_baseline(BaselineKind.NAIVE_BAYES, examples, seed=trainer.options.seed)
    chosen = np.full(len(test_texts), -1, dtype=np.int64)
    sure = np.zeros(len(test_texts), dtype=np.float32)
    there = np.flatnonzero([bool(text) for text in test_texts])
    step = max(1, BLOCK_VALUES // trainer.classes)
    for start in range(0, len(there), step):
        block = there[start : start + step]
        shares = model.probabilities([test_texts[row] for row in block])
        chosen[block], sure[block] = shares.argmax(axis=1), shares.max(axis=1)
    return chosen, sure
