"""Runs a stack on a CPU with 8-bit matrix products (AVX-512 VNNI or AMX).

Weights are quantised once, per output channel. Activations are quantised per token by their own
range, so a vector does not depend on the rest of its batch, and no calibration is needed.
Attention, norms and sums stay in float32. The scheme is that of LLM.int8() (Dettmers et al., 2022)
without its outlier columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vitrina.embedder.inference import kernels
from vitrina.embedder.inference.plain import attend, attend_first
from vitrina.embedder.inference.stack import Activation, Block, Linear, Norm, Packing, Stack
from vitrina.types import Codes, Floats

LEVELS = 127


def has_int8() -> bool:
    """Check that this CPU has 8-bit products (VNNI) and torch can use them."""
    return bool(torch.cpu._is_vnni_supported()) and hasattr(torch.ops.onednn, "qlinear_pointwise")


ROWS = 128
"""Products take a multiple of this many rows: oneDNN compiles a kernel for each number of rows,
which takes longer than the product."""


class QuantizedRows:
    """Rows quantised to bytes.

    numbers: (n, k) uint8. scales: (n, 2) float32, step and minimum of each row. whole: numbers,
    padded to a multiple of `ROWS` rows with arbitrary values.
    """

    def __init__(self, rows: int, width: int) -> None:
        self.whole = np.empty((-(-rows // ROWS) * ROWS, width), dtype=np.uint8)
        self.numbers = self.whole[:rows]
        self.scales = np.empty((rows, 2), dtype=np.float32)

    def taken(self, rows: Codes) -> QuantizedRows:
        """Select rows."""
        other = QuantizedRows(len(rows), self.numbers.shape[1])
        np.take(self.numbers, rows, axis=0, out=other.numbers)
        np.take(self.scales, rows, axis=0, out=other.scales)
        return other


def quantised(rows: Floats) -> QuantizedRows:
    """Quantise rows, (n, k) float32."""
    numbers = QuantizedRows(*rows.shape)
    kernels.quantise(rows, numbers.numbers, numbers.scales)
    return numbers


class Int8Linear:
    """A linear layer with 8-bit weights. `sums` and `bias` restore outputs from products."""

    def __init__(self, layer: Linear) -> None:
        weight = layer.weight.float()
        steps = weight.abs().amax(dim=1).clamp(min=1e-12) / LEVELS
        numbers = (weight / steps[:, None]).round().to(torch.int8)
        self.sums: Floats = (numbers.sum(dim=1) * steps).float().numpy()
        self.bias: Floats = layer.bias.float().numpy()
        self._steps = steps
        self._zeros = torch.zeros(len(steps), dtype=torch.int64)
        self._packed = torch.ops.onednn.qlinear_prepack(numbers, None)

    def raw(self, rows: QuantizedRows) -> Floats:
        """Raw products, (n, outputs) float32: numbers @ weights, not yet restored."""
        product = torch.ops.onednn.qlinear_pointwise(
            torch.from_numpy(rows.whole),
            1.0,
            0,
            self._packed,
            self._steps,
            self._zeros,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        raw: Floats = product.numpy()[: len(rows.numbers)]
        return raw

    def outputs(self, rows: QuantizedRows) -> Floats:
        """The layer's outputs, (n, outputs) float32."""
        raw = self.raw(rows)
        kernels.restore(raw, rows.scales, self.sums, self.bias)
        return raw


class _Norm:
    def __init__(self, norm: Norm) -> None:
        self.weight: Floats = norm.weight.float().numpy()
        self.bias: Floats = norm.bias.float().numpy()
        # As float32: a double would make the kernel compute in double precision.
        self.eps: Any = np.float32(norm.eps)

    def quantised(self, rows: Floats) -> QuantizedRows:
        numbers = QuantizedRows(*rows.shape)
        kernels.norm_quantise(
            rows, self.weight, self.bias, self.eps, numbers.numbers, numbers.scales
        )
        return numbers

    def apply(self, rows: Floats) -> None:
        kernels.norm(rows, self.weight, self.bias, self.eps)


class _Block:
    def __init__(self, block: Block) -> None:
        self.qkv, self.out = Int8Linear(block.qkv), Int8Linear(block.out)
        self.up, self.down = Int8Linear(block.up), Int8Linear(block.down)
        self.norm1, self.norm2 = _Norm(block.norm1), _Norm(block.norm2)


class Int8Runner:
    """Runs a stack with 8-bit weights on a CPU."""

    def __init__(self, stack: Stack) -> None:
        self._blocks = [_Block(block) for block in stack.blocks]
        last = stack.blocks[-1]
        self._queries, self._others = Int8Linear(last.queries), Int8Linear(last.others)
        self._heads, self._scale = stack.heads, stack.scale
        self._norm_first = stack.norm_first
        # GELU by tanh is within 0.0005 of GELU, less than 8 bits tell apart.
        quick = stack.activation is Activation.QUICK_GELU
        self._activate = kernels.quick_gelu_quantise if quick else kernels.gelu_quantise

    def run(self, tokens: torch.Tensor, packing: Packing, *, first_only: bool) -> torch.Tensor:
        """As `Runner.run`."""
        x: Floats = np.ascontiguousarray(tokens.float().numpy())
        for at, block in enumerate(self._blocks):
            seen = self._half_input(x, block.norm1)
            if first_only and at == len(self._blocks) - 1:
                mixed = self._attend_first(seen, packing)
                x = x[packing.starts]
            else:
                qkv = torch.from_numpy(block.qkv.outputs(seen))
                mixed = quantised(attend(qkv, packing, self._heads, self._scale).numpy())
            self._add(x, block.out, mixed, block.norm1)
            seen = self._half_input(x, block.norm2)
            up, raw = block.up, block.up.raw(seen)
            inner = QuantizedRows(*raw.shape)
            self._activate(raw, seen.scales, up.sums, up.bias, inner.numbers, inner.scales)
            self._add(x, block.down, inner, block.norm2)
        return torch.from_numpy(x)

    def _attend_first(self, seen: QuantizedRows, packing: Packing) -> QuantizedRows:
        queries = torch.from_numpy(self._queries.outputs(seen.taken(packing.starts)))
        others = torch.from_numpy(self._others.outputs(seen))
        return quantised(attend_first(queries, others, packing, self._heads, self._scale).numpy())

    def _half_input(self, x: Floats, norm: _Norm) -> QuantizedRows:
        """Quantised input of half a block."""
        return norm.quantised(x) if self._norm_first else quantised(x)

    def _add(self, x: Floats, layer: Int8Linear, rows: QuantizedRows, norm: _Norm) -> None:
        """Add the output of half a block."""
        kernels.add(x, layer.raw(rows), rows.scales, layer.sums, layer.bias)
        if not self._norm_first:
            norm.apply(x)
