"""Attention in float32 inside a network in bfloat16.

On a CPU where bfloat16 matrix products are several times faster than float32, the gradient of
PyTorch's fused attention (2.15) takes ten times as long, more than the rest of a small network.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

USUAL, IN_FLOAT32 = "sdpa", "sdpa_in_float32"


def attend_in_float32(network: Any) -> None:
    """Switch a transformers model with PyTorch's fused attention to float32 attention."""
    if network.config._attn_implementation == USUAL:
        AttentionInterface.register(IN_FLOAT32, _attend)
        AttentionMaskInterface.register(IN_FLOAT32, sdpa_mask)
        network.set_attn_implementation(IN_FLOAT32)


def attend_as_usual(network: Any) -> None:
    """Undo `attend_in_float32`."""
    if network.config._attn_implementation == IN_FLOAT32:
        network.set_attn_implementation(USUAL)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    out, nothing = sdpa_attention_forward(
        module, query.float(), key.float(), value.float(), attention_mask, **options
    )
    return out.to(query.dtype), nothing
