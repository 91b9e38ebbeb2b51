"""A text model prepared for training: its word embedding is sparse, the rest in a fast dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitrina.device import best_device
from vitrina.embedder.finetuning.attention import attend_as_usual, attend_in_float32
from vitrina.embedder.fingerprint import fingerprint, weights
from vitrina.embedder.pooling import pool
from vitrina.embedder.text_batches import token_batches
from vitrina.embedder.text_config import with_lower_case
from vitrina.embedder.text_parts import Tokens, load_parts, save_model, tokenizing, unused
from vitrina.embedder.text_settings import TextSettings
from vitrina.threads import workers
from vitrina.training.dropout import Dropout, with_quick_dropout
from vitrina.training.sparse_embedding import SparseEmbedding
from vitrina.types import Codes, Pooling

BUDGET = {"cpu": 768, "cuda": 131_072, "mps": 8192}
"""Tokens per forward pass, padding included, by device: on a CPU few enough for one core's cache,
and to keep texts of different length apart."""


@dataclass(frozen=True)
class TextShape:
    """Changes to a text model before training. from_scratch: random weights. lower_case: lower-case
    texts; None for the tokenizer's setting. max_length: maximum tokens of a text; None for the
    model's own. pooling: None for the model's own. settings: prompt and dimension, which are kept
    with the trained model; None for the model's own."""

    from_scratch: bool = False
    lower_case: bool | None = None
    max_length: int | None = None
    pooling: Pooling | None = None
    settings: TextSettings | None = None


class TrainableText:
    """A text model in training.

    Attributes:
        body: the network without the word embedding.
        table: the word embedding.
        form: its pooling, length limit, prompt, and layers after the pooling. The layers are not
            trained.
        tokenize: maps texts to token lists.
        pad: the padding token.
        fingerprint: of the initial weights and settings.
        workers: batches that run in parallel.
    """

    def __init__(self, folder: Path, model: str, shape: TextShape, *, seed: int) -> None:
        """folder: with `config.json`, the tokenizer's files, and weights unless `from_scratch`.
        model: its name, for messages.

        Raises EncoderError if it does not load.
        """
        what = f"{model}: {folder} can't be trained as a text model"
        settings = shape.settings or TextSettings()
        found = load_parts(
            folder, model, what, settings=settings, from_scratch=shape.from_scratch, seed=seed
        )
        self._tokenizer, own, form = found.tokenizer, found.network, found.form
        core: Any = self._tokenizer.backend_tokenizer
        if shape.lower_case:
            with_lower_case(core)
        limit = min(found.limit, shape.max_length or found.limit)
        pooling = shape.pooling or form.pooling
        form = replace(form, pooling=pooling, max_length=limit)
        form = form.fitted(int(own.config.hidden_size), settings, model)
        self.pad = self._tokenizer.pad_token_id or 0
        self.mask: int | None = self._tokenizer.mask_token_id
        self.special = sorted(self._tokenizer.all_special_ids)
        self.tokenize: Callable[[Sequence[str]], Tokens] = tokenizing(
            self._tokenizer, limit, self.pad, found.rows, form.prompt
        )
        self.device = best_device()
        self.form = replace(form, layers=form.layers.to(self.device))
        with_quick_dropout(own)
        for part in own.modules():
            # Attention without dropout uses a fused kernel, several times as fast.
            if type(part).__name__.endswith("SelfAttention"):
                for child in part.children():
                    if isinstance(child, Dropout):
                        child.p = 0.0
        self.body: Any = own.to(self.device).train()
        self.workers = workers(self.device) if self.device.type == "cpu" else 1
        self.budget = BUDGET[self.device.type]
        self._words = own.get_input_embeddings()
        self._words.weight.requires_grad_(False)
        for name, parameter in own.named_parameters():
            # Unused in token vectors, so without a gradient.
            if unused(name):
                parameter.requires_grad_(False)
        described = {
            "tokenizer": core.to_str(),
            "pooling": form.pooling.value,
            "limit": limit,
            **form.settings(),
        }
        self.fingerprint = fingerprint({**weights(own), **form.layers.arrays()}, described)

    @property
    def width(self) -> int:
        """Dimension of a token's vector."""
        return int(self.body.config.hidden_size)

    @property
    def dim(self) -> int:
        """Dimension of a text's vector."""
        return self.form.vector_dim(self.width)

    @property
    def layers(self) -> int:
        """Number of transformer blocks."""
        return int(self.body.config.num_hidden_layers)

    @property
    def vocabulary(self) -> int:
        """Number of rows in the word embedding."""
        return len(self._words.weight)

    def begin(self, dtype: torch.dtype, *, averaged: bool) -> SparseEmbedding:
        """Make the word embedding sparse, and cast the rest to the training dtype."""
        self.table = SparseEmbedding(self._words.weight, dtype, averaged=averaged)
        self.body.to(dtype)
        if self.device.type == "cpu" and dtype is torch.bfloat16:
            attend_in_float32(self.body)
        return self.table

    def begin_as_is(self) -> None:
        """Use the current word embedding without training."""
        self.table = SparseEmbedding(self._words.weight, torch.float32)

    def hidden(self, ids: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Token vectors of padded lists, (n, tokens, dim); see `TokenLists.padded`."""
        ids, there = ids.to(self.device), there.to(self.device)
        vectors = self.table.look_up(ids)
        # Without padding, attention needs no mask and is faster.
        mask = None if bool(there.all()) else there.long()
        out = self.body(inputs_embeds=vectors, attention_mask=mask)
        states: torch.Tensor = out.last_hidden_state
        return states

    def pooled(self, ids: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Text vectors of padded lists, (n, dim) float32, not normalised."""
        hidden = self.hidden(ids, there).float()
        return self.form.finished(pool(hidden, there.to(self.device), self.form.pooling))

    def batches(self, lengths: Codes) -> Iterator[Codes]:
        """Yield batches of texts of similar length: positions in `lengths`."""
        for batch in token_batches(lengths.tolist(), self.budget):
            yield np.array(batch)

    def train(self) -> None:
        """Switch to training mode."""
        self.body.train()

    def eval(self) -> None:
        """Switch to inference mode."""
        self.body.eval()

    def finish(self) -> None:
        """End training: restore the word embedding, and float32."""
        self._words.weight.data = self.table.weight
        self.body.float().eval()
        attend_as_usual(self.body)

    def save(self, folder: Path) -> None:
        """Write the model in the format of transformers and sentence-transformers."""
        save_model(folder, self.body, self._tokenizer, self.form)
