"""Training a head by minibatches, from vectors that lie on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from vitrina.classifier.heads import Head, HeadShape
from vitrina.classifier.metrics import evaluate
from vitrina.store.gather import Gathered
from vitrina.training.loss import ClassLoss
from vitrina.training.recipe import rate_at
from vitrina.types import Balance, Codes, Floats, HeadKind

BLOCK_ROWS = 8192
SCALES = (1.0, 0.3, 0.1)
"""What the image block may be scaled by; small where the text already says nearly all."""


@dataclass(frozen=True)
class FitOptions:
    """How a head is trained.

    epochs, learning_rate: None for what the rows and the kind call for. modality_dropout: the
    share of complete training products that lose their text, and as many their image, so that
    the head bears a product that lacks one. balance: how rare classes are heard; see `ClassLoss`.
    """

    kind: HeadKind = HeadKind.MLP
    epochs: int | None = None
    batch_rows: int = 512
    learning_rate: float | None = None
    weight_decay: float = 0.05
    modality_dropout: float = 0.1
    hidden: int = 512
    balance: Balance = Balance.NONE
    seed: int = 0


RATES = {HeadKind.LOGISTIC: 5e-3, HeadKind.MLP: 2e-3}
"""AdamW's learning rate at its height."""

TRIAL = FitOptions(kind=HeadKind.LOGISTIC, epochs=10, learning_rate=2e-3, modality_dropout=0.0)
"""The quick head by which a scale is chosen."""


def fit_head(
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    classes: int,
    options: FitOptions,
    report: Callable[[int], None] | None = None,
) -> Head:
    """Train a head with AdamW under a schedule of fixed length.

    codes: (n,) class of every product. rows: positions to train on, none of class -1.
    The length is fixed beforehand and nothing is picked on validation rows, so what is
    measured on them later is not flattered. report: told the rows of each batch.
    """
    scales = (1.0,) * len(gathered.modalities)
    if len(gathered.modalities) > 1:
        scales = (1.0, choose_scale(gathered, codes, rows, classes, options.seed, report))
    return _fit(gathered, codes, rows, classes, options, scales, report)


def planned_rows(rows: int, modalities: int, options: FitOptions) -> int:
    """Rows that `fit_head` will go through, epochs and trials counted, for a progress bar."""
    trials = len(SCALES) * _epochs(rows, TRIAL) * 4 // 5 if modalities > 1 else 0
    return rows * (_epochs(rows, options) + trials)


def choose_scale(
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    classes: int,
    seed: int,
    report: Callable[[int], None] | None = None,
) -> float:
    """Pick the image block's scale by a logistic head on a fifth of the training rows held out."""
    rng = np.random.default_rng(seed)
    held = rng.random(len(rows)) < 0.2
    inner, outer = rows[~held], rows[held]
    if len(outer) < 50:
        return SCALES[0]
    best, chosen = -1.0, SCALES[0]
    for scale in SCALES:
        head = _fit(gathered, codes, inner, classes, TRIAL, (1.0, scale), report)
        predicted = predict(head, gathered, outer).argmax(axis=1)
        score = evaluate(codes[outer], predicted, None, classes=classes, bootstrap=1).weighted_f1
        if score > best:
            best, chosen = score, scale
    return chosen


def predict(head: Head, gathered: Gathered, rows: Codes) -> Floats:
    """Logits of some products, (len(rows), classes) float32."""
    out = np.empty((len(rows), head.shape.classes), dtype=np.float32)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        out[start : start + BLOCK_ROWS] = head.logits(*gathered.blocks(block))
    return out


def _epochs(rows: int, options: FitOptions) -> int:
    return options.epochs or int(np.clip(600_000 // max(1, rows), 10, 40))


def _batch_rows(rows: int, options: FitOptions) -> int:
    # A small catalogue needs its steps too.
    return int(np.clip(rows // 20, min(32, options.batch_rows), options.batch_rows))


def _fit(
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    classes: int,
    options: FitOptions,
    scales: tuple[float, ...],
    report: Callable[[int], None] | None,
) -> Head:
    shape = HeadShape(options.kind, gathered.dims, scales, classes, options.hidden)
    epochs = _epochs(len(rows), options)
    size = _batch_rows(len(rows), options)
    steps = epochs * -(-len(rows) // size)
    rng = np.random.default_rng(options.seed)
    loss_of = ClassLoss.of(codes[rows], classes, options.balance)
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        head = Head(shape).train()
        optimiser = torch.optim.AdamW(
            head.parameters(),
            lr=options.learning_rate or RATES[options.kind],
            weight_decay=options.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_at(step, steps))
        for batch in _batches(rows, epochs, size, rng):
            vectors, present = gathered.blocks(batch)
            masks = _drop([mask.astype(np.float32) for mask in present], options, rng)
            logits = head([torch.from_numpy(block) for block in vectors], masks)
            loss = loss_of(logits, torch.from_numpy(codes[batch]))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if report:
                report(len(batch))
    return head.eval()


def _batches(rows: Codes, epochs: int, size: int, rng: np.random.Generator) -> Iterator[Codes]:
    for _ in range(epochs):
        shuffled = rng.permutation(rows)
        for start in range(0, len(shuffled), size):
            # Sorted, so that reading them from the disk goes forward.
            yield np.sort(shuffled[start : start + size])


def _drop(masks: list[Floats], options: FitOptions, rng: np.random.Generator) -> list[torch.Tensor]:
    if len(masks) > 1:
        complete = np.logical_and.reduce(masks)
        draw = rng.random(len(complete))
        for number, mask in enumerate(masks):
            low = number * options.modality_dropout
            mask[complete & (draw >= low) & (draw < low + options.modality_dropout)] = 0
    return [torch.from_numpy(mask) for mask in masks]
