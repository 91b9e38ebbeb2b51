"""Text vectors from any BERT-like model in the Hugging Face form, run as its own files say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer

from vitrina.embedder.base import EncoderCard
from vitrina.embedder.fingerprint import fingerprint, weights
from vitrina.embedder.precision import best_device, lower_precision
from vitrina.embedder.quiet import quiet_transformers
from vitrina.errors import EncoderError
from vitrina.types import Modality, Vectors

BATCH_TOKENS = 4096
"""Tokens of a batch, padding included: texts of one length share it, however many they are."""

PROBES = (
    "Кружка керамическая 350 мл, белая",
    "Платье женское летнее, размер 44-46, хлопок",
    "Чехол для Samsung Galaxy A51 силиконовый прозрачный",
    "Nike Women Tempo Purple Shorts",
    "Конструктор 256 деталей для мальчиков от 6 лет. Пластик, яркие цвета, развивает моторику.",
    "Чудо йогурт пер/дын 2,4% 290гр*10шт",
    "USB-C 65W",
    "Набор отвёрток слесарных CrV, 8 предметов, в пластиковом кейсе",
)


class Pooling(StrEnum):
    """How token vectors become one."""

    CLS = "cls"
    MEAN = "mean"
    MAX = "max"
    MEAN_SQRT_LEN = "mean_sqrt_len_tokens"


@dataclass(frozen=True)
class TextForm:
    """What a model's own files say of its use: pooling, and the longest input in tokens."""

    pooling: Pooling
    max_length: int


def read_form(folder: Path, config: Any, tokenizer: Any) -> TextForm:
    """Read pooling and length limit from a model's directory.

    Both come from the sentence-transformers files where the model has them. Without them the
    pooling is the mean, as sentence-transformers itself takes it.
    Raises EncoderError for a pooling that is not one of `Pooling`, and for further layers.
    """
    pooling = Pooling.MEAN
    modules = _json(folder / "modules.json") or []
    for module in modules:
        kind = module["type"].rpartition(".")[2]
        if kind == "Pooling":
            pooling = _pooling(folder / module["path"] / "config.json")
        elif kind not in ("Transformer", "Normalize"):
            raise EncoderError(f"{folder} adds a {kind} layer, which Vitrina does not run")
    limits = [tokenizer.model_max_length, getattr(config, "max_position_embeddings", None)]
    limits.append((_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length"))
    known = [int(limit) for limit in limits if limit and 0 < limit < 1_000_000]
    return TextForm(pooling, min(known, default=512))


def _pooling(path: Path) -> Pooling:
    config = _json(path) or {}
    if "pooling_mode" in config:
        chosen = [str(config["pooling_mode"])]
    else:
        names = {
            "pooling_mode_cls_token": "cls",
            "pooling_mode_mean_tokens": "mean",
            "pooling_mode_max_tokens": "max",
            "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
        }
        chosen = [names.get(key, key) for key, on in config.items() if on is True]
        chosen = [name for name in chosen if name != "include_prompt"]
    if len(chosen) != 1 or chosen[0] not in set(Pooling):
        raise EncoderError(f"{path} asks for pooling {chosen}; Vitrina knows one of {[*Pooling]}")
    return Pooling(chosen[0])


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


class HuggingFaceText:
    """A loaded text model."""

    def __init__(self, folder: Path, model: str, revision: str | None) -> None:
        try:
            with quiet_transformers():
                config = AutoConfig.from_pretrained(folder, local_files_only=True)
                self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                self._model = _network(folder)
        except (
            OSError,
            ValueError,
            KeyError,
            ImportError,
            RuntimeError,
            SafetensorError,
        ) as err:
            first = (str(err).strip().splitlines() or [type(err).__name__])[0]
            raise EncoderError(f"{model}: {folder} does not load as a text model: {first}") from err
        if not self._tokenizer.is_fast:
            raise EncoderError(f"{model}: {folder} has no fast tokenizer (tokenizer.json)")
        self._form = read_form(folder, config, self._tokenizer)
        settings = {
            "format": 1,
            "architecture": type(self._model).__name__,
            "activation": getattr(config, "hidden_act", None),
            "layer_norm_eps": getattr(config, "layer_norm_eps", None),
            "heads": getattr(config, "num_attention_heads", None),
            "tokenizer": self._tokenizer.backend_tokenizer.to_str(),
            "pooling": self._form.pooling.value,
            "max_length": self._form.max_length,
            "normalised": True,
        }
        self._device = best_device()
        used = weights(self._model).items()
        taken = fingerprint({name: a for name, a in used if not _unused(name)}, settings)
        self._model.to(self._device)
        self._dtype = lower_precision(self._model, lambda: self.encode(PROBES))
        self.card = EncoderCard(
            modality=Modality.TEXT,
            model=model,
            revision=revision,
            fingerprint=taken,
            dim=int(config.hidden_size),
            details={
                "pooling": self._form.pooling.value,
                "max_length": self._form.max_length,
                "compute": f"{self._dtype} on {self._device.type}".removeprefix("torch."),
            },
        )

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Texts to (len(texts), dim) float32, L2-normalised, in the order given."""
        out = np.empty((len(texts), self._model.config.hidden_size), dtype=np.float32)
        if not len(texts):
            return out
        encoded = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self._form.max_length,
            padding=False,
            return_attention_mask=False,
        )
        tokens: list[list[int]] = encoded["input_ids"]
        kinds: list[list[int]] | None = encoded.get("token_type_ids")
        for batch in token_batches([len(ids) for ids in tokens], BATCH_TOKENS):
            out[batch] = self._forward(
                [tokens[at] for at in batch], [kinds[at] for at in batch] if kinds else None
            )
        return out

    def _forward(self, tokens: list[list[int]], kinds: list[list[int]] | None) -> Vectors:
        width = max(len(ids) for ids in tokens)
        pad = self._tokenizer.pad_token_id or 0
        ids = torch.full((len(tokens), width), pad)
        mask = torch.zeros((len(tokens), width), dtype=torch.long)
        types = torch.zeros((len(tokens), width), dtype=torch.long)
        for row, line in enumerate(tokens):
            ids[row, : len(line)] = torch.tensor(line)
            mask[row, : len(line)] = 1
            if kinds:
                types[row, : len(line)] = torch.tensor(kinds[row])
        inputs = {"input_ids": ids.to(self._device), "attention_mask": mask.to(self._device)}
        if kinds:
            inputs["token_type_ids"] = types.to(self._device)
        with torch.inference_mode():
            hidden = self._model(**inputs).last_hidden_state.float()
            pooled = pool(hidden, inputs["attention_mask"], self._form.pooling)
            unit = torch.nn.functional.normalize(pooled, dim=1)
        return unit.cpu().numpy()


def _network(folder: Path) -> Any:
    # safetensors only: a pickled checkpoint could run code, and so could the repository.
    network, report = AutoModel.from_pretrained(
        folder,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    # transformers fills what a file lacks with random numbers.
    lacking = sorted(name for name in report["missing_keys"] if not _unused(name))
    if lacking:
        raise ValueError(f"its weights lack {lacking[0]} and {len(lacking) - 1} more")
    return network.eval()


def _unused(weight: str) -> bool:
    """Whether a weight has no part in the token vectors: BERT's layer over the first token."""
    return weight.startswith("pooler.")


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """(batch, tokens, dim) float32 and (batch, tokens) 0/1 to (batch, dim)."""
    if pooling is Pooling.CLS:
        return hidden[:, 0]
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    if pooling is Pooling.MAX:
        return hidden.masked_fill(weight == 0, -torch.inf).amax(dim=1)
    length = weight.sum(dim=1).clamp(min=1)
    divisor = length.sqrt() if pooling is Pooling.MEAN_SQRT_LEN else length
    return (hidden * weight).sum(dim=1) / divisor


def token_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Cut texts into batches of like length, longest first.

    lengths: tokens of each text. budget: tokens of a batch with its padding; a text longer than
    that stands alone. Yields positions; each appears exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda at: (-lengths[at], at))
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size
