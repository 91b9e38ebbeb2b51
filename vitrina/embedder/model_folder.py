"""Checks of a model's directory before any library reads it.

The directory is untrusted. Its JSON is converted to the types that libraries rely on, and its sizes
are bounded. Settings that would make a library run code, fetch from the hub or read files elsewhere
are refused with an error that names the file.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from vitrina.embedder.onnx_graph import graph_of
from vitrina.embedder.untrusted import Budget
from vitrina.embedder.weight_files import (
    WAY_OUT,
    WEIGHTS,
    Weights,
    check_file,
    read_header,
    read_weights,
)
from vitrina.errors import EncoderError
from vitrina.typed_json import convert_json, read_json

CONFIG, CLIP_CONFIG, TOKENIZER_CONFIG = (
    "config.json",
    "open_clip_config.json",
    "tokenizer_config.json",
)
MOST_JSON_BYTES, MOST_TOKENIZER_BYTES = 16 << 20, 256 << 20
MOST_EDGE = 2048
"""Maximum input edge in pixels; twice this for the edge scaled to before cropping."""

MOST_DEPTH, MOST_ARGUMENT = 1000, 65_536
_DEPTHS = ("depth", "depths", "layers", "num_layers", "num_blocks", "repeats")

TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
)
"""Tokenizer files: with none of them, transformers creates an empty tokenizer."""

MOST_TOKENS = 10_000_000
"""Above the largest vocabularies by far."""
_LARGE_NUMBER = re.compile(rb":\s*[0-9]{8}")

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_ATTENTION = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")

# Settings that make a library import other packages, or fetch and run code.
_REFUSED = ("quantization_config", "fusion_config", "transformers_weights", "compression_config")

Layers = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Heads = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Width = Annotated[int, msgspec.Meta(ge=1, le=65_536)]
Inner = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Rows = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
Edge = Annotated[int, msgspec.Meta(ge=1, le=MOST_EDGE)]
# A list, since msgspec 0.23 crashes on bounded tuples in a union (it frees too much).
Edges = Edge | Annotated[list[Edge], msgspec.Meta(min_length=2, max_length=2)]
Colours = Annotated[list[float], msgspec.Meta(min_length=1, max_length=4)]

T = TypeVar("T")


@dataclass(frozen=True)
class TextConfig:
    """The fields of a text model's `config.json` that are checked."""

    model_type: str
    hidden_size: Width | None = None
    num_hidden_layers: Layers | None = None
    num_attention_heads: Heads | None = None
    intermediate_size: Inner | list[Inner] | None = None
    vocab_size: Rows | None = None
    max_position_embeddings: Rows | None = None
    type_vocab_size: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None = None
    layer_norm_eps: float | None = None


@dataclass(frozen=True)
class TokenizerConfig:
    """The fields of a `tokenizer_config.json` that are checked."""

    tokenizer_class: str | None = None
    model_max_length: int | float | None = None
    fast_tokenizer_files: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Colours:
    mean: Colours | None = None
    std: Colours | None = None

    def __post_init__(self) -> None:
        for numbers in (self.mean, self.std):
            if numbers is not None and len(numbers) not in (1, 3):
                raise ValueError(f"{len(numbers)} numbers for three colours")
        if not all(math.isfinite(one) and abs(one) <= 1000 for one in self.mean or ()):
            raise ValueError("a mean beyond 1000")
        if not all(1e-4 <= one <= 1000 for one in self.std or ()):
            raise ValueError("a deviation outside 0.0001 to 1000")


@dataclass(frozen=True)
class TimmSettings(_Colours):
    """A timm model's `pretrained_cfg`."""

    input_size: tuple[Annotated[int, msgspec.Meta(ge=1, le=4)], Edge, Edge] | None = None
    crop_pct: Annotated[float, msgspec.Meta(ge=0.1, le=2)] | None = None
    num_classes: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    interpolation: str | None = None
    crop_mode: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_size and min(self.input_size[1:]) / (self.crop_pct or 1) > 2 * MOST_EDGE:
            raise ValueError("scaled to too many pixels")


@dataclass(frozen=True)
class TimmConfig:
    """A timm model's `config.json`."""

    architecture: str | None = None
    model_args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VisionSettings:
    """The image tower of an `open_clip_config.json`."""

    image_size: Edges | None = None
    patch_size: Edges | None = None
    width: Width | None = None
    layers: Layers | Annotated[list[Layers], msgspec.Meta(max_length=8)] | None = None
    timm_model_name: str | None = None


@dataclass(frozen=True)
class TowerSettings:
    """The text tower of an `open_clip_config.json`."""

    context_length: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    vocab_size: Rows | None = None
    width: Width | None = None
    layers: Layers | None = None
    hf_model_name: str | None = None
    tokenizer_kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClipModel:
    """`model_cfg` of an `open_clip_config.json`."""

    embed_dim: Width
    vision_cfg: VisionSettings
    text_cfg: TowerSettings


@dataclass(frozen=True)
class ClipConfig:
    """An `open_clip_config.json`."""

    model_cfg: ClipModel
    preprocess_cfg: _Colours = field(default_factory=_Colours)


def check_text_folder(folder: Path, model: str, *, from_scratch: bool = False) -> Budget:
    """Check the directory of a Hugging Face text model.

    Returns limits for loading it. Raises EncoderError.
    """
    path, raw, config = _config(folder, CONFIG, TextConfig)
    check_transformers(path, raw)
    _check_known_type(path, config.model_type)
    if (folder / "adapter_config.json").exists():
        raise EncoderError(
            f"{folder}/adapter_config.json makes {model} an adapter of another model; merge it "
            "into that model, and give the directory of the outcome"
        )
    sharded = sorted(folder.glob("shard-*-model-*.safetensors"))
    if sharded:
        raise EncoderError(f"{sharded[0]} is a checkpoint of a training; save the model whole")
    check_tokenizer_files(folder, model)
    if from_scratch or graph_of(folder) is not None:
        return Budget()
    return _budget(read_weights(folder))


def check_transformers(path: Path, raw: dict[str, Any]) -> None:
    """Check the settings of a transformers config that could run code. raw: content of `path`.

    Raises EncoderError.
    """
    for key in _REFUSED:
        if raw.get(key) is not None:
            raise EncoderError(
                f"{path} has {key}, which Vitrina does not follow; save the model without it"
            )
    for key in ("attn_implementation", "_attn_implementation"):
        name = raw.get(key)
        if name is not None and name not in _ATTENTION:
            raise EncoderError(
                f"{path} requires the attention code {str(name)[:80]!r} by {key}; remove that line"
            )


def check_timm_folder(folder: Path, *, from_scratch: bool = False) -> Budget:
    """Check a timm model's directory; as `check_text_folder`."""
    path, raw, config = _config(folder, CONFIG, TimmConfig)
    if config.architecture is None:
        raise EncoderError(
            f"{folder} does not load as a timm model: its {CONFIG} names no architecture; give "
            "the directory of a transformers, timm or open_clip model"
        )
    settings = raw.get("pretrained_cfg", raw)
    convert_json(settings, TimmSettings, str(path), WAY_OUT, EncoderError)
    if "model_args" in raw:
        _check_timm_arguments(path, config.model_args)
    if from_scratch:
        return Budget()
    return _budget(Weights(read_header(folder / WEIGHTS)))


def check_clip_folder(folder: Path, weights: Path | None) -> Budget:
    """Check a CLIP model's directory; as `check_text_folder`. weights: None for random ones."""
    path, _, config = _config(folder, CLIP_CONFIG, ClipConfig)
    tower, text = config.model_cfg.vision_cfg, config.model_cfg.text_cfg
    if tower.timm_model_name is not None and ":" in tower.timm_model_name:
        raise EncoderError(
            f"{path} takes its image tower from {tower.timm_model_name!r}, elsewhere"
        )
    if text.hf_model_name is not None:
        named = text.hf_model_name
        if not _REPOSITORY.fullmatch(named) or Path(named).exists():
            raise EncoderError(f"{path} takes its text tower from {named!r}, no model of the hub")
    # Others would read files elsewhere, or run code.
    refused = sorted(text.tokenizer_kwargs.keys() - {"clean", "language", "strip_sep_token"})
    if refused:
        raise EncoderError(f"{path} gives the tokenizer the argument {refused[0]}; remove it")
    if weights is None:
        return Budget()
    return _budget(Weights(read_header(weights)))


def _budget(weights: Weights) -> Budget:
    return Budget.of(weights.numbers, len(weights.tensors))


def _config(folder: Path, name: str, kind: type[T]) -> tuple[Path, dict[str, Any], T]:
    path = folder / name
    check_file(path, MOST_JSON_BYTES)
    raw = read_json(path, WAY_OUT, EncoderError)
    return path, raw, convert_json(raw, kind, str(path), WAY_OUT, EncoderError)


def _check_known_type(path: Path, model_type: str) -> None:
    from transformers import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        raise EncoderError(
            f"{path} is of type {model_type!r}, which the installed transformers does not support, "
            "and code that comes with a model is never run; use a model of a supported type, "
            "or install a transformers version that supports this one"
        )


def check_tokenizer_files(folder: Path, model: str) -> None:
    """Check the files of a tokenizer. Raises EncoderError if there are none, or they are unsafe."""
    there = [name for name in TOKENIZER_FILES if (folder / name).exists()]
    if not there:
        raise EncoderError(
            f"{model}: {folder} has no tokenizer ({', '.join(TOKENIZER_FILES[:4])}), without which "
            "all words would be the same; copy the tokenizer's files next to the weights"
        )
    only_pieces = all(name.endswith(".model") for name in there)
    if only_pieces and find_spec("sentencepiece") is None:
        raise EncoderError(
            f"{model}: {folder} has its tokenizer only as {there[0]}, which needs sentencepiece: "
            "`pip install sentencepiece protobuf`, or give a directory that has tokenizer.json"
        )
    for name in there:
        check_tokenizer_file(folder / name)
    for name in ("special_tokens_map.json", "added_tokens.json", "merges.txt"):
        if (folder / name).exists():
            check_file(folder / name, MOST_TOKENIZER_BYTES)
    if (folder / TOKENIZER_CONFIG).exists():
        path, _, config = _config(folder, TOKENIZER_CONFIG, TokenizerConfig)
        for name in config.fast_tokenizer_files:
            if name != Path(name).name:
                raise EncoderError(f"{path} names {name!r}, no file of its folder; {WAY_OUT}")
            if (folder / name).exists():
                check_tokenizer_file(folder / name)


def check_tokenizer_file(path: Path) -> None:
    """Raise EncoderError for a file of a tokenizer that is missing, too large, or numbers a token
    beyond all tables."""
    check_file(path, MOST_TOKENIZER_BYTES)
    if path.name.endswith(".json"):
        _check_token_ids(path)


def _check_token_ids(path: Path) -> None:
    """The tokenizers library counts from 0 to the highest id, and notes each that is missing."""
    if not _LARGE_NUMBER.search(path.read_bytes()):
        return
    value = read_json(path, WAY_OUT, EncoderError)
    model = value.get("model") if isinstance(value, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else value
    ids = vocabulary.values() if isinstance(vocabulary, dict) else ()
    highest = max((one for one in ids if isinstance(one, int)), default=0)
    if highest >= MOST_TOKENS:
        raise EncoderError(
            f"{path} numbers a token {highest}, which no model's table has; {WAY_OUT}"
        )


def _check_timm_arguments(path: Path, arguments: dict[str, Any]) -> None:
    for key, value in arguments.items():
        # These make timm fetch weights, load them unchecked, or return lists of features.
        if key.startswith(("pretrained", "checkpoint", "feature", "cache_dir", "out_indices")):
            raise EncoderError(f"{path} gives the model the argument {key}; remove it")
        sizes = value if isinstance(value, list | tuple) else [value]
        picture = key.endswith(("img_size", "input_size"))
        most = MOST_EDGE if picture else MOST_DEPTH if key in _DEPTHS else MOST_ARGUMENT
        for one in sizes:
            numeric = isinstance(one, int | float) and not isinstance(one, bool)
            if (numeric and not abs(one) <= most) or (picture and (not numeric or one < 1)):
                raise EncoderError(f"{path} has {key} of {str(value)[:80]}, beyond 1 to {most}")
