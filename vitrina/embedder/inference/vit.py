"""Vision transformers: conversion of open_clip's tower to a stack, and inference on pictures."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import open_clip.transformer as towers
import torch
from torch import nn
from torch.nn import functional as fn

from vitrina.embedder.inference.int8 import Int8Linear, QuantizedRows
from vitrina.embedder.inference.stack import (
    Activation,
    Block,
    Linear,
    Norm,
    Packing,
    Runner,
    Stack,
)


@dataclass(frozen=True)
class Vit:
    """An image model as plain data. patch: (dim, edge * edge * 3) over pixels from 0 to 255, the
    preprocessing's mean and deviation folded in. places: (first tokens + patches, dim), where the
    first tokens are a class token with its position, and registers; or none. norm: before the
    stack, if there is one. projection: (dim, outputs), if there is one. head: a module that pools
    all tokens (n, tokens, dim) to (n, outputs); without one the class token is the vector."""

    edge: int
    patch: Linear
    places: torch.Tensor
    norm: Norm | None
    stack: Stack
    last: Norm
    projection: torch.Tensor | None
    head: nn.Module | None = None


def read_vit(tower: Any, mean: npt.NDArray[Any], deviation: npt.NDArray[Any]) -> Vit | None:
    """Convert a tower to plain data; None for an unsupported architecture.

    mean, deviation: (3,) of the preprocessing, for pixels from 0 to 1. The caller must verify the
    conversion by comparing vectors.
    """
    plain = (
        isinstance(tower, towers.VisionTransformer)
        and tower.attn_pool is None
        and tower.pool_type == "tok"
        and tower.proj is not None
        and isinstance(tower.ln_pre, nn.LayerNorm)
        and tower.patch_size[0] == tower.patch_size[1]
        and all(_is_plain(block) for block in tower.transformer.resblocks)
    )
    if not plain:
        return None
    blocks = list(tower.transformer.resblocks)
    heads = blocks[0].attn.num_heads
    places = tower.positional_embedding.detach().float().clone()
    places[0] += tower.class_embedding.detach()
    width = places.shape[1]
    quick = isinstance(blocks[0].mlp.gelu, towers.QuickGELU)
    return Vit(
        edge=tower.patch_size[0],
        patch=patch_layer(tower.conv1.weight.detach(), None, mean, deviation),
        places=places,
        norm=Norm.of(tower.ln_pre),
        stack=Stack(
            blocks=[_block(block) for block in blocks],
            heads=heads,
            norm_first=True,
            activation=Activation.QUICK_GELU if quick else Activation.GELU,
            scale=(width // heads) ** -0.5,
        ),
        last=Norm.of(tower.ln_post),
        projection=tower.proj.detach(),
    )


def patch_layer(
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    mean: npt.NDArray[Any],
    deviation: npt.NDArray[Any],
) -> Linear:
    """A convolution over patches as a layer over their bytes.

    weight: (dim, 3, edge, edge), over pixels that the preprocessing has scaled. bias: (dim,).
    """
    weight = weight.float()
    scaled = weight / torch.tensor(255 * deviation).float().view(1, 3, 1, 1)
    offset = -(weight * torch.tensor(mean / deviation).float().view(1, 3, 1, 1)).sum((1, 2, 3))
    if bias is not None:
        offset = offset + bias.detach().float()
    return Linear(scaled.permute(0, 2, 3, 1).flatten(1).contiguous(), offset)


def _is_plain(block: Any) -> bool:
    return (
        isinstance(block, towers.ResidualAttentionBlock)
        and isinstance(block.attn, nn.MultiheadAttention)
        and block.attn.in_proj_weight is not None
        and isinstance(block.ls_1, nn.Identity)
        and isinstance(block.ls_2, nn.Identity)
        and isinstance(block.mlp.gelu, nn.GELU | towers.QuickGELU)
    )


def _block(block: Any) -> Block:
    attention = block.attn
    return Block(
        qkv=Linear(attention.in_proj_weight.detach(), attention.in_proj_bias.detach()),
        out=Linear.of(attention.out_proj),
        norm1=Norm.of(block.ln_1),
        up=Linear.of(block.mlp.c_fc),
        down=Linear.of(block.mlp.c_proj),
        norm2=Norm.of(block.ln_2),
    )


class PatchedVit:
    """Runs pictures as patches of bytes through a stack.

    exact_patches: False to run the first layer in 8 bits too, since pixels are bytes.
    """

    def __init__(
        self, vit: Vit, runner: Runner, device: torch.device, *, exact_patches: bool
    ) -> None:
        self._edge, self._runner, self._device = vit.edge, runner, device
        self._patch = vit.patch.to(device)
        self._bytes = None if exact_patches else Int8Linear(vit.patch)
        self._places = vit.places.to(device)
        self._first = None if vit.norm is None else vit.norm.to(device)
        self._last = vit.last.to(device)
        self._projection = None if vit.projection is None else vit.projection.float().to(device)
        self._head = None if vit.head is None else copy.deepcopy(vit.head).float().to(device)

    def pooled(self, pictures: torch.Tensor) -> torch.Tensor:
        """Map (n, height, width, 3) uint8 on the CPU to (n, dim) float32, not normalised."""
        count, height, width, _ = pictures.shape
        down, across = height // self._edge, width // self._edge
        # As a convolution does, leave out the pixels beyond the last whole patch.
        whole = pictures[:, : down * self._edge, : across * self._edge]
        parts = whole.reshape(count, down, self._edge, across, self._edge, 3)
        patches = parts.transpose(2, 3).reshape(count * down * across, -1)
        seen = self._embedded(patches).view(count, down * across, -1)
        length = len(self._places)
        x = fn.pad(seen, (0, 0, length - down * across, 0)).add_(self._places)
        if self._first is not None:
            x = self._first.apply(x)
        packing = Packing(np.full(count, length, dtype=np.int64), [(count, length)])
        x = self._runner.run(x.flatten(0, 1), packing, first_only=self._head is None)
        x = self._last.apply(x)
        if self._head is not None:
            return cast("torch.Tensor", self._head(x.view(count, length, -1)))
        return x if self._projection is None else x @ self._projection

    def _embedded(self, patches: torch.Tensor) -> torch.Tensor:
        if self._bytes is not None:
            rows = QuantizedRows(*patches.shape)
            rows.numbers[:] = patches.numpy()
            rows.scales[:] = (1, 0)
            return torch.from_numpy(self._bytes.outputs(rows))
        if self._device.type == "cuda":
            patches = patches.pin_memory()
        moved = patches.to(self._device, non_blocking=True).float()
        return self._patch.apply(moved)
