"""Pooling and length limit of a text model, from the config files beside its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vitrina.embedder.weight_files import WAY_OUT, check_file
from vitrina.errors import EncoderError
from vitrina.options import listed
from vitrina.typed_json import read_json_as
from vitrina.types import Pooling

MOST_BYTES = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True)
class _Module:
    """A layer listed in `modules.json`. path: of its folder."""

    type: str
    path: str = ""


@dataclass(frozen=True)
class _Length:
    max_seq_length: int | None = None


@dataclass(frozen=True)
class TextForm:
    """A text model's pooling and maximum input length in tokens."""

    pooling: Pooling
    max_length: int


def read_form(folder: Path, config: Any, tokenizer: Any) -> TextForm:
    """Read pooling and length limit from a model's directory.

    Both come from the sentence-transformers files if the model has them. Otherwise the pooling is
    the mean, the default of sentence-transformers.
    Raises EncoderError for a pooling that is not one of `Pooling`, for other layers, and for files
    that are damaged or refer to paths outside the directory.
    """
    pooling = Pooling.MEAN
    for module in _read_optional(folder / "modules.json", list[_Module]) or []:
        kind = module.type.rpartition(".")[2]
        if kind == "Pooling":
            if Path(module.path).is_absolute() or ".." in Path(module.path).parts:
                raise EncoderError(f"{folder}/modules.json names {module.path!r}, outside it")
            pooling = _pooling(folder / module.path / "config.json")
        elif kind not in ("Transformer", "Normalize"):
            raise EncoderError(f"{folder} adds a {kind} layer, which Vitrina does not run")
    limits = [tokenizer.model_max_length, getattr(config, "max_position_embeddings", None)]
    limits.append(
        (_read_optional(folder / "sentence_bert_config.json", _Length) or _Length()).max_seq_length
    )
    known = [int(limit) for limit in limits if limit and 0 < limit < 1_000_000]
    return TextForm(pooling, min(known, default=512))


def _pooling(path: Path) -> Pooling:
    config = _read_optional(path, dict[str, Any]) or {}
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        chosen = [str(one) for one in mode] if isinstance(mode, list) else [str(mode)]
    else:
        names = {
            "pooling_mode_cls_token": "cls",
            "pooling_mode_mean_tokens": "mean",
            "pooling_mode_max_tokens": "max",
            "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
        }
        chosen = [names.get(key, key) for key, on in config.items() if on is True]
        chosen = [name for name in chosen if name != "include_prompt"]
    # Several poolings are concatenated, in the fixed order of sentence-transformers.
    named = "+".join(sorted(chosen))
    if named not in set(Pooling):
        raise EncoderError(f"{path} requires pooling {chosen}; Vitrina supports {listed(Pooling)}")
    return Pooling(named)


def _read_optional(path: Path, kind: type[T]) -> T | None:
    if not path.exists():
        return None
    check_file(path, MOST_BYTES)
    return read_json_as(path, kind, WAY_OUT, EncoderError)


def write_form(folder: Path, form: TextForm, dim: int) -> None:
    """Write the files that `read_form` and sentence-transformers read. dim: of a token vector."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    module_list = [
        {
            "idx": number,
            "name": str(number),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, (path, kind) in enumerate(modules)
    ]
    names = {
        Pooling.CLS: "pooling_mode_cls_token",
        Pooling.MEAN: "pooling_mode_mean_tokens",
        Pooling.MAX: "pooling_mode_max_tokens",
        Pooling.MEAN_SQRT_LEN: "pooling_mode_mean_sqrt_len_tokens",
    }
    pooling = {"word_embedding_dimension": dim}
    parts = form.pooling.split("+")
    pooling |= {name: kind.value in parts for kind, name in names.items()}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    for name, value in (
        ("modules.json", module_list),
        ("1_Pooling/config.json", pooling),
        ("sentence_bert_config.json", {"max_seq_length": form.max_length, "do_lower_case": False}),
        ("config_sentence_transformers.json", {"prompts": {}, "similarity_fn_name": "cosine"}),
    ):
        (folder / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
