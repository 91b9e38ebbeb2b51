"""Loading of text models with transformers: configuration, tokenizer, network and form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer

from vitrina.embedder.model_folder import check_text_folder
from vitrina.embedder.onnx_graph import graph_of
from vitrina.embedder.onnx_text import OnnxNetwork
from vitrina.embedder.probes import PROBES
from vitrina.embedder.quiet import quiet_transformers
from vitrina.embedder.text_config import TextForm, read_form, with_lower_case, write_form
from vitrina.embedder.text_modules import read_modules
from vitrina.embedder.text_settings import TextSettings
from vitrina.embedder.tokenizer_check import check_tokenizer, token_ids
from vitrina.embedder.untrusted import check_finite, loading
from vitrina.errors import EncoderError

Tokens: TypeAlias = Sequence[Sequence[int]]

ENCODERS = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "longt5": "LongT5EncoderModel",
}
"""Classes of transformers that load the encoder of an encoder-decoder alone, by model type."""


@dataclass(frozen=True)
class TextParts:
    """Parts of a loaded text model. place: folder of the network. rows: of its word embedding.
    limit: maximum tokens of a text, the lower of the form's limit and the number of positions."""

    place: Path
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
    settings: TextSettings | None = None,
    from_scratch: bool = False,
    seed: int = 0,
    onnx: bool = False,
) -> TextParts:
    """Load an untrusted Hugging Face model directory with transformers.

    model: its name. what: start of error messages. settings: the user's, None for the model's own.
    from_scratch: use random weights. seed: random seed of these. onnx: whether an ONNX graph
    serves, which can be run, but not trained or saved.

    Raises EncoderError if the directory is unsafe, damaged, incomplete or inconsistent.
    """
    settings = settings or TextSettings()
    modules = read_modules(folder)
    if modules.static:
        raise EncoderError(
            f"{model}: {folder} is a table of token vectors, which can be embedded with, but not "
            "trained or exported; take a transformer model"
        )
    place = modules.place
    budget = check_text_folder(place, model, from_scratch=from_scratch)
    with (
        loading(what, budget),
        quiet_transformers(),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(seed)
        config = AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=False)
        # Any other value makes transformers look for code, locally or on the hub.
        if config._attn_implementation not in ("eager", "sdpa"):
            config._attn_implementation = None
        tokenizer: Any = AutoTokenizer.from_pretrained(
            place, local_files_only=True, trust_remote_code=False
        )
        if not tokenizer.is_fast:
            raise EncoderError(f"{model}: {place} has no fast tokenizer (tokenizer.json)")
        network = _from_scratch(config) if from_scratch else _loaded(place, config, model, onnx)
        check_finite(network, f"{model}: {place}")
        table = network.get_input_embeddings().weight
        form = read_form(folder, config, tokenizer, settings, modules)
        form = form.fitted(int(network.config.hidden_size), settings, model)
        if form.lower_case:
            with_lower_case(tokenizer.backend_tokenizer)
        limit = min(form.max_length, positions(network))
        if limit < 3:
            raise ValueError(f"it takes texts of {limit} tokens")
        check_tokenizer(tokenizer, len(table), PROBES, f"{model}: {place}")
    return TextParts(place, config, tokenizer, network, form, len(table), limit)


def _loader(config: Any) -> Any:
    """The class that loads a configuration's network."""
    name = ENCODERS.get(config.model_type)
    return AutoModel if name is None else getattr(transformers, name)


def _loaded(place: Path, config: Any, model: str, onnx: bool) -> Any:
    """The network of a directory: its weights, or else its ONNX graph."""
    graph = graph_of(place)
    if graph is None:
        return load_network(place, config)
    if not onnx:
        raise EncoderError(
            f"{model}: {graph} can be run, but not trained or exported; "
            "use a directory with safetensors weights"
        )
    return OnnxNetwork(graph, place, config)


def _from_scratch(config: Any) -> Any:
    loader = _loader(config)
    if config.model_type in ENCODERS:
        return loader(config)
    return loader.from_config(config, trust_remote_code=False)


def positions(network: Any) -> int:
    """Maximum tokens of a text: usable rows of the position embedding, or 1,000,000 without one."""
    table = getattr(getattr(network, "embeddings", None), "position_embeddings", None)
    if not isinstance(table, torch.nn.Embedding):
        return 1_000_000
    # RoBERTa numbers positions from the padding token's index plus one.
    first = 0 if table.padding_idx is None else table.padding_idx + 1
    return len(table.weight) - first


def tokenizing(
    tokenizer: Any, limit: int, pad: int, rows: int, prompt: str = ""
) -> Callable[[Sequence[str]], Tokens]:
    """Create a function from texts to token lists.

    It calls the tokenizer's core without the wrapper of transformers, at about twice the speed.
    limit: maximum tokens of a text. pad: the token of an empty text. rows: of the word embedding.
    prompt: before every text. The function raises EncoderError for a token without a row, and if
    the core fails.
    """
    core = tokenizer.backend_tokenizer
    core.no_padding()
    core.enable_truncation(limit, direction=tokenizer.truncation_side)
    what = str(tokenizer.name_or_path)

    def tokenize(texts: Sequence[str]) -> Tokens:
        lists = token_ids(core, [prompt + one for one in texts], rows, what)
        return [ids or [pad] for ids in lists]

    return tokenize


def load_network(folder: Path, config: Any) -> Any:
    """Load a directory's model with transformers, in float32. Raises its exceptions, and ValueError
    for missing weights."""
    # safetensors only: a pickled checkpoint could run code, and so could the repository.
    network, report = _loader(config).from_pretrained(
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
