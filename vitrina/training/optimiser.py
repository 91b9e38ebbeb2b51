"""AdamW over float32 copies of a network's weights, and over the rows of tables that are used.

A network may run in bfloat16, whose eight bits would lose most of a small step; so the weights
that are stepped are kept in float32 beside it (Micikevicius et al., "Mixed Precision Training",
2018). Of a table of words each step touches a few rows of tens of thousands; see `table`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from vitrina.training.checkpoint import under
from vitrina.training.config import Recipe, rate_at
from vitrina.training.sparse_embedding import BETAS, EPSILON, SparseEmbedding

Arrays = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that are stepped alike. factor: of the learning rate. decay: whether weight
    decay draws them towards zero; it should not draw biases and the scales of norms."""

    parameters: tuple[torch.nn.Parameter, ...]
    factor: float = 1.0
    decay: bool = True


def grouped(module: torch.nn.Module, factor: float = 1.0) -> list[ParameterGroup]:
    """All trainable parameters of a module: matrices with weight decay, vectors without."""
    there = [one for one in module.parameters() if one.requires_grad]
    parts = [
        ParameterGroup(tuple(one for one in there if one.ndim > 1), factor),
        ParameterGroup(tuple(one for one in there if one.ndim <= 1), factor, decay=False),
    ]
    return [group for group in parts if group.parameters]


class Optimiser:
    """Steps groups of parameters and tables by one schedule."""

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        tables: Sequence[SparseEmbedding],
        recipe: Recipe,
        steps: int,
        buffers: Sequence[torch.Tensor] = (),
    ) -> None:
        """buffers: what the network learns without gradients, such as its inputs' spread."""
        self._buffers = list(buffers)
        self._recipe, self._steps, self._tables = recipe, steps, list(tables)
        self._parameters = [one for group in groups for one in group.parameters]
        self._masters = [one.detach().float().clone() for one in self._parameters]
        self._averages = [one.clone() for one in self._masters] if recipe.average else []
        self._grads: list[torch.Tensor | None] = []
        self.step_number = 0
        options, start = [], 0
        for group in groups:
            stop = start + len(group.parameters)
            options.append(
                {
                    "params": self._masters[start:stop],
                    "weight_decay": recipe.weight_decay if group.decay else 0.0,
                    "factor": group.factor,
                }
            )
            start = stop
        self._adam = None
        if options:
            self._adam = torch.optim.AdamW(
                options, lr=recipe.rate, betas=BETAS, eps=EPSILON, fused=True
            )

    @property
    def leaves(self) -> list[torch.Tensor]:
        """What a loss is differentiated by: the parameters, and the rows of tables in use."""
        return [*self._parameters, *(table.rows for table in self._tables)]

    @torch.no_grad()
    def add(self, grads: Sequence[torch.Tensor | None]) -> None:
        """Add gradients, one for each of the leaves, to what the next step goes by."""
        if not self._grads:
            self._grads = [None if one is None else one.float() for one in grads]
            return
        for number, (had, more) in enumerate(zip(self._grads, grads, strict=True)):
            if more is not None:
                self._grads[number] = more.float() if had is None else had.add_(more)

    @torch.no_grad()
    def step(self) -> None:
        """Take a step by the gradients there are, and forget them."""
        count = len(self._masters)
        if not self._grads:
            # A batch in which nothing was to be learnt.
            self._grads = [None] * (count + len(self._tables))
        own, rows = self._grads[:count], self._grads[count:]
        shrink = self._shrinkage()
        rate = self._recipe.rate * rate_at(self.step_number, self._steps, self._recipe.warm_up)
        self.step_number += 1
        for master, grad in zip(self._masters, own, strict=True):
            master.grad = torch.zeros_like(master) if grad is None else grad.mul_(shrink)
        for group in self._adam.param_groups if self._adam else ():
            group["lr"] = rate * group["factor"]
        if self._adam:
            self._adam.step()
        for table, grad in zip(self._tables, rows, strict=True):
            table.step(grad, rate, shrink, self.step_number, self._decay)
        for number, average in enumerate(self._averages):
            average.lerp_(self._masters[number], 1 - self._decay)
        self._grads = []
        self._show(self._masters)

    @property
    def _decay(self) -> float:
        # Early on the average is over fewer steps than it will be.
        return min(self._recipe.average, (1 + self.step_number) / (10 + self.step_number))

    def _shrinkage(self) -> float:
        if not self._recipe.clip:
            return 1.0
        norms = [one.norm() for one in self._grads if one is not None]
        if not norms:
            return 1.0
        norm = float(torch.stack(norms).norm())
        return min(1.0, self._recipe.clip / (norm + 1e-6))

    def _show(self, values: Sequence[torch.Tensor]) -> None:
        """Let the network run by some values."""
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """For the length of a `with` block the network runs by the averages, where there are
        any."""
        with torch.no_grad():
            self._show(self._averages or self._masters)
        kept = [table.show_average() for table in self._tables]
        try:
            yield
        finally:
            with torch.no_grad():
                self._show(self._masters)
            for table, weight in zip(self._tables, kept, strict=True):
                table.weight = weight

    def weights(self) -> Arrays:
        """A copy of what the network should run by in the end: float32."""
        best = self._averages or self._masters
        arrays = {f"weight.{number}": one.clone() for number, one in enumerate(best)}
        for number, table in enumerate(self._tables):
            arrays[f"table.{number}"] = table.settled().clone()
        return arrays | self._buffer_state()

    def finish(self, arrays: Mapping[str, torch.Tensor]) -> None:
        """Let the network run by what `weights` gave, in float32, from now on."""
        for number, parameter in enumerate(self._parameters):
            weight = arrays[f"weight.{number}"]
            parameter.data = weight.to(parameter.device, copy=True)
        for number, table in enumerate(self._tables):
            table.settle(arrays[f"table.{number}"].to(table.weight.device))
        self._load_buffers(arrays)

    def state(self) -> Arrays:
        """Everything that the next step rests on."""
        arrays = {}
        for number, master in enumerate(self._masters):
            arrays[f"master.{number}"] = master
            held = self._adam.state.get(master) if self._adam else None
            if held:
                arrays[f"first.{number}"] = held["exp_avg"]
                arrays[f"second.{number}"] = held["exp_avg_sq"]
        arrays |= {f"average.{number}": one for number, one in enumerate(self._averages)}
        for number, table in enumerate(self._tables):
            arrays |= {f"table.{number}.{name}": one for name, one in table.state().items()}
        return arrays | self._buffer_state()

    def _buffer_state(self) -> Arrays:
        return {f"buffer.{number}": one.clone() for number, one in enumerate(self._buffers)}

    def _load_buffers(self, arrays: Mapping[str, torch.Tensor]) -> None:
        for number, buffer in enumerate(self._buffers):
            buffer.copy_(arrays[f"buffer.{number}"])

    def load(self, arrays: Mapping[str, torch.Tensor], step_number: int) -> None:
        """Go on from a state. Raises KeyError or RuntimeError where it is another network's."""
        self.step_number = step_number
        with torch.no_grad():
            for number, master in enumerate(self._masters):
                master.copy_(arrays[f"master.{number}"])
                if self._adam and f"first.{number}" in arrays:
                    self._adam.state[master] = {
                        "step": torch.tensor(float(step_number), device=master.device),
                        # In the order in memory that the step goes by.
                        "exp_avg": torch.empty_like(master).copy_(arrays[f"first.{number}"]),
                        "exp_avg_sq": torch.empty_like(master).copy_(arrays[f"second.{number}"]),
                    }
            for number, average in enumerate(self._averages):
                average.copy_(arrays[f"average.{number}"])
            self._show(self._masters)
        for number, table in enumerate(self._tables):
            table.load(under(arrays, f"table.{number}"))
        self._load_buffers(arrays)
