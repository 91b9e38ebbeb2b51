"""Full-batch training of a logistic head to convergence: faster for few rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vitrina.classifier.heads import Head
from vitrina.store.gather import Gathered
from vitrina.training.adamw import PlainLBFGS
from vitrina.training.loss import ClassLoss
from vitrina.types import Codes, Mask

ITERATIONS = 100
DECAYS = (1e-2, 1e-3, 1e-4)
"""Candidate ridge penalties, strongest first: each fit starts from the previous solution."""
TOLERANCE = 1e-5
"""Gradient tolerance for convergence, in nats."""
NOTHING = -1
"""No modality to drop."""


@dataclass(frozen=True, eq=False)
class WeightedRows:
    """Rows as a head's inputs, and their labels. share: their weight in the loss."""

    inputs: torch.Tensor
    labels: torch.Tensor
    share: float


def fit_whole(
    head: Head,
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    held_rows: Codes,
    loss_of: ClassLoss,
    dropout: float,
) -> None:
    """Fit a logistic head by L-BFGS (Liu & Nocedal, "On the limited memory BFGS method for large
    scale optimization", 1989) on cross-entropy with a ridge penalty.

    The penalty is the one of `DECAYS` with the lowest loss on the `held` rows after training on the
    others; the final fit is on all rows. `dropout`, which is random in `fit_by_batches`, enters
    here by its expectation: each complete row has weights for itself as it is, without its text,
    and without its image. codes: (n,) int64, the class of every product. rows: positions to train
    on. held: those of them to choose the penalty on; the middle one if there are none.
    """
    decay = DECAYS[len(DECAYS) // 2]
    inner = np.setdiff1d(rows, held_rows)
    if len(held_rows) and len(inner):
        train = _weighted_rows(head, gathered, codes, inner, dropout)
        test = _weighted_rows(head, gathered, codes, held_rows, 0.0)
        found = {}
        for one in DECAYS:
            _minimise(head, train, loss_of, one)
            with torch.no_grad():
                found[one] = float(_loss(head, test, loss_of))
        decay = min(found, key=lambda one: found[one])
    _minimise(head, _weighted_rows(head, gathered, codes, rows, dropout), loss_of, decay)
    head.eval()


def _minimise(head: Head, parts: Sequence[WeightedRows], loss_of: ClassLoss, decay: float) -> None:
    parameters = list(head.parameters())
    optimiser = PlainLBFGS(
        parameters,
        max_iter=ITERATIONS,
        tolerance_grad=TOLERANCE,
        history_size=10,
        line_search_fn="strong_wolfe",
    )
    ridged = [one for name, one in head.named_parameters() if name.endswith("weight")]

    def closure() -> torch.Tensor:
        for one in parameters:
            one.grad = None
        loss = _loss(head, parts, loss_of)
        for one in ridged:
            loss = loss + 0.5 * decay * one.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]


def _loss(head: Head, parts: Sequence[WeightedRows], loss_of: ClassLoss) -> torch.Tensor:
    losses = [one.share * loss_of(head.layers(one.inputs), one.labels) for one in parts]
    return torch.stack(losses).sum()


def _weighted_rows(
    head: Head, gathered: Gathered, codes: Codes, rows: Codes, dropout: float
) -> list[WeightedRows]:
    vectors, present = gathered.blocks(rows)
    complete: Mask = np.logical_and.reduce(present)
    if len(present) == 1 or not dropout:
        variants = [(np.ones(len(rows), dtype=bool), NOTHING, 1.0)]
    else:
        variants = [(~complete, NOTHING, 1.0), (complete, NOTHING, 1 - len(present) * dropout)]
        variants += [(complete, lost, dropout) for lost in range(len(present))]
    parts = []
    for some, lost, share in variants:
        if some.any():
            masks = [
                mask[some] if number != lost else np.zeros(int(some.sum()), dtype=bool)
                for number, mask in enumerate(present)
            ]
            with torch.no_grad():
                inputs = head.inputs(
                    [torch.from_numpy(block[some]) for block in vectors],
                    [torch.from_numpy(mask.astype(np.float32)) for mask in masks],
                )
            labels = torch.from_numpy(codes[rows[some]])
            parts.append(WeightedRows(inputs, labels, share * float(some.mean())))
    return parts
