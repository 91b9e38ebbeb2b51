"""Text encoder: any BERT-like Hugging Face model, with the pooling and limits of its own files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from vitrina.device import best_device
from vitrina.embedder.base import EncoderCard
from vitrina.embedder.fingerprint import fingerprint, weights
from vitrina.embedder.inference.bert import Bert, PackedBert, read_bert
from vitrina.embedder.inference.int8 import Int8Runner, has_int8
from vitrina.embedder.inference.plain import PlainRunner
from vitrina.embedder.model_folder import check_text_folder
from vitrina.embedder.onnx_graph import graph_of
from vitrina.embedder.onnx_text import OnnxNetwork
from vitrina.embedder.precision import (
    AGREEMENT,
    agreement,
    check_numbers,
    check_probes,
    choose,
    first_run,
    has_bfloat16,
    unit_vectors,
)
from vitrina.embedder.quiet import quiet_transformers
from vitrina.embedder.text_config import TextForm, read_form, write_form
from vitrina.embedder.tokenizer_check import check_token, check_tokenizer
from vitrina.embedder.untrusted import check_finite, is_panic, loading
from vitrina.errors import EncoderError
from vitrina.malloc import keep_freed
from vitrina.parallel import map_ahead
from vitrina.stage_timer import stage
from vitrina.store.damage import reason_of
from vitrina.threads import one_thread_each, workers
from vitrina.types import Compute, Modality, Pooling, Vectors

BATCH_TOKENS = {"cpu": 1024, "cuda": 65_536, "mps": 8192}
"""Tokens per batch, by device: on a CPU few enough for one core's cache, on a GPU enough to
fill it."""

WINDOW = 4096
"""Texts tokenised and sorted by length together, while the model runs on the previous ones."""

PROBES = (
    "Кружка керамическая 350 мл, белая",
    "Платье женское летнее, размер 44-46, хлопок",
    "Чехол для Samsung Galaxy A51 силиконовый прозрачный",
    "Nike Women Tempo Purple Shorts",
    "Конструктор 256 деталей для мальчиков от 6 лет. Пластик, яркие цвета, развивает моторику.",
    "Чудо йогурт пер/дын 2,4% 290гр*10шт",
    "USB-C 65W",
    "Набор отвёрток слесарных CrV, 8 предметов, в пластиковом кейсе",
    "Apparel Topwear Tshirts. Men Navy Blue Printed T-shirt, regular fit, 100% cotton, Summer 2012",
    "Сумка женская через плечо, экокожа. Размер: 25х18х8 см. Цвет: чёрный. Застёжка: молния. "
    "Длина ремня регулируется. Внутри одно отделение и карман для телефона. Подходит для города, "
    "прогулок и поездок, хорошо держит форму и легко чистится влажной салфеткой.",
)

Tokens = Sequence[Sequence[int]]


class TextRunner(Protocol):
    """A backend that runs a text model."""

    def pooled(self, tokens: Tokens) -> torch.Tensor:
        """Pooled vectors of token lists: (len(tokens), dim) float32, not normalised."""
        ...


class HuggingFaceText:
    """Text encoder: a loaded Hugging Face model."""

    def __init__(
        self, folder: Path, model: str, revision: str | None, compute: Compute | None = None
    ) -> None:
        what = f"{model}: {folder} does not load as a text model"
        found = load_parts(folder, model, what, onnx=True)
        config, tokenizer, network = found.config, found.tokenizer, found.network
        form = found.form
        settings = {
            "format": 1,
            "architecture": type(network).__name__,
            "activation": getattr(config, "hidden_act", None),
            "layer_norm_eps": getattr(config, "layer_norm_eps", None),
            "heads": getattr(config, "num_attention_heads", None),
            "tokenizer": tokenizer.backend_tokenizer.to_str(),
            "pooling": form.pooling.value,
            "max_length": form.max_length,
            "normalised": True,
        }
        used = weights(network).items()
        taken = fingerprint({name: a for name, a in used if not unused(name)}, settings)
        pad = tokenizer.pad_token_id or 0
        self._tokenize = tokenizing(tokenizer, found.limit, pad, found.rows)
        self._dim = int(config.hidden_size) * form.pooling.width
        self._device = best_device()
        keep_freed()
        self._budget = BATCH_TOKENS[self._device.type]
        self._compute, self._network = self._choose(network, pad, form, compute, taken, model)
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
            },
        )

    @stage("compiling and choosing numbers")
    def _choose(
        self, model: Any, pad: int, form: TextForm, requested: Compute | None, taken: str, name: str
    ) -> tuple[Compute, TextRunner]:
        tokens = sorted(self._tokenize(PROBES), key=len, reverse=True)

        def probe(network: TextRunner) -> Vectors:
            with one_thread_each():
                return self._run(network, tokens)

        own = PaddedModel(model.to(self._device), form.pooling, pad, self._device)
        with first_run(name):
            exact = probe(own)
        check_probes(exact, name)
        bert = read_bert(model)

        def packed(dtype: torch.dtype) -> TextRunner:
            if bert is None:
                return PaddedModel(copy.deepcopy(model).to(dtype), form.pooling, pad, self._device)
            runner = PlainRunner(bert.stack, self._device, dtype)
            return PackedBert(bert, runner, form.pooling, self._device)

        def exactly() -> TextRunner:
            read = packed(torch.float32) if bert else own
            # A model that was converted wrongly runs with its own code.
            return read if agreement(exact, probe(read)) >= AGREEMENT[Compute.FLOAT32] else own

        makers: dict[Compute, Callable[[], TextRunner]] = {Compute.FLOAT32: exactly}
        if has_bfloat16(self._device) and not isinstance(model, OnnxNetwork):
            makers[Compute.BFLOAT16] = partial(packed, torch.bfloat16)
        if bert and self._device.type == "cpu" and has_int8():
            makers[Compute.INT8] = partial(_in_int8, bert, form.pooling, self._device)
        return choose(makers, probe, exact, requested, fingerprint=taken)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Texts to (len(texts), dim) float32, L2-normalised, in the order given.

        Duplicate texts are encoded once. Not thread-safe. Raises EncoderError if memory does not
        suffice for a single text, or vectors are not finite.
        """
        unique = list(dict.fromkeys(texts))
        out = np.empty((len(unique), self._dim), dtype=np.float32)
        side_by_side = workers(self._device)
        with one_thread_each():
            for batch, vectors in map_ahead(self._encode, self._batches(unique), side_by_side):
                out[batch] = vectors
        if len(unique) == len(texts):
            return out
        place = {text: at for at, text in enumerate(unique)}
        return out[[place[text] for text in texts]]

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Tokens]]:
        windows = (texts[at : at + WINDOW] for at in range(0, len(texts), WINDOW))
        start = 0
        for tokens in map_ahead(self._tokenize, windows, 2 if len(texts) > WINDOW else 1):
            for batch in token_batches([len(ids) for ids in tokens], self._budget):
                yield [start + at for at in batch], [tokens[at] for at in batch]
            start += len(tokens)

    def _encode(self, batch: tuple[list[int], Tokens]) -> tuple[list[int], Vectors]:
        vectors = self._run(self._network, batch[1])
        check_numbers(vectors, self.card.model)
        return batch[0], vectors

    def _run(self, network: TextRunner, tokens: Tokens) -> Vectors:
        def smaller(batch: Tokens) -> None:
            self._budget = max(len(batch[0]), self._budget // 2)

        return unit_vectors(
            network.pooled,
            tokens,
            smaller=smaller,
            alone=lambda text: f"a text of {len(text[0])} tokens",
        )


@dataclass(frozen=True)
class TextParts:
    """Parts of a loaded text model. rows: of its word embedding. limit: maximum tokens of a text,
    the lower of the form's limit and the number of positions."""

    config: Any
    tokenizer: Any
    network: Any
    form: TextForm
    rows: int
    limit: int


def load_parts(
    folder: Path,
    model: str,
    what: str,
    *,
    from_scratch: bool = False,
    seed: int = 0,
    onnx: bool = False,
) -> TextParts:
    """Load an untrusted Hugging Face model directory with transformers.

    model: its name. what: start of error messages. from_scratch: use random weights. seed: random
    seed of these. onnx: whether an ONNX graph serves, which can be run, but not trained or saved.

    Raises EncoderError if the directory is unsafe, damaged, incomplete or inconsistent.
    """
    budget = check_text_folder(folder, model, from_scratch=from_scratch)
    with (
        loading(what, budget),
        quiet_transformers(),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(seed)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # Any other value makes transformers look for code, locally or on the hub.
        if config._attn_implementation not in ("eager", "sdpa"):
            config._attn_implementation = None
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        if not tokenizer.is_fast:
            raise EncoderError(f"{model}: {folder} has no fast tokenizer (tokenizer.json)")
        if from_scratch:
            make: Any = AutoModel
            network = make.from_config(config, trust_remote_code=False)
        elif (graph := graph_of(folder)) is not None:
            if not onnx:
                raise EncoderError(
                    f"{model}: {graph} can be run, but not trained or exported; "
                    "use a directory with safetensors weights"
                )
            network = OnnxNetwork(graph, folder, config)
        else:
            network = load_network(folder, config)
        check_finite(network, f"{model}: {folder}")
        table = network.get_input_embeddings().weight
        form = read_form(folder, config, tokenizer)
        limit = min(form.max_length, positions(network))
        if limit < 3:
            raise ValueError(f"it takes texts of {limit} tokens")
        check_tokenizer(tokenizer, len(table), PROBES, f"{model}: {folder}")
    return TextParts(config, tokenizer, network, form, len(table), limit)


def positions(network: Any) -> int:
    """Maximum tokens of a text: usable rows of the position embedding, or 1,000,000 without one."""
    table = getattr(getattr(network, "embeddings", None), "position_embeddings", None)
    if not isinstance(table, torch.nn.Embedding):
        return 1_000_000
    # RoBERTa numbers positions from the padding token's index plus one.
    first = 0 if table.padding_idx is None else table.padding_idx + 1
    return len(table.weight) - first


def tokenizing(
    tokenizer: Any, limit: int, pad: int, rows: int
) -> Callable[[Sequence[str]], Tokens]:
    """Create a function from texts to token lists.

    It calls the tokenizer's core without the wrapper of transformers, at about twice the speed.
    limit: maximum tokens of a text. pad: the token of an empty text. rows: of the word embedding.
    The function raises EncoderError for a token without a row, and if the core fails.
    """
    core = tokenizer.backend_tokenizer
    core.no_padding()
    core.enable_truncation(limit, direction=tokenizer.truncation_side)
    what = str(tokenizer.name_or_path)

    def tokenize(texts: Sequence[str]) -> Tokens:
        try:
            encoded = core.encode_batch_fast(list(texts))
        except BaseException as err:
            if not isinstance(err, Exception) and not is_panic(err):
                raise
            raise EncoderError(f"{what}: its tokenizer fails: {reason_of(err)}") from err
        lists = [one.ids or [pad] for one in encoded]
        check_token(max(map(max, lists), default=0), rows, what)
        return lists

    return tokenize


def _in_int8(bert: Bert, pooling: Pooling, device: torch.device) -> TextRunner:
    return PackedBert(bert, Int8Runner(bert.stack), pooling, device)


def load_network(folder: Path, config: Any) -> Any:
    """Load a directory's model with transformers, in float32. Raises its exceptions, and ValueError
    for missing weights."""
    # safetensors only: a pickled checkpoint could run code, and so could the repository.
    network, report = AutoModel.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    # transformers initialises missing weights at random.
    lacking = sorted(name for name in report["missing_keys"] if not unused(name))
    if lacking:
        raise ValueError(f"its weights lack {lacking[0]} and {len(lacking) - 1} more")
    return network.eval()


def save_model(folder: Path, network: Any, tokenizer: Any, form: TextForm) -> None:
    """Write a model in the form of transformers and sentence-transformers."""
    with quiet_transformers():
        network.save_pretrained(folder, safe_serialization=True)
        tokenizer.save_pretrained(folder)
    write_form(folder, form, int(network.config.hidden_size))


def unused(weight: str) -> bool:
    """Check that a weight does not affect token vectors: BERT's pooler over the first token."""
    return weight.startswith("pooler.")


class PaddedModel:
    """Runs a model with transformers' own code, each batch padded to its longest text."""

    def __init__(self, model: Any, pooling: Pooling, pad: int, device: torch.device) -> None:
        self._model, self._pooling, self._pad, self._device = model, pooling, pad, device

    def pooled(self, tokens: Tokens) -> torch.Tensor:
        """As `TextRunner.pooled`."""
        width = max(len(ids) for ids in tokens)
        ids = torch.full((len(tokens), width), self._pad)
        mask = torch.zeros((len(tokens), width), dtype=torch.long)
        for row, line in enumerate(tokens):
            ids[row, : len(line)] = torch.tensor(line)
            mask[row, : len(line)] = 1
        mask = mask.to(self._device)
        hidden = self._model(input_ids=ids.to(self._device), attention_mask=mask)
        return pool(hidden.last_hidden_state.float(), mask, self._pooling)


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Pool token vectors (batch, tokens, dim) float32 by a 0/1 mask (batch, tokens) to
    (batch, dim * pooling.width)."""
    if pooling is Pooling.CLS:
        return hidden[:, 0]
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    if pooling is Pooling.MAX:
        return hidden.masked_fill(weight == 0, -torch.inf).amax(dim=1)
    length = weight.sum(dim=1).clamp(min=1)
    divisor = length.sqrt() if pooling is Pooling.MEAN_SQRT_LEN else length
    pooled = (hidden * weight).sum(dim=1) / divisor
    return torch.cat([hidden[:, 0], pooled], 1) if pooling is Pooling.CLS_MEAN else pooled


def token_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Split texts into batches of similar length, longest first.

    lengths: tokens of each text. budget: tokens per batch, padding included; a longer text forms
    its own batch. Yields positions; each appears exactly once.
    """
    order = sorted(range(len(lengths)), key=lambda at: (-lengths[at], at))
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size
