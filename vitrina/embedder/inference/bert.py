"""BERT-like models: conversion from transformers' modules to a stack; inference on packed texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as fn
from transformers import BertModel, RobertaModel, XLMRobertaModel

from vitrina.embedder.inference.stack import (
    Activation,
    Block,
    Linear,
    Norm,
    Packing,
    Runner,
    Stack,
)
from vitrina.types import Pooling


@dataclass(frozen=True)
class Bert:
    """A text model as plain data. words: (vocabulary, dim). places: (longest, dim), the sum of
    position and token type embeddings. first_place: the position of a text's first token."""

    words: torch.Tensor
    places: torch.Tensor
    first_place: int
    norm: Norm
    stack: Stack


def read_bert(model: Any) -> Bert | None:
    """Convert a model to plain data; None for an unsupported architecture.

    The caller must verify the conversion by comparing vectors.
    """
    if not isinstance(model, BertModel | RobertaModel | XLMRobertaModel):
        return None
    config: Any = model.config
    plain = (
        config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and not config.is_decoder
    )
    if not plain:
        return None
    tables: Any = model.embeddings
    offset = 0 if isinstance(model, BertModel) else int(config.pad_token_id) + 1
    stack = Stack(
        blocks=[_block(layer) for layer in model.encoder.layer],
        heads=config.num_attention_heads,
        norm_first=False,
        activation=Activation.GELU,
        scale=(config.hidden_size // config.num_attention_heads) ** -0.5,
    )
    places = tables.position_embeddings.weight + tables.token_type_embeddings.weight[0]
    norm = Norm.of(tables.LayerNorm)
    return Bert(tables.word_embeddings.weight.detach(), places.detach(), offset, norm, stack)


def _block(layer: Any) -> Block:
    seen, after = layer.attention.self, layer.attention.output
    parts = (seen.query, seen.key, seen.value)
    qkv = Linear(
        torch.cat([part.weight for part in parts]).detach(),
        torch.cat([part.bias for part in parts]).detach(),
    )
    return Block(
        qkv=qkv,
        out=Linear.of(after.dense),
        norm1=Norm.of(after.LayerNorm),
        up=Linear.of(layer.intermediate.dense),
        down=Linear.of(layer.output.dense),
        norm2=Norm.of(layer.output.LayerNorm),
    )


class PackedBert:
    """Runs texts without padding, with all tokens of a batch in one matrix."""

    def __init__(self, bert: Bert, runner: Runner, pooling: Pooling, device: torch.device) -> None:
        self._words, self._places = bert.words.to(device), bert.places.to(device)
        self._norm = bert.norm.to(device)
        self._first_place = bert.first_place
        self._runner, self._pooling, self._device = runner, pooling, device

    def pooled(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Pooled vectors, (len(tokens), dim) float32, not normalised; fastest on sorted lengths."""
        packing = Packing.of([len(line) for line in tokens])
        ids = torch.from_numpy(np.concatenate([np.asarray(line) for line in tokens]))
        before = np.repeat(packing.starts, packing.lengths)
        place = torch.from_numpy(np.arange(len(ids)) - before + self._first_place)
        x = fn.embedding(self._sent(ids), self._words)
        x = x.add_(fn.embedding(self._sent(place), self._places))
        x = self._norm.apply(x)
        first_only = self._pooling is Pooling.CLS
        x = self._runner.run(x, packing, first_only=first_only)
        return x if first_only else pool_packed(x, packing, self._pooling)

    def _sent(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._device.type == "cuda":
            # The copy from pinned memory runs in parallel with the model.
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)


def pool_packed(tokens: torch.Tensor, packing: Packing, pooling: Pooling) -> torch.Tensor:
    """Pool packed token vectors, (all tokens, dim) float32, to (sequences, dim * pooling.width)."""
    parts = [_pooled(tokens, packing, one) for one in pooling.parts]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _pooled(tokens: torch.Tensor, packing: Packing, pooling: Pooling) -> torch.Tensor:
    starts = torch.from_numpy(packing.starts).to(tokens.device)
    if pooling is Pooling.CLS:
        return tokens[starts]
    lengths = torch.from_numpy(packing.lengths).to(tokens.device)
    if pooling is Pooling.LAST_TOKEN:
        return tokens[starts + lengths - 1]
    if pooling is Pooling.WEIGHTED_MEAN:
        before = np.repeat(packing.starts, packing.lengths)
        places = torch.from_numpy(np.arange(1, len(tokens) + 1) - before).to(tokens.device)
        tokens = tokens * places.unsqueeze(1).to(tokens.dtype)
        lengths_of_sum = lengths * (lengths + 1) // 2
    else:
        lengths_of_sum = lengths
    how = "max" if pooling is Pooling.MAX else "sum"
    pooled = torch.segment_reduce(tokens, how, lengths=lengths, axis=0, unsafe=True)
    if pooling is Pooling.MAX:
        return pooled
    divisor = lengths_of_sum.unsqueeze(1).to(pooled.dtype)
    return pooled / (divisor.sqrt() if pooling is Pooling.MEAN_SQRT_LEN else divisor)
