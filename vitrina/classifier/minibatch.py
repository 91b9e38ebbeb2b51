"""Minibatch training of a head: bounded memory for any number of rows."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch

from vitrina.classifier.gradients import loss_gradients
from vitrina.classifier.heads import Head
from vitrina.classifier.metrics import evaluate
from vitrina.device import best_device
from vitrina.parallel import Progress
from vitrina.store.gather import Gathered
from vitrina.training.adamw import FusedAdamW
from vitrina.training.config import TrainingConfig, rate_at
from vitrina.training.dropout import drawing
from vitrina.training.loss import ClassLoss
from vitrina.types import Codes, Floats

BLOCK_ROWS = 8192


def fit_by_batches(
    head: Head,
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    loss_of: ClassLoss,
    recipe: TrainingConfig,
    dropout: float,
    held_rows: Codes,
    report: Progress,
) -> None:
    """Train a head with AdamW, on a GPU if there is one, and leave it on the CPU.

    codes: (n,) int64, the class of every product. rows: positions to train on. held: positions for
    early stopping by weighted F1, which keeps the best epoch's weights; none to keep the last
    epoch's. dropout: the share of complete rows that lose their text in a step, and as many their
    image. report: called with the number of rows of each batch.
    """
    device = best_device()
    head.to(device).train()
    optimiser = FusedAdamW(head.parameters(), recipe.weight_decay)
    steps = recipe.steps(len(rows))
    rng = np.random.default_rng(recipe.seed)
    step, best, stale_epochs, weights = 0, -1.0, 0, None
    for _ in range(recipe.epochs):
        for batch in _batches(rows, recipe.batch_rows, rng):
            vectors, present = gathered.blocks(batch)
            masks = _drop([mask.astype(np.float32) for mask in present], dropout, rng)
            inputs = head.inputs(
                [torch.from_numpy(block).to(device) for block in vectors],
                [torch.from_numpy(mask).to(device) for mask in masks],
            )
            labels = torch.from_numpy(codes[batch]).to(device)
            with drawing(recipe.seed, step):
                gradients = loss_gradients(head.layers, inputs, labels, loss_of)
            optimiser.step(gradients, recipe.rate * rate_at(step, steps, recipe.warm_up))
            step += 1
            report(len(batch))
        if recipe.patience and len(held_rows):
            score = score_of(head, gathered, codes, held_rows)
            head.train()
            stale_epochs += 1
            if score > best:
                best, stale_epochs, weights = score, 0, copy.deepcopy(head.state_dict())
            if stale_epochs >= recipe.patience:
                break
    if weights is not None:
        head.load_state_dict(weights)
    head.cpu().eval()


def predict(head: Head, gathered: Gathered, rows: Codes) -> Floats:
    """Logits of the products at `rows`: (len(rows), classes) float32."""
    out = np.empty((len(rows), head.shape.classes), dtype=np.float32)
    for start, logits in _logits(head, gathered, rows):
        out[start : start + len(logits)] = logits
    return out


def score_of(head: Head, gathered: Gathered, codes: Codes, held_rows: Codes) -> float:
    """Weighted F1 of a head on the products at `held`."""
    predicted = np.empty(len(held_rows), dtype=np.int64)
    for start, logits in _logits(head, gathered, held_rows):
        predicted[start : start + len(logits)] = logits.argmax(axis=1)
    found = evaluate(codes[held_rows], predicted, None, classes=head.shape.classes, bootstrap=1)
    return found.weighted_f1


def _logits(head: Head, gathered: Gathered, rows: Codes) -> Iterator[tuple[int, Floats]]:
    """Logits in blocks of rows, each with its first position in `rows`."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield start, head.logits(*gathered.blocks(rows[start : start + BLOCK_ROWS]))


def _batches(rows: Codes, size: int, rng: np.random.Generator) -> Iterator[Codes]:
    shuffled = rng.permutation(rows)
    for start in range(0, len(shuffled), size):
        # Sorted, for sequential reads from disk.
        yield np.sort(shuffled[start : start + size])


def _drop(masks: list[Floats], share: float, rng: np.random.Generator) -> list[Floats]:
    """Modality dropout: clear each mask on a random share of the complete rows, in place."""
    if len(masks) > 1:
        complete = np.logical_and.reduce(masks)
        draw = rng.random(len(complete))
        for number, mask in enumerate(masks):
            low = number * share
            mask[complete & (draw >= low) & (draw < low + share)] = 0
    return masks
