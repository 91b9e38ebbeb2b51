"""transformers' image towers: conversion to the data of `PatchedVit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import torch
from transformers import (
    CLIPVisionModelWithProjection,
    Dinov2Model,
    Dinov2WithRegistersModel,
    SiglipVisionModel,
    ViTModel,
)

from vitrina.embedder.inference.stack import Activation, Block, Linear, Norm, Stack
from vitrina.embedder.inference.vit import Vit, patch_layer

_ACTIVATIONS = {
    "gelu": Activation.GELU,
    "quick_gelu": Activation.QUICK_GELU,
    "gelu_pytorch_tanh": Activation.GELU_TANH,
}


class VisionTower(torch.nn.Module):
    """A transformers model as a function from pixels to vectors.

    size: height and width of its input. pooled: the vectors of the model's output, (n, dim).
    """

    def __init__(
        self, tower: Any, size: tuple[int, int], pooled: Callable[[Any], torch.Tensor]
    ) -> None:
        super().__init__()
        self.tower, self.size = tower, size
        self._pooled = pooled

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (n, 3, height, width) to vectors (n, dim), not normalised."""
        return self._pooled(self.tower(pixel_values=pixels))


def read_vision(module: Any, mean: npt.NDArray[Any], deviation: npt.NDArray[Any]) -> Vit | None:
    """Convert a tower to plain data; None for an unsupported architecture. As `read_vit`."""
    if not isinstance(module, VisionTower):
        return None
    tower = module.tower
    config = tower.config
    activation = _ACTIVATIONS.get(config.hidden_act)
    edge = config.patch_size
    if activation is None or not isinstance(edge, int):
        return None
    parts = _parts(tower, *module.size)
    if parts is None:
        return None
    conv, places, norm, blocks, last, projection, head = parts
    patches = (module.size[0] // edge) * (module.size[1] // edge)
    prefix = 0 if head is not None else 1 + (getattr(config, "num_register_tokens", None) or 0)
    if len(places) != prefix + patches:
        return None
    heads = config.num_attention_heads
    width = places.shape[1]
    return Vit(
        edge=edge,
        patch=patch_layer(conv.weight.detach(), conv.bias, mean, deviation),
        places=places.detach().float().clone(),
        norm=norm,
        stack=Stack(
            blocks=blocks,
            heads=heads,
            norm_first=True,
            activation=activation,
            scale=(width // heads) ** -0.5,
        ),
        last=last,
        projection=projection,
        head=head,
    )


def _parts(network: Any, height: int, width: int) -> Any:
    """Of a tower: its patch convolution, (prefix + patches, dim) positions, the norm before the
    blocks, these, the norm after them, the projection (dim, outputs), and a pooling head."""
    tower: Any = network
    if isinstance(network, CLIPVisionModelWithProjection):
        inner = tower.vision_model
        tables: Any = inner.embeddings
        places = tables.position_embedding.weight.detach().clone()
        places[0] += tables.class_embedding.detach()
        blocks = [_clip_block(one) for one in inner.encoder.layers]
        projection = tower.visual_projection.weight.detach().T.contiguous()
        first, last = Norm.of(inner.pre_layrnorm), Norm.of(inner.post_layernorm)
        return tables.patch_embedding, places, first, blocks, last, projection, None
    if isinstance(network, SiglipVisionModel):
        tables = tower.embeddings
        places = tables.position_embedding.weight
        blocks = [_clip_block(one) for one in tower.encoder.layers]
        last = Norm.of(tower.post_layernorm)
        return tables.patch_embedding, places, None, blocks, last, None, tower.head
    if isinstance(network, ViTModel):
        tables = tower.embeddings
        places = tables.position_embeddings.detach()[0].clone()
        places[0] += tables.cls_token.detach()[0, 0]
        blocks = [
            _block(one, one.attention.o_proj, one.layernorm_before, one.layernorm_after)
            for one in tower.layers
        ]
        last = Norm.of(tower.layernorm)
        return tables.patch_embeddings.projection, places, None, blocks, last, None, None
    if isinstance(network, Dinov2Model | Dinov2WithRegistersModel):
        if tower.config.use_swiglu_ffn:
            return None
        tables = tower.embeddings
        places = _dino_places(tables, tower.config.patch_size, height, width)
        blocks = [_dino_block(one) for one in tower.encoder.layer]
        last = Norm.of(tower.layernorm)
        return tables.patch_embeddings.projection, places, None, blocks, last, None, None
    return None


def _dino_places(tables: Any, edge: int, height: int, width: int) -> torch.Tensor:
    count = (height // edge) * (width // edge)
    first = tables.cls_token.detach()
    empty = first.new_zeros(1, 1 + count, first.shape[-1])
    with torch.no_grad():
        places = tables.interpolate_pos_encoding(empty, height, width)[0].clone()
    places[0] += first[0, 0]
    # Registers have no position.
    registers = getattr(tables, "register_tokens", first[:, :0]).detach()[0]
    return torch.cat([places[:1], registers, places[1:]])


def _clip_block(layer: Any) -> Block:
    return _block(layer, layer.self_attn.out_proj, layer.layer_norm1, layer.layer_norm2)


def _dino_block(layer: Any) -> Block:
    block = _block(layer, layer.attention.o_proj, layer.norm1, layer.norm2)
    return Block(
        qkv=block.qkv,
        out=_scaled(block.out, layer.layer_scale1),
        norm1=block.norm1,
        up=block.up,
        down=_scaled(block.down, layer.layer_scale2),
        norm2=block.norm2,
    )


def _scaled(linear: Linear, scale: Any) -> Linear:
    factor = scale.lambda1.detach()
    return Linear(linear.weight * factor[:, None], linear.bias * factor)


def _block(layer: Any, out: Any, norm1: Any, norm2: Any) -> Block:
    attention = getattr(layer, "self_attn", None) or layer.attention
    projections = [_linear(getattr(attention, f"{one}_proj")) for one in "qkv"]
    return Block(
        qkv=Linear(
            torch.cat([one.weight for one in projections]),
            torch.cat([one.bias for one in projections]),
        ),
        out=_linear(out),
        norm1=Norm.of(norm1),
        up=_linear(layer.mlp.fc1),
        down=_linear(layer.mlp.fc2),
        norm2=Norm.of(norm2),
    )


def _linear(module: Any) -> Linear:
    weight = module.weight.detach()
    bias = weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach()
    return Linear(weight, bias)
