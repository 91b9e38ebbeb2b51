"""Optimisers for heads of a few parameters: torch's own numerics without its overhead per step.

`torch.optim.Optimizer` imports torch's compiler when it is created, which takes two seconds of CPU,
and its hooks cost more per step than a small head's forward and backward pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import torch


class FusedAdamW:
    """AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019); the same numbers
    as `torch.optim.AdamW(fused=True)`."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], weight_decay: float) -> None:
        self._parameters: list[torch.Tensor] = list(parameters)
        self._weight_decay = weight_decay
        self._first = [torch.zeros_like(one) for one in self._parameters]
        self._second = [torch.zeros_like(one) for one in self._parameters]
        self._steps = [torch.zeros((), device=one.device) for one in self._parameters]

    @torch.no_grad()
    def step(self, gradients: list[torch.Tensor], rate: float) -> None:
        """Take a step at a learning rate. gradients: of the parameters, in their order."""
        torch._foreach_add_(self._steps, 1)
        torch._fused_adamw_(
            self._parameters,
            gradients,
            self._first,
            self._second,
            [],
            self._steps,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=self._weight_decay,
            eps=1e-8,
            maximize=False,
        )


class PlainLBFGS(torch.optim.LBFGS):
    """`torch.optim.LBFGS` that does not import torch's compiler."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
