"""Sparse embedding: each step reads, updates and averages only the rows that its batch uses.

A small language model has nine tenths of its parameters in its word embedding. On a CPU a step
over all its rows costs more than the rest of the network; over the used rows, next to nothing.

The result equals Adam over the whole table. There momentum keeps moving a row after the batch that
used it, in the end ten times as far as the step itself. PyTorch's SparseAdam leaves this out, so
rare words hardly train. Here the next use of a row first applies the missed moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as fn

BETAS = (0.9, 0.999)
EPSILON = 1e-8
# Decay of a row's momentum move per step, and the number of steps after which it counts as zero.
_FADE = BETAS[0] / math.sqrt(BETAS[1])
_STEPS = 200


@dataclass
class _Rows:
    """Some rows with their Adam moments and average, (n, dim) float32 each."""

    weight: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    average: torch.Tensor | None


class SparseEmbedding:
    """An embedding table, `weight`: (rows, dim) float32, with its own sparse Adam.

    Weight decay is not applied: a rare word's vector would shrink between its uses.
    """

    def __init__(self, weight: torch.Tensor, dtype: torch.dtype, *, averaged: bool = False) -> None:
        """dtype: of looked-up vectors. averaged: keep a moving average of the weights."""
        self.weight = weight.detach().float().clone()
        self._dtype, device = dtype, weight.device
        self._first = torch.zeros_like(self.weight)
        self._second = torch.zeros_like(self.weight)
        self._average = self.weight.clone() if averaged else None
        # Steps taken, and the step at which each row was last up to date.
        self._number = 0
        self._last = torch.zeros(len(weight), dtype=torch.long, device=device)
        # For each past step: the momentum move since then of a row last used in it, in units of
        # its first moment over the root of its second.
        self._gone = torch.zeros(_STEPS, dtype=torch.double, device=device)
        self._fade = _FADE ** torch.arange(_STEPS, 0, -1, dtype=torch.double, device=device)
        # The logarithm of the initial weights' share in an average: now, and when each row was
        # last brought up to date.
        self._now = 0.0
        self._seen = torch.zeros(len(weight), dtype=torch.double, device=device)
        self._place = torch.zeros(len(weight), dtype=torch.long, device=device)
        self._ids = self._place[:0]
        self._used: _Rows | None = None
        self._rows: torch.Tensor | None = None

    @torch.no_grad()
    def open(self, ids: torch.Tensor) -> None:
        """Begin a step that uses these rows only, (n,) int64."""
        # Mark and gather: faster than sorting.
        used = torch.zeros(len(self.weight), dtype=torch.bool, device=self.weight.device)
        used[ids] = True
        self._ids = used.nonzero().squeeze(1)
        self._place[self._ids] = torch.arange(len(self._ids), device=used.device)
        self._used = self._up_to_date(self._ids)
        self._rows = self._used.weight.to(self._dtype, copy=True).requires_grad_()

    def look_up(self, ids: torch.Tensor) -> torch.Tensor:
        """Vectors of rows. ids: int64 of any shape. Returns that shape plus a last axis of dim."""
        if self._rows is None:
            return fn.embedding(ids, self.weight).to(self._dtype)
        return fn.embedding(self.places(ids), self._rows)

    def places(self, ids: torch.Tensor) -> torch.Tensor:
        """Positions of used rows in `rows`. ids: int64 of any shape."""
        return self._place[ids]

    @property
    def rows(self) -> torch.Tensor:
        """The used rows, (n, dim): the leaf to differentiate a loss by."""
        assert self._rows is not None
        return self._rows

    @torch.no_grad()
    def step(
        self, grad: torch.Tensor | None, rate: float, shrink: float, number: int, decay: float
    ) -> None:
        """Update the used rows by Adam's rule, and end the step.

        grad: (n, dim) float32, None for no update. rate: learning rate. shrink: factor of `grad`.
        number: of the step, from 1. decay: of the average in this step.
        """
        rows, self._used, self._rows, self._number = self._used, None, None, number
        if self._average is not None:
            self._now += math.log(decay)
        spread = math.sqrt(1 - BETAS[1] ** number)
        pace = spread * rate / (1 - BETAS[0] ** number)
        self._record_momentum(pace)
        if grad is None or rows is None:
            return
        grad = grad * shrink
        rows.first.lerp_(grad, 1 - BETAS[0])
        rows.second.mul_(BETAS[1]).addcmul_(grad, grad, value=1 - BETAS[1])
        deviation = rows.second.sqrt().add_(spread * EPSILON)
        rows.weight.addcdiv_(rows.first, deviation, value=-pace)
        if rows.average is not None:
            rows.average.lerp_(rows.weight, 1 - decay)
        self._store(self._ids, rows)

    def _record_momentum(self, pace: float) -> None:
        """Record the momentum move of this step for rows that it does not use."""
        if self._number >= len(self._gone):
            self._gone = torch.cat([self._gone, torch.zeros_like(self._gone)])
        reached = self._gone[max(0, self._number - _STEPS) : self._number]
        reached += pace * self._fade[_STEPS - len(reached) :]

    def _up_to_date(self, ids: torch.Tensor) -> _Rows:
        """Rows with the moves of the steps since their last use applied."""
        last = self._last[ids]
        missed = (self._number - last).unsqueeze(1)
        gone = self._gone[last].float().unsqueeze(1)
        weight, first, second = self.weight[ids], self._first[ids], self._second[ids]
        spread = (1 - BETAS[1] ** last.clamp(min=1)).sqrt().unsqueeze(1)
        weight.sub_((first / second.sqrt().add_(spread * EPSILON)).mul_(gone))
        first.mul_(BETAS[0] ** missed)
        second.mul_(BETAS[1] ** missed)
        if self._average is None:
            return _Rows(weight, first, second, None)
        # In the missed steps the average has moved towards the row.
        left = (self._now - self._seen[ids]).exp().float().unsqueeze(1)
        return _Rows(weight, first, second, self._average[ids].lerp_(weight, 1 - left))

    def _store(self, ids: torch.Tensor, rows: _Rows) -> None:
        """Store rows that are up to date."""
        self.weight[ids], self._first[ids], self._second[ids] = rows.weight, rows.first, rows.second
        self._last[ids] = self._number
        if self._average is not None and rows.average is not None:
            self._average[ids] = rows.average
            self._seen[ids] = self._now

    def settle(self, weight: torch.Tensor) -> None:
        """Set the weights, (rows, dim), and look them up in float32 from now on."""
        self.weight, self._dtype, self._rows = weight.clone(), torch.float32, None

    @torch.no_grad()
    def settled(self) -> torch.Tensor:
        """Bring every row up to date; return the averages, if any, or the weights: (rows, dim)
        float32."""
        ids = (self._last < self._number).nonzero().squeeze(1)
        self._store(ids, self._up_to_date(ids))
        return self.weight if self._average is None else self._average

    def show_average(self) -> torch.Tensor:
        """Use the averages for look-ups; returns the weights, to restore into `weight`."""
        before = self.weight
        self.weight = self.settled()
        return before

    def state(self) -> dict[str, torch.Tensor]:
        """The full state of the table, for a checkpoint."""
        arrays = {"weight": self.weight, "first": self._first, "second": self._second}
        arrays |= {"last": self._last, "gone": self._gone[: self._number + 1]}
        arrays |= {"seen": self._seen, "now": torch.tensor(self._now, dtype=torch.double)}
        return arrays if self._average is None else {**arrays, "average": self._average}

    def load(self, arrays: dict[str, torch.Tensor]) -> None:
        """Restore a state."""
        self.weight.copy_(arrays["weight"])
        self._first.copy_(arrays["first"])
        self._second.copy_(arrays["second"])
        self._last.copy_(arrays["last"])
        self._number = len(arrays["gone"]) - 1
        size = _STEPS * math.ceil(len(arrays["gone"]) / _STEPS)
        self._gone = torch.zeros(size, dtype=torch.double, device=self._gone.device)
        self._gone[: self._number + 1] = arrays["gone"]
        self._seen.copy_(arrays["seen"])
        self._now = float(arrays["now"])
        if self._average is not None:
            self._average.copy_(arrays["average"])
