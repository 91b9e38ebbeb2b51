"""Training a head from vectors that lie on disk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vitrina.classifier.card import HeadShape
from vitrina.classifier.full_batch import DECAYS, fit_whole
from vitrina.classifier.heads import Head
from vitrina.classifier.minibatch import fit_by_batches, score_of
from vitrina.parallel import Progress, unwatched
from vitrina.store.gather import Gathered
from vitrina.threads import limit_torch
from vitrina.training.config import Recipe
from vitrina.training.loss import ClassLoss
from vitrina.types import Balance, Codes, HeadKind

SCALES = (1.0, 0.3, 0.1)
"""What the image block may be scaled by; small where the text already says nearly all."""
AT_ONCE = 20_000
"""Rows times classes up to which a logistic head is fitted on all rows at once: there that is
quicker, and as good (`benchmarks/heads.py --small`)."""
NOBODY = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class FitOptions:
    """How a head is trained.

    epochs, learning_rate: None for what the rows and the kind call for. modality_dropout: the
    share of complete training products that lose their text, and as many their image, so that
    the head bears a product that lacks one. balance: how rare classes are heard; see `ClassLoss`.
    patience: epochs without a better score on held rows after which training ends; 0 for all.
    """

    kind: HeadKind = HeadKind.MLP
    epochs: int | None = None
    batch_rows: int = 512
    learning_rate: float | None = None
    weight_decay: float = 0.05
    modality_dropout: float = 0.1
    hidden: int = 512
    balance: Balance = Balance.NONE
    patience: int = 0
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
    report: Progress = unwatched,
    held: Codes = NOBODY,
) -> Head:
    """Train a head: a logistic one of few rows on all of them at once, by L-BFGS, any other by
    minibatches, with AdamW.

    codes: (n,) int64 class of every product. rows: positions to train on, none of class -1. Unless
    `options.patience` says so, the length is fixed beforehand and nothing is picked on rows that
    are judged later, so what is measured on them is not flattered. report: told the rows that were
    gone through. held: some of `rows`, which are then kept to stop by. Without rows to learn from,
    the head says nothing.
    """
    limit_torch()
    if options.patience:
        rows = np.setdiff1d(rows, held)
    scales = (1.0,) * len(gathered.modalities)
    if not len(rows):
        return _silent(HeadShape(options.kind, gathered.dims, scales, classes, options.hidden))
    if len(gathered.modalities) > 1:
        scales = (1.0, choose_scale(gathered, codes, rows, classes, options.seed, report))
    return _fit(gathered, codes, rows, classes, options, scales, report, held)


def _silent(shape: HeadShape) -> Head:
    """Of what no row has: nothing is likelier than anything else."""
    head = Head(shape).eval()
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    return head


def planned_rows(rows: int, modalities: int, classes: int, options: FitOptions) -> int:
    """Rows that `fit_head` will go through at most, epochs and trials counted, for a progress
    bar."""
    trials = len(SCALES) * _epochs(rows, TRIAL) * 4 // 5 if modalities > 1 else 0
    own = len(DECAYS) if _at_once(rows, classes, options) else _epochs(rows, options)
    return rows * (own + trials)


def choose_scale(
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    classes: int,
    seed: int,
    report: Progress = unwatched,
) -> float:
    """Pick the image block's scale by a logistic head on a fifth of the training rows held out."""
    inner, outer = _fifth(rows, seed)
    if len(outer) < 50:
        return SCALES[0]
    best, chosen = -1.0, SCALES[0]
    for scale in SCALES:
        head = _fit(gathered, codes, inner, classes, TRIAL, (1.0, scale), report, NOBODY)
        score = score_of(head, gathered, codes, outer)
        if score > best:
            best, chosen = score, scale
    return chosen


def _fifth(rows: Codes, seed: int) -> tuple[Codes, Codes]:
    """Four fifths of some rows, and the others."""
    held = np.random.default_rng(seed).random(len(rows)) < 0.2
    return rows[~held], rows[held]


def _epochs(rows: int, options: FitOptions) -> int:
    return options.epochs or int(np.clip(600_000 // max(1, rows), 10, 40))


def _at_once(rows: int, classes: int, options: FitOptions) -> bool:
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
    held: Codes,
) -> Head:
    shape = HeadShape(options.kind, gathered.dims, scales, classes, options.hidden)
    loss_of = ClassLoss.of(codes[rows], classes, options.balance)
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        head = Head(shape)
        if _at_once(len(rows), classes, options):
            outer = _fifth(rows, options.seed)[1]
            fit_whole(head, gathered, codes, rows, outer, loss_of, options.modality_dropout)
            report(len(rows) * len(DECAYS))
            return head
        # A small catalogue needs its steps too.
        size = int(np.clip(len(rows) // 10, min(32, options.batch_rows), options.batch_rows))
        recipe = Recipe(
            epochs=_epochs(len(rows), options),
            batch_rows=size,
            rate=options.learning_rate or RATES[options.kind],
            warm_up=0.1,
            weight_decay=options.weight_decay,
            patience=options.patience,
            seed=options.seed,
        )
        dropout = options.modality_dropout
        fit_by_batches(head, gathered, codes, rows, loss_of, recipe, dropout, held, report)
    return head
