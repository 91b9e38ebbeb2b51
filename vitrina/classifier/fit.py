"""Head training from vectors on disk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vitrina.classifier.card import HeadShape
from vitrina.classifier.full_batch import DECAYS, fit_whole
from vitrina.classifier.heads import Head
from vitrina.classifier.minibatch import fit_by_batches, score_of
from vitrina.parallel import Progress, no_progress
from vitrina.store.gather import Gathered
from vitrina.threads import limit_torch, threads_for
from vitrina.training.config import TrainingConfig
from vitrina.training.loss import ClassLoss
from vitrina.types import Balance, Codes, HeadKind
from vitrina.whitening import Whitening

SCALES = (1.0, 0.3, 0.1)
"""Candidate scales of the image block; small ones win where the text predicts nearly all."""
AT_ONCE = 20_000
"""Rows times classes up to which a logistic head is fitted full-batch: there that is faster, and as
accurate (`benchmarks/heads.py --small`)."""
INPUT_DROPOUT, DROPOUT_ROWS = 0.4, 16_000
"""Dropout of an MLP's inputs up to so many training rows; of more rows it falls with their root.
See `benchmarks/mlp_heads.py`."""
HIDDEN, WIDE_CLASSES, WIDE_ROWS = 512, 100, 10_000
"""Width of an MLP; from so many classes and training rows it is twice as wide."""
NO_ROWS = np.zeros(0, dtype=np.int64)
"""No rows."""


@dataclass(frozen=True)
class FitOptions:
    """Training options of a head.

    epochs, learning_rate: None for defaults by the number of rows and by the kind.
    modality_dropout: the share of complete training products that lose their text, and as many
    their image, so that the head can classify products that lack one. balance: class-imbalance
    handling; see `ClassLoss`. hidden, input_dropout: of an MLP; None for defaults by the number of
    rows and classes. patience: early stopping after this many epochs without a better score on
    held-out rows; 0 for none.
    """

    kind: HeadKind = HeadKind.MLP
    epochs: int | None = None
    batch_rows: int = 512
    learning_rate: float | None = None
    weight_decay: float = 0.05
    modality_dropout: float = 0.1
    hidden: int | None = None
    input_dropout: float | None = None
    balance: Balance = Balance.NONE
    patience: int = 0
    seed: int = 0


RATES = {HeadKind.LOGISTIC: 5e-3, HeadKind.MLP: 2e-3}
"""Peak learning rate of AdamW."""

TRIAL = FitOptions(kind=HeadKind.LOGISTIC, epochs=10, learning_rate=2e-3, modality_dropout=0.0)
"""Options of the quick heads that choose a scale."""


def fit_head(
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    classes: int,
    options: FitOptions,
    report: Progress = no_progress,
    held_rows: Codes = NO_ROWS,
) -> Head:
    """Train a head: a logistic one on few rows full-batch with L-BFGS, any other by minibatches
    with AdamW.

    codes: (n,) int64 class of every product. rows: positions to train on, none of class -1. held:
    those of `rows` that early stopping holds out; without `options.patience` they are trained on.
    Then the number of epochs is fixed in advance and nothing is selected on test rows, so their
    metrics are unbiased. report: called with the number of rows processed. Without rows to train
    on, all logits of the head are 0.
    """
    limit_torch()
    if options.patience:
        rows = np.setdiff1d(rows, held_rows)
    scales = (1.0,) * len(gathered.modalities)
    if not len(rows):
        hidden = options.hidden or _width(0, classes)
        return _zero_head(HeadShape(options.kind, gathered.dims, scales, classes, hidden))
    whitenings = _whitenings(gathered, rows)
    if len(gathered.modalities) > 1:
        chosen = choose_scale(gathered, codes, rows, classes, options.seed, report, whitenings)
        scales = (1.0, chosen)
    return _fit(gathered, codes, rows, classes, options, scales, report, held_rows, whitenings)


def _whitenings(gathered: Gathered, rows: Codes) -> tuple[Whitening | None, ...]:
    """The whitening of each modality, from the rows that have it; None where it needs none."""
    return tuple(
        Whitening.fit(matrix, rows[mask[rows]])
        for matrix, mask in zip(gathered.vectors, gathered.present, strict=True)
    )


def _zero_head(shape: HeadShape) -> Head:
    """A head without training rows: all logits are 0."""
    head = Head(shape).eval()
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    return head


def planned_rows(rows: int, modalities: int, classes: int, options: FitOptions) -> int:
    """Upper limit of the rows that `fit_head` processes over all epochs and trials, for a progress
    bar."""
    trials = len(SCALES) * _epochs(rows, TRIAL) * 4 // 5 if modalities > 1 else 0
    own = len(DECAYS) if _is_full_batch(rows, classes, options) else _epochs(rows, options)
    return rows * (own + trials)


def choose_scale(
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    classes: int,
    seed: int,
    report: Progress = no_progress,
    whitenings: tuple[Whitening | None, ...] = (),
) -> float:
    """Choose the image block's scale by logistic heads on a held-out fifth of the rows.

    whitenings: of each modality; by default from all rows.
    """
    inner, outer = _fifth(rows, seed)
    if len(outer) < 50:
        return SCALES[0]
    ready = whitenings or _whitenings(gathered, rows)
    best, chosen = -1.0, SCALES[0]
    for scale in SCALES:
        scales = (1.0, scale)
        head = _fit(gathered, codes, inner, classes, TRIAL, scales, report, NO_ROWS, ready)
        score = score_of(head, gathered, codes, outer)
        if score > best:
            best, chosen = score, scale
    return chosen


def _fifth(rows: Codes, seed: int) -> tuple[Codes, Codes]:
    """A random split of rows into about four fifths and one fifth."""
    in_fifth = np.random.default_rng(seed).random(len(rows)) < 0.2
    return rows[~in_fifth], rows[in_fifth]


def _epochs(rows: int, options: FitOptions) -> int:
    return options.epochs or int(np.clip(600_000 // max(1, rows), 10, 40))


def _width(rows: int, classes: int) -> int:
    return HIDDEN * (2 if rows >= WIDE_ROWS and classes >= WIDE_CLASSES else 1)


def _input_dropout(rows: int) -> float:
    return float(INPUT_DROPOUT * min(1.0, (DROPOUT_ROWS / rows) ** 0.5))


def _is_full_batch(rows: int, classes: int, options: FitOptions) -> bool:
    free = options.epochs is None and options.learning_rate is None and not options.patience
    return options.kind is HeadKind.LOGISTIC and free and rows * classes <= AT_ONCE


def _fit(
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    classes: int,
    options: FitOptions,
    scales: tuple[float, ...],
    report: Progress,
    held_rows: Codes,
    whitenings: tuple[Whitening | None, ...],
) -> Head:
    flags = tuple(one is not None for one in whitenings)
    whitened = flags if any(flags) else ()
    shape = HeadShape(
        options.kind,
        gathered.dims,
        scales,
        classes,
        options.hidden or _width(len(rows), classes),
        whitened=whitened,
    )
    loss_of = ClassLoss.of(codes[rows], classes, options.balance)
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        dropped = options.input_dropout
        head = Head(shape, _input_dropout(len(rows)) if dropped is None else dropped)
        head.set_whitening(whitenings)
        whole = _is_full_batch(len(rows), classes, options)
        # A small catalogue takes smaller batches, for enough steps.
        size = int(np.clip(len(rows) // 10, min(32, options.batch_rows), options.batch_rows))
        parameters = sum(one.numel() for one in head.parameters())
        with threads_for((len(rows) if whole else size) * parameters):
            if whole:
                outer = _fifth(rows, options.seed)[1]
                fit_whole(head, gathered, codes, rows, outer, loss_of, options.modality_dropout)
                report(len(rows) * len(DECAYS))
                return head
            recipe = TrainingConfig(
                epochs=_epochs(len(rows), options),
                batch_rows=size,
                rate=options.learning_rate or RATES[options.kind],
                warm_up=0.1,
                weight_decay=options.weight_decay,
                patience=options.patience,
                seed=options.seed,
            )
            dropout = options.modality_dropout
            fit_by_batches(head, gathered, codes, rows, loss_of, recipe, dropout, held_rows, report)
    return head
