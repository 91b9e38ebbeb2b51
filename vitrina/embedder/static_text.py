"""Static text encoder: the mean of token vectors from a table, without a network.

It reads `StaticEmbedding` models of sentence-transformers and models of model2vec. These differ:
model2vec leaves out unknown words, and truncates texts.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch.nn import functional as fn

from vitrina.embedder.base import EncoderCard
from vitrina.embedder.fingerprint import fingerprint
from vitrina.embedder.model_folder import check_tokenizer_file
from vitrina.embedder.precision import check_numbers, check_probes, first_run
from vitrina.embedder.probes import PROBES
from vitrina.embedder.text_config import TextForm, check_dim, read_model_settings
from vitrina.embedder.text_layers import read_layers
from vitrina.embedder.text_modules import TextModules, check_inside
from vitrina.embedder.text_settings import TextSettings
from vitrina.embedder.tokenizer_check import check_core, token_ids, unknown_token
from vitrina.embedder.untrusted import Budget, loading
from vitrina.embedder.weight_files import (
    WAY_OUT,
    WEIGHTS,
    check_converted,
    check_file,
    read_header,
)
from vitrina.errors import EncoderError
from vitrina.parallel import map_ahead
from vitrina.stage_timer import stage
from vitrina.store.damage import blamed_on
from vitrina.threads import one_thread_each
from vitrina.typed_json import read_json_as
from vitrina.types import Compute, Modality, Pooling, Vectors

WINDOW = 4096
"""Texts tokenised at once, while the previous ones are averaged."""
MOST_CONFIG_BYTES = 16 << 20
MODEL2VEC_LENGTH = 512
"""Maximum tokens of a text by model2vec, for a model that names no limit."""

TABLE, MODEL2VEC_TABLE = "embedding.weight", "embeddings"
"""Names of the table in the weights of sentence-transformers and of model2vec."""
_FLOATS, _WHOLE = ("F16", "BF16", "F32", "F64"), ("I8", "I16", "I32", "I64")

Length = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]


@dataclass(frozen=True)
class _Model2Vec:
    """The fields of a model2vec `config.json` that determine vectors; others describe how the
    table was made, such as by PCA."""

    max_length: Length | None = MODEL2VEC_LENGTH


@dataclass(frozen=True, eq=False)
class TokenTable:
    """Vectors of tokens. vectors: (rows, dim) float32. mapping: (tokens,) int64, the row of each
    token; None if token and row are the same. weights: (tokens,) float32; None for 1."""

    vectors: torch.Tensor
    mapping: torch.Tensor | None = None
    weights: torch.Tensor | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens that have a vector."""
        have = [len(one) for one in (self.mapping, self.weights) if one is not None]
        return min(have, default=len(self.vectors))

    def mean(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Mean vectors of token lists: (len(tokens), dim) float32; zeros for an empty list."""
        lengths = torch.tensor([len(ids) for ids in tokens])
        ids = torch.from_numpy(np.fromiter(chain.from_iterable(tokens), np.int64))
        rows = ids if self.mapping is None else self.mapping[ids]
        scale = None if self.weights is None else self.weights[ids]
        offsets = lengths.cumsum(0) - lengths
        total = fn.embedding_bag(rows, self.vectors, offsets, mode="sum", per_sample_weights=scale)
        return total / lengths.clamp(min=1).unsqueeze(1)


class StaticText:
    """Text encoder: a table of token vectors."""

    def __init__(
        self,
        folder: Path,
        modules: TextModules,
        model: str,
        revision: str | None,
        compute: Compute | None = None,
        settings: TextSettings | None = None,
    ) -> None:
        """modules: of the folder. model: its name in the card. settings: None for the model's own.
        Raises EncoderError if it does not load."""
        settings = settings or TextSettings()
        if compute not in (None, Compute.FLOAT32):
            raise EncoderError(
                f"this model can't be run in {compute} on this machine, only in float32"
            )
        with stage("reading token vectors"):
            own = _read_table(folder, modules.place)
        self._table, limit, is_model2vec = own
        layers = read_layers(folder, modules.after)
        named = read_model_settings(folder, settings)
        dim = self._table.vectors.shape[1]
        layers.check_width(dim, model)
        check_dim(settings, layers.dim(dim), model)
        kept = named.dim if named.dim and named.dim < layers.dim(dim) else None
        self._form = TextForm(
            Pooling.MEAN, limit or 0, named.prompt, named.query_prompt, layers=layers, dim=kept
        )
        core = _read_tokenizer(folder, modules.place, self._table.tokens, model)
        if is_model2vec:
            core.no_truncation()
            if limit is not None:
                core.enable_truncation(limit)
        self._tokenize = _tokenizing(core, model, self._table.tokens, limit, is_model2vec)
        taken = fingerprint(
            {**_arrays(self._table), **layers.arrays()},
            {
                "format": 1,
                "architecture": "model2vec" if is_model2vec else "StaticEmbedding",
                "tokenizer": core.to_str(),
                "max_length": limit,
                "normalised": True,
                **self._form.settings(),
            },
        )
        self.card = EncoderCard(
            modality=Modality.TEXT,
            model=model,
            revision=revision,
            fingerprint=taken,
            dim=self._form.vector_dim(dim),
            details={
                "pooling": Pooling.MEAN.value,
                **({} if limit is None else {"max_length": limit}),
                "compute": Compute.FLOAT32.value,
                "device": "cpu",
                **self._form.details(settings),
            },
        )
        with first_run(model):
            check_probes(self.encode(PROBES), model)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Texts to (len(texts), dim) float32, L2-normalised, in the order given; zeros for a text
        without a known token. Raises EncoderError if vectors are not finite."""
        return self._encode(texts, self._form.prompt)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Search queries, with the model's prompt for them, as `encode` does products' texts."""
        query = self._form.query_prompt
        return self._encode(texts, self._form.prompt if query is None else query)

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        out = np.empty((len(texts), self.card.dim), dtype=np.float32)
        windows = (texts[at : at + WINDOW] for at in range(0, len(texts), WINDOW))
        prompted = ([prompt + one for one in window] for window in windows)
        start = 0
        with one_thread_each(), torch.inference_mode():
            for tokens in _ahead(self._tokenize, prompted, len(texts)):
                pooled = self._form.finished(self._table.mean(tokens))
                vectors = fn.normalize(pooled, dim=1).numpy()
                check_numbers(vectors, self.card.model)
                out[start : start + len(tokens)] = vectors
                start += len(tokens)
        return out


Tokenize = Callable[[Sequence[str]], list[list[int]]]


def _ahead(
    tokenize: Tokenize, windows: Iterator[list[str]], count: int
) -> Iterator[list[list[int]]]:
    return map_ahead(tokenize, windows, 2 if count > WINDOW else 1)


def _tokenizing(core: Any, what: str, rows: int, limit: int | None, is_model2vec: bool) -> Tokenize:
    """Create a function from texts to token lists, as the model's own library makes them."""
    unknown, characters = None, None
    if is_model2vec:
        unknown = unknown_token(core)
        if limit is not None:
            # model2vec cuts texts by the median length of its tokens, before it tokenises them.
            median = statistics.median(len(token) for token in core.get_vocab())
            characters = limit * int(median)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        cut = texts if characters is None else [one[:characters] for one in texts]
        lists = token_ids(core, cut, rows, what, special=False)
        if unknown is None:
            return lists
        return [[one for one in ids if one != unknown] if unknown in ids else ids for ids in lists]

    return tokenize


def _read_tokenizer(folder: Path, place: Path, rows: int, model: str) -> Any:
    path = place / "tokenizer.json"
    check_inside(folder, path)
    check_tokenizer_file(path)
    with loading(f"{model}: {path} does not load as a tokenizer", Budget()):
        core = Tokenizer.from_file(str(path))
        core.no_padding()
        check_core(core, rows, PROBES, f"{model}: {place}", special=set())
    return core


def _read_table(folder: Path, place: Path) -> tuple[TokenTable, int | None, bool]:
    """Read the table, the maximum tokens of a text, and whether the model is of model2vec."""
    path = place / WEIGHTS
    check_inside(folder, path)
    check_converted(place, folder)
    header = read_header(path)
    is_model2vec = TABLE not in header
    wanted: dict[str, tuple[int, tuple[str, ...]]] = {
        MODEL2VEC_TABLE if is_model2vec else TABLE: (2, (*_FLOATS, "I8"))
    }
    if is_model2vec:
        optional: dict[str, tuple[int, tuple[str, ...]]] = {
            "mapping": (1, _WHOLE),
            "weights": (1, _FLOATS),
        }
        wanted |= {name: kind for name, kind in optional.items() if name in header}
    for name, (dimensions, dtypes) in wanted.items():
        entry = header.get(name)
        if entry is None:
            raise EncoderError(f"{path} has no {TABLE} and no {MODEL2VEC_TABLE}; {WAY_OUT}")
        if len(entry.shape) != dimensions or entry.dtype not in dtypes or not entry.numbers:
            shape = " x ".join(map(str, entry.shape)) or "one number"
            raise EncoderError(f"{path} has {name} of {shape} of {entry.dtype}; {WAY_OUT}")
    with blamed_on(str(path), WAY_OUT, EncoderError), safe_open(path, "pt") as file:
        found = {name: file.get_tensor(name) for name in wanted}
    table = found.pop(MODEL2VEC_TABLE if is_model2vec else TABLE).float().contiguous()
    mapping, weights = found.get("mapping"), found.get("weights")
    whole = TokenTable(
        table,
        None if mapping is None else mapping.long(),
        None if weights is None else weights.float(),
    )
    _check_table(whole, path)
    limit = None
    if is_model2vec:
        config = place / "config.json"
        if config.exists():
            check_inside(folder, config)
            check_file(config, MOST_CONFIG_BYTES)
            limit = read_json_as(config, _Model2Vec, WAY_OUT, EncoderError).max_length
        else:
            limit = MODEL2VEC_LENGTH
    return whole, limit, is_model2vec


def _check_table(table: TokenTable, path: Path) -> None:
    for one in (table.vectors, table.weights):
        if one is not None and not bool(one.isfinite().all()):
            raise EncoderError(f"{path} holds NaN or infinity; are its weights damaged?")
    if table.mapping is not None:
        first, last = (int(one) for one in table.mapping.aminmax())
        if first < 0 or last >= len(table.vectors):
            raise EncoderError(
                f"{path} maps a token to row {last if first >= 0 else first} of "
                f"{len(table.vectors)}; {WAY_OUT}"
            )
        if table.weights is not None and len(table.weights) != len(table.mapping):
            raise EncoderError(f"{path} has a mapping and weights of unlike lengths; {WAY_OUT}")


def _arrays(table: TokenTable) -> dict[str, Any]:
    named = {"embedding": table.vectors, "mapping": table.mapping, "weights": table.weights}
    return {name: one.numpy() for name, one in named.items() if one is not None}
