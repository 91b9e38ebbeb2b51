"""Gradients of a head's loss without autograd, whose overhead exceeds a small head's arithmetic.

The operations are those that autograd records, so that on a CPU the gradients have its bytes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as fn

from vitrina.training.loss import ClassLoss

_gelu_backward = torch.ops.aten.gelu_backward.default


@torch.no_grad()
def loss_gradients(
    layers: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor, loss_of: ClassLoss
) -> list[torch.Tensor]:
    """Compute the gradients of the mean loss for the parameters of a head's layers, in their order.

    layers: of a `Head`. inputs: (n, width) float32, as `Head.inputs` gives. labels: (n,) int64.
    """
    if isinstance(layers, torch.nn.Linear):
        return [*_of_linear(loss_of.gradient(layers(inputs), labels), inputs)]
    parts: Any = layers
    drop_inputs, first, _, drop_hidden, second = parts
    kept = inputs * drop_inputs.factors(inputs)
    before = fn.linear(kept, first.weight, first.bias)
    factors = drop_hidden.factors(before)
    hidden = fn.gelu(before) * factors
    at_logits = loss_of.gradient(fn.linear(hidden, second.weight, second.bias), labels)
    at_hidden = _gelu_backward(at_logits.mm(second.weight) * factors, before)
    return [*_of_linear(at_hidden, kept), *_of_linear(at_logits, hidden)]


def _of_linear(at_outputs: torch.Tensor, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients of a linear layer's weight and bias."""
    return at_outputs.t().mm(inputs), at_outputs.sum(dim=0)
