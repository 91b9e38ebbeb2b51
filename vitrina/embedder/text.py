"""Text encoder: any BERT-like Hugging Face model, with the pooling and limits of its own files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from vitrina.device import best_device
from vitrina.embedder.base import AGREEMENT, EncoderCard
from vitrina.embedder.fingerprint import fingerprint, weights
from vitrina.embedder.inference.bert import Bert, PackedBert, read_bert
from vitrina.embedder.inference.int8 import Int8Runner, has_int8
from vitrina.embedder.inference.plain import PlainRunner
from vitrina.embedder.onnx_text import OnnxNetwork
from vitrina.embedder.pooling import padded, pool
from vitrina.embedder.precision import (
    agreement,
    check_probes,
    choose,
    first_run,
    has_bfloat16,
)
from vitrina.embedder.probes import PROBES
from vitrina.embedder.text_batches import TextBatches, Tokenize
from vitrina.embedder.text_parts import (
    ENCODERS,
    TextParts,
    Tokens,
    load_parts,
    tokenizing,
    unused,
)
from vitrina.embedder.text_settings import TextSettings
from vitrina.embedder.weight_files import WAY_OUT
from vitrina.errors import EncoderError
from vitrina.malloc import keep_freed
from vitrina.stage_timer import stage
from vitrina.threads import one_thread_each
from vitrina.typed_json import read_json
from vitrina.types import Compute, Modality, Pooling, Vectors


class TextRunner(Protocol):
    """A backend that runs a text model."""

    def pooled(self, tokens: Tokens) -> torch.Tensor:
        """Pooled vectors of token lists: (len(tokens), dim) float32, not normalised."""
        ...


class HuggingFaceText:
    """Text encoder: a loaded Hugging Face model."""

    def __init__(
        self,
        folder: Path,
        model: str,
        revision: str | None,
        compute: Compute | None = None,
        settings: TextSettings | None = None,
    ) -> None:
        """model: its name in the card. compute: None for the fastest. settings: None for the
        model's own. Raises EncoderError if it does not load."""
        settings = settings or TextSettings()
        what = f"{model}: {folder} does not load as a text model"
        found = load_parts(folder, model, what, settings=settings, onnx=True)
        tokenizer, network, form = found.tokenizer, found.network, found.form
        used = {name: one for name, one in weights(network).items() if not unused(name)}
        taken = fingerprint({**used, **form.layers.arrays()}, _settings(found))
        pad = tokenizer.pad_token_id or 0
        self._tokenize = tokenizing(tokenizer, found.limit, pad, found.rows, form.prompt)
        query = form.prompt if form.query_prompt is None else form.query_prompt
        self._tokenize_query = tokenizing(tokenizer, found.limit, pad, found.rows, query)
        self._dim = form.vector_dim(int(network.config.hidden_size))
        self._device = best_device()
        self._form = replace(form, layers=form.layers.to(self._device))
        keep_freed()
        self._batches = TextBatches(self._device)
        self._compute, self._network = self._choose(network, pad, compute, taken, model)
        self.card = EncoderCard(
            modality=Modality.TEXT,
            model=model,
            revision=revision,
            fingerprint=taken,
            dim=self._dim,
            details={
                "pooling": form.pooling.value,
                "max_length": form.max_length,
                "compute": self._compute.value,
                "device": self._device.type,
                **form.details(settings),
            },
        )

    @stage("compiling and choosing numbers")
    def _choose(
        self, model: Any, pad: int, requested: Compute | None, taken: str, name: str
    ) -> tuple[Compute, TextRunner]:
        pooling = self._form.pooling
        tokens = sorted(self._tokenize(PROBES), key=len, reverse=True)

        def probe(network: TextRunner) -> Vectors:
            with one_thread_each():
                return self._batches.run(partial(self._pooled, network), tokens)

        own = PaddedModel(model.to(self._device), pooling, pad, self._device)
        with first_run(name):
            exact = probe(own)
        check_probes(exact, name)
        bert = read_bert(model)

        def packed(dtype: torch.dtype) -> TextRunner:
            if bert is None:
                return PaddedModel(copy.deepcopy(model).to(dtype), pooling, pad, self._device)
            runner = PlainRunner(bert.stack, self._device, dtype)
            return PackedBert(bert, runner, pooling, self._device)

        def exactly() -> TextRunner:
            read = packed(torch.float32) if bert else own
            # A model that was converted wrongly runs with its own code.
            return read if agreement(exact, probe(read)) >= AGREEMENT[Compute.FLOAT32] else own

        makers: dict[Compute, Callable[[], TextRunner]] = {Compute.FLOAT32: exactly}
        if has_bfloat16(self._device) and not isinstance(model, OnnxNetwork):
            makers[Compute.BFLOAT16] = partial(packed, torch.bfloat16)
        if bert and self._device.type == "cpu" and has_int8():
            makers[Compute.INT8] = partial(_in_int8, bert, pooling, self._device)
        return choose(makers, probe, exact, requested, fingerprint=taken)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Texts to (len(texts), dim) float32, L2-normalised, in the order given.

        Duplicate texts are encoded once. Not thread-safe. Raises EncoderError if memory does not
        suffice for a single text, or vectors are not finite.
        """
        return self._encode(texts, self._tokenize)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Search queries, with the model's prompt for them, as `encode` does products' texts."""
        return self._encode(texts, self._tokenize_query)

    def _encode(self, texts: Sequence[str], tokenize: Tokenize) -> Vectors:
        pooled = partial(self._pooled, self._network)
        return self._batches.encode(pooled, tokenize, texts, self._dim, self.card.model)

    def _pooled(self, network: TextRunner, tokens: Tokens) -> torch.Tensor:
        return self._form.finished(network.pooled(tokens))


FURTHER = (
    *("feed_forward_proj", "relative_attention_num_buckets", "relative_attention_max_distance"),
    *("layer_norm_epsilon", "rms_norm_eps", "rope_theta", "rope_scaling", "rope_parameters"),
    *("sliding_window", "use_sliding_window", "layer_types", "head_dim", "num_key_value_heads"),
)
"""Keys of `config.json` that the fingerprint of T5 encoders and of decoders covers."""


def _settings(found: TextParts) -> dict[str, Any]:
    """All that determines a model's output but weights, for its fingerprint."""
    config, form = found.config, found.form
    settings = {
        "format": 1,
        "architecture": type(found.network).__name__,
        "activation": getattr(config, "hidden_act", None),
        "layer_norm_eps": getattr(config, "layer_norm_eps", None),
        "heads": getattr(config, "num_attention_heads", None),
        "tokenizer": found.tokenizer.backend_tokenizer.to_str(),
        "pooling": form.pooling.value,
        "max_length": form.max_length,
        "normalised": True,
        **form.settings(),
    }
    if config.model_type in ENCODERS or Pooling.LAST_TOKEN in form.pooling.parts:
        raw = read_json(found.place / "config.json", WAY_OUT, EncoderError)
        settings["further"] = {key: raw[key] for key in FURTHER if key in raw}
    return settings


def _in_int8(bert: Bert, pooling: Pooling, device: torch.device) -> TextRunner:
    return PackedBert(bert, Int8Runner(bert.stack), pooling, device)


class PaddedModel:
    """Runs a model with transformers' own code, each batch padded to its longest text."""

    def __init__(self, model: Any, pooling: Pooling, pad: int, device: torch.device) -> None:
        self._model, self._pooling, self._pad, self._device = model, pooling, pad, device

    def pooled(self, tokens: Tokens) -> torch.Tensor:
        """As `TextRunner.pooled`."""
        ids, mask = padded(tokens, self._pad)
        mask = mask.to(self._device)
        hidden = self._model(input_ids=ids.to(self._device), attention_mask=mask)
        return pool(hidden.last_hidden_state.float(), mask, self._pooling)
