"""Self-training: a second text encoder trains on the first one's predictions for unlabelled texts.

(Scudder, "Probability of error of some adaptive pattern-recognition machines", 1965; for language
models Du et al., "Self-training improves pre-training for natural language understanding", 2021.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import chain

import numpy as np
import torch

from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.embedder.finetuning.text_classes import TextClasses
from vitrina.embedder.finetuning.tokens import TokenLists
from vitrina.pipelines.common.product_inputs import texts
from vitrina.pipelines.common.reading import opened_texts
from vitrina.store.store import OpenStore
from vitrina.training.checkpoint import Checkpoint
from vitrina.training.config import TrainingConfig
from vitrina.training.loss import SoftTargets
from vitrina.types import Codes

STEPS = 2
"""Steps of the second training, for each of the first."""
EPOCHS = 2
"""Fewest epochs of the second training."""


def with_unlabelled(
    store: OpenStore,
    codes: Codes,
    paths: Sequence[str],
    tokenize: Callable[[Sequence[str]], Sequence[Sequence[int]]],
    reading: ReadingOptions = DEFAULT_OPTIONS,
) -> tuple[TokenLists, Codes]:
    """Tokenize all products of a store, then those of further files.

    Returns the tokens, and the rows among them to pseudo-label: products without a category, each
    distinct text once, without the texts of labelled products, which may be held out.

    codes: (n,) int64, the category of each of the store's products, -1 for none. reading: options
    of the files that differ from the store's catalogue. Raises CatalogueError for a file that can't
    be read.
    """
    known, rows, count = set[bytes](), list[int](), 0
    for batch in texts(store.products):
        keys = [_key(text) for text in batch]
        known.update(key for at, key in enumerate(keys, count) if codes[at] >= 0)
        count += len(batch)

    def fresh(batches: Iterator[list[str]]) -> Iterator[Sequence[Sequence[int]]]:
        at = 0
        for batch in batches:
            for text in batch:
                if text and (at >= len(codes) or codes[at] < 0) and _key(text) not in known:
                    known.add(_key(text))
                    rows.append(at)
                at += 1
            yield tokenize(batch)

    with opened_texts(store, paths, reading) as files:
        further = (
            [one.text for one in batch.products] for file in files for batch in file.batches()
        )
        tokens = TokenLists.write(fresh(chain(texts(store.products), further)))
    return tokens, np.array(rows, dtype=np.int64)


def guessed(
    task: TextClasses, rows: Codes, seconds: float, checkpoint: Checkpoint
) -> tuple[SoftTargets, float]:
    """Pseudo-labels of rows by a trained task, and the seconds of its training and prediction.

    Both are saved in the checkpoint, to resume from. seconds: of the training.
    """
    started = time.monotonic()
    classes, probabilities = task.predict_top(rows)
    arrays = {"classes": torch.from_numpy(classes), "odds": torch.from_numpy(probabilities)}
    seconds += time.monotonic() - started
    checkpoint.write({"seconds": seconds}, 0, arrays)
    return _placed(len(task.labels), rows, arrays), seconds


def guessed_before(
    count: int, rows: Codes, checkpoint: Checkpoint
) -> tuple[SoftTargets, float] | None:
    """Pseudo-labels and seconds in the checkpoint; None if it is empty. count: of all rows."""
    found = checkpoint.read()
    if found is None:
        return None
    return _placed(count, rows, dict(found.arrays)), float(found.told["seconds"])


def second(recipe: TrainingConfig, labelled: int, unlabelled: int) -> tuple[TrainingConfig, int]:
    """Config of the second training, and the repeats of each labelled row in an epoch.

    It has at least `EPOCHS` epochs and about `STEPS` times the steps of the first training, and
    each labelled row occurs at least as often as there.
    """
    epochs = max(EPOCHS, round(STEPS * recipe.epochs * labelled / (labelled + unlabelled)))
    return replace(recipe, epochs=epochs), math.ceil(recipe.epochs / epochs)


def _placed(count: int, rows: Codes, arrays: dict[str, torch.Tensor]) -> SoftTargets:
    places = np.full(count, -1, dtype=np.int64)
    places[rows] = np.arange(len(rows))
    return SoftTargets(places, arrays["classes"].numpy(), arrays["odds"].numpy())


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
