"""A plain baseline beside a head: naive Bayes over TF-IDF of words, asked about the same rows.

It costs moments and needs no encoder, so what a head reaches beyond it is what vectors are worth.
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
"""Texts to learn from, below which a baseline says nothing."""
MOST_LEARNT, MOST_JUDGED = 20_000, 20_000
"""Texts of a turn to learn from, and rows to be asked about: of more, a sample, or it would take as
long as a head."""
BLOCK_VALUES = 1 << 24


def text_baseline(products: Products, lesson: HeadTrainer) -> BaselineScore:
    """Learn in the turns of a lesson that is over, and be measured on the rows that it judged."""
    started = time.perf_counter()
    seed, codes = lesson.options.seed, lesson.codes
    rows = np.concatenate([turn.asked for turn in lesson.turns])
    chosen = np.full(len(rows), -1, dtype=np.int64)
    sure = np.zeros(len(rows), dtype=np.float32)
    wanted = np.zeros(len(rows), dtype=bool)
    wanted[_drawn(np.arange(len(rows)), MOST_JUDGED, seed)] = True
    most, start = 0, 0
    for number, turn in enumerate(lesson.turns):
        here = start + np.flatnonzero(wanted[start : start + len(turn.asked)])
        start += len(turn.asked)
        learnt = _drawn(turn.learnt, MOST_LEARNT, seed + number)
        texts = _texts(products, learnt)
        there = np.array([bool(text) for text in texts], dtype=bool)
        count = int(there.sum())
        if count < LEAST_TEXTS:
            return BaselineScore.left_out(
                f"{count} labelled products have a text to learn from, fewer than {LEAST_TEXTS}"
            )
        most = max(most, count)
        spoken = [text for text in texts if text]
        try:
            asked = _texts(products, rows[here])
            chosen[here], sure[here] = _answers(lesson, learnt[there], spoken, asked)
        except TrainingError as err:
            return BaselineScore.left_out(str(err))
    true, fused = codes[rows[wanted]], lesson.judged.decided.chosen[wanted]
    return BaselineScore(
        learnt=most,
        judged=int(wanted.sum()),
        metrics=evaluate(true, chosen[wanted], sure[wanted], classes=lesson.classes),
        ahead=difference(true, fused, chosen[wanted], classes=lesson.classes, seed=seed),
        seconds=round(time.perf_counter() - started, 2),
    )


def _drawn(rows: Codes, most: int, seed: int) -> Codes:
    """Some positions, or, of more than so many, a sample of them."""
    if len(rows) <= most:
        return rows
    return np.random.default_rng([seed, most]).choice(rows, most, replace=False)


def _texts(products: Products, rows: Codes) -> list[str]:
    """The encoder's text of some products, as far as the baseline looks at it."""
    order, place = np.unique(rows, return_inverse=True)
    told = products.take(order, TEXT_FIELDS).to_pylist()
    texts = [encoder_text(**row)[:LONGEST] for row in told]
    return [texts[at] for at in place.tolist()]


def _answers(
    lesson: HeadTrainer, learnt: Codes, texts: list[str], asked: list[str]
) -> tuple[Codes, Floats]:
    """The category of each text that is asked about, -1 where there is none, and how sure that is.

    learnt: positions to learn from. texts: theirs, none of them empty.
    """
    kept = lesson.parted.hold(learnt, lesson.options.seed)[1]
    held = np.flatnonzero(np.isin(learnt, kept))
    rows = np.setdiff1d(np.arange(len(learnt)), held)
    examples = TextExamples(texts, lesson.codes[learnt], lesson.classes, rows, held)
    model = train_baseline(BaselineKind.NAIVE_BAYES, examples, seed=lesson.options.seed)
    chosen = np.full(len(asked), -1, dtype=np.int64)
    sure = np.zeros(len(asked), dtype=np.float32)
    there = np.flatnonzero([bool(text) for text in asked])
    step = max(1, BLOCK_VALUES // lesson.classes)
    for start in range(0, len(there), step):
        block = there[start : start + step]
        shares = model.probabilities([asked[row] for row in block])
        chosen[block], sure[block] = shares.argmax(axis=1), shares.max(axis=1)
    return chosen, sure
