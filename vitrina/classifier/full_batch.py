"""Training a logistic head on all rows at once, to the bottom: quicker where they are few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vitrina.classifier.heads import Head
from vitrina.store.gather import Gathered
from vitrina.training.loss import ClassLoss
from vitrina.types import Codes, Mask

ITERATIONS = 100
DECAYS = (1e-2, 1e-3, 1e-4)
"""Ridges to choose from, strongest first, so that each fit begins where the last one ended."""
TOLERANCE = 1e-5
"""The largest slope that is still a hill, in nats."""
NOTHING = -1


@dataclass(frozen=True, eq=False)
class WeightedRows:
    """Some of the rows as they are looked at. share: what they count of the whole."""

    inputs: torch.Tensor
    labels: torch.Tensor
    share: float


def fit_whole(
    head: Head,
    gathered: Gathered,
    codes: Codes,
    rows: Codes,
    held: Codes,
    loss_of: ClassLoss,
    dropout: float,
) -> None:
    """Fit a logistic head by L-BFGS (Liu & Nocedal, "On the limited memory BFGS method for large
    scale optimization", 1989) on cross-entropy with a ridge.

    The ridge is the one of `DECAYS` that makes some of the rows most likely, learnt from the
    others; then all of them are learnt from. What `dropout` does by chance in `fit_by_batches` is
    done in full here: each complete row counts in part as it is, in part without its text, in part
    without its image. codes: (n,) int64, the class of every product. rows: positions to learn
    from. held: those of them to choose the ridge by.
    """
    decay = DECAYS[len(DECAYS) // 2]
    inner = np.setdiff1d(rows, held)
    if len(held) and len(inner):
        learnt = _parts(head, gathered, codes, inner, dropout)
        judged = _parts(head, gathered, codes, held, 0.0)
        found = {}
        for one in DECAYS:
            _descend(head, learnt, loss_of, one)
            with torch.no_grad():
                found[one] = float(_loss(head, judged, loss_of))
        decay = min(found, key=lambda one: found[one])
    _descend(head, _parts(head, gathered, codes, rows, dropout), loss_of, decay)
    head.eval()


def _descend(head: Head, parts: Sequence[WeightedRows], loss_of: ClassLoss, decay: float) -> None:
    optimiser = torch.optim.LBFGS(
        head.parameters(),
        max_iter=ITERATIONS,
        tolerance_grad=TOLERANCE,
        history_size=10,
        line_search_fn="strong_wolfe",
    )
    ridged = [one for name, one in head.named_parameters() if name.endswith("weight")]

    def closure() -> torch.Tensor:
        optimiser.zero_grad(set_to_none=True)
        loss = _loss(head, parts, loss_of)
        for one in ridged:
            loss = loss + 0.5 * decay * one.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]


def _loss(head: Head, parts: Sequence[WeightedRows], loss_of: ClassLoss) -> torch.Tensor:
    losses = [one.share * loss_of(head.layers(one.inputs), one.labels) for one in parts]
    return torch.stack(losses).sum()


def _parts(
    head: Head, gathered: Gathered, codes: Codes, rows: Codes, dropout: float
) -> list[WeightedRows]:
    vectors, present = gathered.blocks(rows)
    complete: Mask = np.logical_and.reduce(present)
    if len(present) == 1 or not dropout:
        ways = [(np.ones(len(rows), dtype=bool), NOTHING, 1.0)]
    else:
        ways = [(~complete, NOTHING, 1.0), (complete, NOTHING, 1 - len(present) * dropout)]
        ways += [(complete, lost, dropout) for lost in range(len(present))]
    parts = []
    for some, lost, share in ways:
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
