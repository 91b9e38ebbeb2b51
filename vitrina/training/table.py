"""A table of vectors of which each step uses a few rows: only these are read, stepped, averaged.

Nine tenths of a small language model's parameters are its word table. A step over all of it costs
more than the rest of the network on a CPU; over the rows that a batch uses, next to nothing. As
in PyTorch's SparseAdam, a row's moments stand still while it is not used.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as fn

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Table:
    """weight: (rows, dim) float32. Weight decay does not touch it: a rare word's vector would
    fade between its uses."""

    def __init__(self, weight: torch.Tensor, dtype: torch.dtype, *, averaged: bool = False) -> None:
        """dtype: what looked-up vectors are in. averaged: keep a moving average of it."""
        self.weight = weight.detach().float().clone()
        self._dtype, device = dtype, weight.device
        self._first = torch.zeros_like(self.weight)
        self._second = torch.zeros_like(self.weight)
        self._average = self.weight.clone() if averaged else None
        # The logarithm of what is left of the first weights in an average: now, and when a row's
        # was last brought up to date.
        self._now = 0.0
        self._seen = torch.zeros(len(weight), dtype=torch.double, device=device)
        self._place = torch.zeros(len(weight), dtype=torch.long, device=device)
        self._ids = self._place[:0]
        self._rows: torch.Tensor | None = None

    def open(self, ids: torch.Tensor) -> None:
        """Begin a step that uses these rows, (n,) int64, and no others."""
        # Marked and gathered, which is quicker than sorted.
        used = torch.zeros(len(self.weight), dtype=torch.bool, device=self.weight.device)
        used[ids] = True
        self._ids = used.nonzero().squeeze(1)
        self._place[self._ids] = torch.arange(len(self._ids), device=used.device)
        self._rows = self.weight[self._ids].to(self._dtype).requires_grad_()

    def look_up(self, ids: torch.Tensor) -> torch.Tensor:
        """The vectors of rows, any shape of int64, plus a last axis of dim."""
        if self._rows is None:
            return fn.embedding(ids, self.weight).to(self._dtype)
        return fn.embedding(self.places(ids), self._rows)

    def places(self, ids: torch.Tensor) -> torch.Tensor:
        """Where rows in use stand among `rows`."""
        return self._place[ids]

    @property
    def rows(self) -> torch.Tensor:
        """The rows in use, (n, dim), by which a loss is differentiated."""
        assert self._rows is not None
        return self._rows

    @torch.no_grad()
    def step(
        self, grad: torch.Tensor | None, rate: float, shrink: float, number: int, decay: float
    ) -> None:
        """Step the rows in use by AdamW's rule, and end the step.

        grad: (n, dim) float32. shrink: what it is multiplied by. number: of the step, from 1.
        decay: of the average in this step.
        """
        ids, past = self._ids, self._now
        self._rows = None
        if self._average is not None:
            self._now += math.log(decay)
        if grad is None:
            return
        grad = grad * shrink
        first, second = self._first[ids], self._second[ids]
        first.lerp_(grad, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(grad, grad, value=1 - BETAS[1])
        self._first[ids], self._second[ids] = first, second
        deviation = (second / (1 - BETAS[1] ** number)).sqrt_().add_(EPSILON)
        before = self.weight[ids]
        after = before.addcdiv(first, deviation, value=-rate / (1 - BETAS[0] ** number))
        self.weight[ids] = after
        if self._average is not None:
            # Until now the average has been drawing near to what the row was.
            share = (past - self._seen[ids]).exp().float().unsqueeze(1)
            average = before + (self._average[ids] - before) * share
            self._average[ids] = after + (average - after) * decay
            self._seen[ids] = self._now

    def settle(self, weight: torch.Tensor) -> None:
        """Take these weights, and give them in float32 from now on."""
        self.weight, self._dtype, self._rows = weight.clone(), torch.float32, None

    def settled(self) -> torch.Tensor:
        """The average of every row up to now, or the rows themselves: (rows, dim) float32."""
        if self._average is None:
            return self.weight
        share = (self._now - self._seen).exp().float().unsqueeze(1)
        return self.weight + (self._average - self.weight) * share

    def show_average(self) -> torch.Tensor:
        """Let look-ups give averages; returns the weights, to be put back into `weight`."""
        before = self.weight
        self.weight = self.settled()
        return before

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that the next step rests on."""
        arrays = {"weight": self.weight, "first": self._first, "second": self._second}
        arrays |= {"seen": self._seen, "now": torch.tensor(self._now, dtype=torch.double)}
        return arrays if self._average is None else {**arrays, "average": self._average}

    def load(self, arrays: dict[str, torch.Tensor]) -> None:
        """Go on from a state."""
        self.weight.copy_(arrays["weight"])
        self._first.copy_(arrays["first"])
        self._second.copy_(arrays["second"])
        self._seen.copy_(arrays["seen"])
        self._now = float(arrays["now"])
        if self._average is not None:
            self._average.copy_(arrays["average"])
