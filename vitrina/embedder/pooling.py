"""Padding of token lists, and pooling of their vectors into one for each text."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vitrina.types import Pooling


def padded(
    tokens: Sequence[Sequence[int]], pad: int, width: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad token lists to (n, width) int64, and make their 0/1 mask, of the same shape and dtype.
    width: None for that of the longest."""
    width = max(len(ids) for ids in tokens) if width is None else width
    ids = torch.full((len(tokens), width), pad)
    mask = torch.zeros((len(tokens), width), dtype=torch.long)
    for row, line in enumerate(tokens):
        ids[row, : len(line)] = torch.tensor(line)
        mask[row, : len(line)] = 1
    return ids, mask


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Pool token vectors (batch, tokens, dim) float32 by a 0/1 mask (batch, tokens) to
    (batch, dim * pooling.width). Padding is at the end of a text."""
    parts = [_pooled(hidden, mask, one) for one in pooling.parts]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _pooled(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    if pooling is Pooling.CLS:
        return hidden[:, 0]
    if pooling is Pooling.LAST_TOKEN:
        last = mask.long().sum(dim=1).clamp(min=1) - 1
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    if pooling is Pooling.MAX:
        return hidden.masked_fill(weight == 0, -torch.inf).amax(dim=1)
    if pooling is Pooling.WEIGHTED_MEAN:
        weight = weight * torch.arange(1, hidden.shape[1] + 1, device=hidden.device).view(1, -1, 1)
    length = weight.sum(dim=1).clamp(min=1)
    divisor = length.sqrt() if pooling is Pooling.MEAN_SQRT_LEN else length
    return (hidden * weight).sum(dim=1) / divisor
