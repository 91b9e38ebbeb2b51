"""AdamW over float32 master weights and over the used rows of sparse embeddings.

A network may run in bfloat16, whose eight bits of precision lose most of a small step. The
optimiser therefore updates float32 master weights (Micikevicius et al., "Mixed Precision
Training", 2018). Each step uses few of a word embedding's rows; see `sparse_embedding`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from vitrina.training.checkpoint import under
from vitrina.training.config import TrainingConfig, rate_at
from vitrina.training.sparse_embedding import BETAS, EPSILON, SparseEmbedding

Arrays = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with common settings. factor: of the learning rate. decay: whether weight decay
    applies; it should not for biases and the scales of norms."""

    parameters: tuple[torch.nn.Parameter, ...]
    factor: float = 1.0
    decay: bool = True


def grouped(module: torch.nn.Module, factor: float = 1.0) -> list[ParameterGroup]:
    """Group a module's trainable parameters: matrices with weight decay, vectors without."""
    there = [one for one in module.parameters() if one.requires_grad]
    parts = [
        ParameterGroup(tuple(one for one in there if one.ndim > 1), factor),
        ParameterGroup(tuple(one for one in there if one.ndim <= 1), factor, decay=False),
    ]
    return [group for group in parts if group.parameters]


class Optimiser:
    """AdamW over parameter groups and sparse embeddings, with one learning rate schedule."""

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        tables: Sequence[SparseEmbedding],
        recipe: TrainingConfig,
        steps: int,
        buffers: Sequence[torch.Tensor] = (),
    ) -> None:
        """buffers: tensors that change without gradients, such as running input statistics."""
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
        """Tensors to differentiate a loss by: the parameters, and the used rows of tables."""
        return [*self._parameters, *(table.rows for table in self._tables)]

    @torch.no_grad()
    def add(self, grads: Sequence[torch.Tensor | None]) -> None:
        """Accumulate gradients, one per leaf, for the next step; None for a zero gradient."""
        if not self._grads:
            self._grads = [None if one is None else one.float() for one in grads]
            return
        for number, (had, more) in enumerate(zip(self._grads, grads, strict=True)):
            if more is not None:
                self._grads[number] = more.float() if had is None else had.add_(more)

    @torch.no_grad()
    def step(self) -> None:
        """Take a step with the accumulated gradients, and clear them."""
        count = len(self._masters)
        if not self._grads:
            # A batch without a loss.
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
        self._set_parameters(self._masters)

    @property
    def _decay(self) -> float:
        # In the first steps the average spans fewer steps.
        return min(self._recipe.average, (1 + self.step_number) / (10 + self.step_number))

    def _shrinkage(self) -> float:
        if not self._recipe.clip:
            return 1.0
        norms = [one.norm() for one in self._grads if one is not None]
        if not norms:
            return 1.0
        norm = float(torch.stack(norms).norm())
        return min(1.0, self._recipe.clip / (norm + 1e-6))

    def _set_parameters(self, values: Sequence[torch.Tensor]) -> None:
        """Copy values into the network's parameters."""
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Use the averaged weights, if any, inside a `with` block."""
        with torch.no_grad():
            self._set_parameters(self._averages or self._masters)
        kept = [table.show_average() for table in self._tables]
        try:
            yield
        finally:
            with torch.no_grad():
                self._set_parameters(self._masters)
            for table, weight in zip(self._tables, kept, strict=True):
                table.weight = weight

    def weights(self) -> Arrays:
        """Copy the weights for inference, float32: the averages, if any, or the master weights."""
        best = self._averages or self._masters
        arrays = {f"weight.{number}": one.clone() for number, one in enumerate(best)}
        for number, table in enumerate(self._tables):
            arrays[f"table.{number}"] = table.settled().clone()
        return arrays | self._buffer_state()

    def finish(self, arrays: Mapping[str, torch.Tensor]) -> None:
        """Load weights from `weights` into the network permanently, in float32."""
        for number, parameter in enumerate(self._parameters):
            weight = arrays[f"weight.{number}"]
            parameter.data = weight.to(parameter.device, copy=True)
        for number, table in enumerate(self._tables):
            table.settle(arrays[f"table.{number}"].to(table.weight.device))
        self._load_buffers(arrays)

    def state(self) -> Arrays:
        """The full state of the optimiser, for a checkpoint."""
        arrays = {}
        for number, master in enumerate(self._masters):
            arrays[f"master.{number}"] = master
            adam_state = self._adam.state.get(master) if self._adam else None
            if adam_state:
                arrays[f"first.{number}"] = adam_state["exp_avg"]
                arrays[f"second.{number}"] = adam_state["exp_avg_sq"]
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
        """Restore a state. Raises KeyError or RuntimeError if it is another network's."""
        self.step_number = step_number
        with torch.no_grad():
            for number, master in enumerate(self._masters):
                master.copy_(arrays[f"master.{number}"])
                if self._adam and f"first.{number}" in arrays:
                    self._adam.state[master] = {
                        "step": torch.tensor(float(step_number), device=master.device),
                        # Keep the memory layout of the master weight.
                        "exp_avg": torch.empty_like(master).copy_(arrays[f"first.{number}"]),
                        "exp_avg_sq": torch.empty_like(master).copy_(arrays[f"second.{number}"]),
                    }
            for number, average in enumerate(self._averages):
                average.copy_(arrays[f"average.{number}"])
            self._set_parameters(self._masters)
        for number, table in enumerate(self._tables):
            table.load(under(arrays, f"table.{number}"))
        self._load_buffers(arrays)
