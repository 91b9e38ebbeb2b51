"""Runs a stack with torch, in float32 or bfloat16, on a CPU or a GPU."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as fn

from vitrina.embedder.inference.stack import Activation, Block, Packing, Stack

FLASH_WIDTH = 8
"""Flash attention requires head widths that are multiples of this."""


class PlainRunner:
    """Runs a stack in one dtype on one device."""

    def __init__(self, stack: Stack, device: torch.device, dtype: torch.dtype) -> None:
        self._flash = device.type == "cuda" and dtype is torch.bfloat16
        if self._flash:
            stack = stack.padded(FLASH_WIDTH)
        self._stack = replace(stack, blocks=[one.to(device, dtype) for one in stack.blocks])
        self._device, self._dtype = device, dtype

    def run(self, tokens: torch.Tensor, packing: Packing, *, first_only: bool) -> torch.Tensor:
        """As `Runner.run`."""
        x = tokens.to(self._device, self._dtype)
        starts = torch.from_numpy(packing.starts).to(self._device, non_blocking=True)
        before = self._stack.norm_first
        for at, block in enumerate(self._stack.blocks):
            alone = first_only and at == len(self._stack.blocks) - 1
            seen = block.norm1.apply(x) if before else x
            if alone:
                mixed = self._attend_first(seen, block, packing, starts)
                x = x[starts]
            else:
                mixed = self._attend(seen, block, packing, starts)
            x = block.out.apply(mixed).add_(x)
            x = x if before else block.norm1.apply(x)
            seen = block.norm2.apply(x) if before else x
            x = block.down.apply(self._activate(block.up.apply(seen))).add_(x)
            x = x if before else block.norm2.apply(x)
        return x.float()

    def _activate(self, x: torch.Tensor) -> torch.Tensor:
        if self._stack.activation is Activation.QUICK_GELU:
            return torch.sigmoid(x * 1.702).mul_(x)
        tanh = self._stack.activation is Activation.GELU_TANH
        return fn.gelu(x, approximate="tanh" if tanh else "none")

    def _attend(
        self, x: torch.Tensor, block: Block, packing: Packing, starts: torch.Tensor
    ) -> torch.Tensor:
        qkv = block.qkv.apply(x)
        if self._flash:
            return self._attend_flash(qkv, packing, starts)
        return attend(qkv, packing, self._stack.heads, self._stack.scale)

    def _attend_flash(
        self, qkv: torch.Tensor, packing: Packing, starts: torch.Tensor
    ) -> torch.Tensor:
        from torch.nn.attention.varlen import varlen_attn

        bounds = fn.pad(starts, (0, 1), value=len(qkv)).to(torch.int32)
        longest = int(packing.lengths.max())
        query, key, value = qkv.view(len(qkv), 3, self._stack.heads, -1).unbind(1)
        mixed = varlen_attn(
            query, key, value, bounds, bounds, longest, longest, scale=self._stack.scale
        )
        assert isinstance(mixed, torch.Tensor)
        return mixed.reshape(len(qkv), -1)

    def _attend_first(
        self, x: torch.Tensor, block: Block, packing: Packing, starts: torch.Tensor
    ) -> torch.Tensor:
        queries, others = block.queries.apply(x[starts]), block.others.apply(x)
        return attend_first(queries, others, packing, self._stack.heads, self._stack.scale)


def attend(qkv: torch.Tensor, packing: Packing, heads: int, scale: float) -> torch.Tensor:
    """Self-attention within each sequence: (tokens, 3 * width) to (tokens, width)."""
    parts = []
    at = 0
    for count, length in packing.runs:
        rows = qkv[at : at + count * length]
        query, key, value = rows.view(count, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
        mixed = fn.scaled_dot_product_attention(query, key, value, scale=scale)
        parts.append(mixed.transpose(1, 2).reshape(count * length, -1))
        at += count * length
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def attend_first(
    queries: torch.Tensor, others: torch.Tensor, packing: Packing, heads: int, scale: float
) -> torch.Tensor:
    """Attention of each sequence's first token only.

    queries: (n, width). others: (tokens, 2 * width), keys and values. Returns (n, width).
    """
    parts = []
    row = at = 0
    for count, length in packing.runs:
        query = queries[row : row + count].view(count, heads, 1, -1)
        rows = others[at : at + count * length]
        key, value = rows.view(count, length, 2, heads, -1).permute(2, 0, 3, 1, 4)
        # Plain products: for one query a fused kernel gains nothing.
        weights = torch.softmax((query * scale) @ key.transpose(-1, -2), dim=-1)
        parts.append((weights @ value).reshape(count, -1))
        row, at = row + count, at + count * length
    return parts[0] if len(parts) == 1 else torch.cat(parts)
