"""Layers of a transformer encoder as plain data, independent of the library they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional as fn

from vitrina.types import Codes


class Activation(StrEnum):
    """Activation function of a feed-forward block."""

    GELU = "gelu"
    QUICK_GELU = "quick_gelu"
    GELU_TANH = "gelu_tanh"


@dataclass(frozen=True)
class Linear:
    """A linear layer. weight: (outputs, inputs) float32. bias: (outputs,) float32."""

    weight: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, module: Any) -> Linear:
        """Create it from a torch module."""
        return cls(module.weight.detach(), module.bias.detach())

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Linear:
        """Move the weights to a device and dtype."""
        return Linear(self.weight.to(device, dtype), self.bias.to(device, dtype))

    def rows(self, part: slice) -> Linear:
        """Select some of the layer's outputs."""
        return Linear(self.weight[part], self.bias[part])

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer, (n, inputs) to (n, outputs)."""
        return fn.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class Norm:
    """A layer norm. weight, bias: (dim,) float32."""

    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    @classmethod
    def of(cls, module: Any) -> Norm:
        """Create it from a torch module."""
        return cls(module.weight.detach(), module.bias.detach(), module.eps)

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Norm:
        """Move the weights to a device and dtype."""
        return Norm(self.weight.to(device, dtype), self.bias.to(device, dtype), self.eps)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last axis of (..., dim)."""
        return fn.layer_norm(x, (x.shape[-1],), self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class Block:
    """One transformer layer. `qkv` gives concatenated queries, keys and values, head by head."""

    qkv: Linear
    out: Linear
    norm1: Norm
    up: Linear
    down: Linear
    norm2: Norm

    @property
    def queries(self) -> Linear:
        """The query projection: the first third of `qkv`."""
        return self.qkv.rows(slice(len(self.qkv.bias) // 3))

    @property
    def others(self) -> Linear:
        """The key and value projections: the rest of `qkv`."""
        return self.qkv.rows(slice(len(self.qkv.bias) // 3, None))

    def to(self, device: torch.device, dtype: torch.dtype) -> Block:
        """Move the weights to a device and dtype."""
        return Block(
            qkv=self.qkv.to(device, dtype),
            out=self.out.to(device, dtype),
            norm1=self.norm1.to(device, dtype),
            up=self.up.to(device, dtype),
            down=self.down.to(device, dtype),
            norm2=self.norm2.to(device, dtype),
        )


@dataclass(frozen=True)
class Stack:
    """All layers of an encoder. norm_first: norms precede their half of the block (CLIP) instead of
    following it (BERT). scale: factor of the dot products of queries and keys."""

    blocks: Sequence[Block]
    heads: int
    norm_first: bool
    activation: Activation
    scale: float

    @property
    def dim(self) -> int:
        """Dimension of a token's vector."""
        return len(self.blocks[0].norm1.weight)

    def padded(self, multiple: int) -> Stack:
        """Pad each head with zeros to a width that is a multiple of `multiple`, for GPU kernels."""
        width = self.blocks[0].out.weight.shape[1] // self.heads
        more = -width % multiple
        if not more:
            return self
        blocks = [_wider(one, self.heads, more) for one in self.blocks]
        return replace(self, blocks=blocks)


def _wider(block: Block, heads: int, more: int) -> Block:
    def pad(tensor: torch.Tensor, groups: int) -> torch.Tensor:
        """Add zeros to each of `groups` parts of the first axis."""
        parts = tensor.reshape(groups, -1, *tensor.shape[1:])
        zeros = parts.new_zeros(groups, more, *tensor.shape[1:])
        return torch.cat([parts, zeros], dim=1).flatten(0, 1)

    qkv = Linear(pad(block.qkv.weight, 3 * heads), pad(block.qkv.bias, 3 * heads))
    out = pad(block.out.weight.T, heads).T.contiguous()
    return replace(block, qkv=qkv, out=Linear(out, block.out.bias))


@dataclass(frozen=True)
class Packing:
    """Layout of n concatenated sequences without padding.

    lengths: (n,) int64, tokens of each. runs: consecutive sequences of equal length, as (count,
    length), so that attention processes each run at once.
    """

    lengths: Codes
    runs: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Packing:
        """Create the layout; sequences sorted by length give the fewest runs."""
        runs = [(sum(1 for _ in same), length) for length, same in groupby(lengths)]
        return cls(np.asarray(lengths, dtype=np.int64), runs)

    @property
    def starts(self) -> Codes:
        """(n,) int64, the row of each sequence's first token."""
        return np.cumsum(self.lengths) - self.lengths


class Runner(Protocol):
    """Runs packed sequences through a stack."""

    def run(self, tokens: torch.Tensor, packing: Packing, *, first_only: bool) -> torch.Tensor:
        """Compute token vectors after the last layer, (all tokens, dim) float32.

        tokens: (all tokens, dim) float32; may be overwritten. first_only: return only each
        sequence's first token, (n, dim), and skip the other tokens in the last layer.
        """
        ...
