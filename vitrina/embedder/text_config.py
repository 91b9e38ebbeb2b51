"""Form of a text model: everything around its network, from the config files beside its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as InOrder

from vitrina.embedder.text_layers import TextLayers, read_layers
from vitrina.embedder.text_modules import MOST_BYTES, TextModules, check_inside, read_modules
from vitrina.embedder.text_settings import DIM, PROMPT, Prompts, TextSettings
from vitrina.embedder.weight_files import WAY_OUT, check_file
from vitrina.errors import EncoderError, wrong_usage
from vitrina.options import listed
from vitrina.typed_json import read_json_as
from vitrina.types import Pooling

T = TypeVar("T")

DEFAULT_LENGTH = 512
"""Maximum tokens of a text for a model that names no limit."""

LENGTH_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Files with settings of the network, by former and present versions of sentence-transformers."""

_POOLINGS = {
    "pooling_mode_cls_token": Pooling.CLS,
    "pooling_mode_max_tokens": Pooling.MAX,
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_mean_sqrt_len_tokens": Pooling.MEAN_SQRT_LEN,
    "pooling_mode_weightedmean_tokens": Pooling.WEIGHTED_MEAN,
    "pooling_mode_lasttoken": Pooling.LAST_TOKEN,
}
"""Poolings by their flags, in the order in which sentence-transformers concatenates them."""


@dataclass(frozen=True)
class _Network:
    """Settings of the network in sentence-transformers."""

    max_seq_length: int | None = None
    do_lower_case: bool = False


@dataclass(frozen=True)
class _Model:
    """Settings of the whole model in sentence-transformers."""

    prompts: dict[str, str | None] | None = None
    default_prompt_name: str | None = None
    truncate_dim: int | None = None


@dataclass(frozen=True)
class TextForm:
    """Everything around the network of a text model that determines its vectors.

    Attributes:
        pooling: of token vectors.
        max_length: maximum tokens of a text, the prompt included.
        prompt: before every text; empty for none.
        query_prompt: before a search query; None for `prompt`.
        lower_case: whether texts are lower-cased before the tokenizer's own rules.
        layers: after the pooling.
        dim: number of leading components kept; None for all.
    """

    pooling: Pooling
    max_length: int
    prompt: str = ""
    query_prompt: str | None = None
    lower_case: bool = False
    layers: TextLayers = field(default_factory=TextLayers)
    dim: int | None = None

    def vector_dim(self, width: int) -> int:
        """Dimension of a text's vector. width: of a token's."""
        return self.dim or self.layers.dim(width * self.pooling.width)

    def fitted(self, width: int, settings: TextSettings, what: str) -> TextForm:
        """This form for a network; a dimension that is the model's own is none to set.

        width: of a token's vector. settings: the user's. what: names the model. Raises EncoderError
        for layers that don't fit, and for a given dimension that is larger than the model's.
        """
        self.layers.check_width(width * self.pooling.width, what)
        own = self.layers.dim(width * self.pooling.width)
        check_dim(settings, own, what)
        return replace(self, dim=None) if (self.dim or own) >= own else self

    def finished(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled vectors, (n, width) float32, to text vectors (n, dim), not normalised."""
        return self.layers.apply(pooled)[:, : self.dim]

    def settings(self) -> dict[str, Any]:
        """Settings that the fingerprint covers in addition to pooling, limit and tokenizer. Only
        those that are set, so that other models keep their fingerprints."""
        found: dict[str, Any] = {}
        if self.prompt:
            found[PROMPT] = self.prompt
        if self.layers:
            found["layers"] = self.layers.settings()
        if self.dim is not None:
            found[DIM] = self.dim
        return found

    def details(self, settings: TextSettings) -> dict[str, Any]:
        """These settings as an encoder's card describes and remembers them. settings: those that
        the user gave."""
        found: dict[str, Any] = {}
        if self.prompt or settings.prompt is not None:
            found[PROMPT] = self.prompt
        if self.query_prompt is not None:
            found["query_prompt"] = self.query_prompt
        if self.layers:
            found["layers"] = self.layers.settings()
        if self.dim is not None:
            found[DIM] = self.dim
        return found


def check_dim(settings: TextSettings, own: int, what: str) -> None:
    """Raise EncoderError for a larger dimension than a model's own. what: names the model."""
    if settings.dim is not None and settings.dim > own:
        raise wrong_usage(
            EncoderError(f"--dim {settings.dim} is above the {own} numbers of a vector of {what}")
        )


def read_form(
    folder: Path,
    config: Any,
    tokenizer: Any,
    settings: TextSettings | None = None,
    modules: TextModules | None = None,
) -> TextForm:
    """Read the form of a model from its directory.

    It comes from the sentence-transformers files if the model has them. Otherwise the pooling is
    the mean, the default of sentence-transformers. config, tokenizer: of transformers. settings:
    the user's, which precede the files'. modules: of the directory, if they were read already.

    Raises EncoderError for poolings and layers that Vitrina does not run, and for files that are
    damaged or refer to paths outside the directory.
    """
    modules = modules or read_modules(folder)
    settings = settings or TextSettings()
    pooling = Pooling.MEAN
    if modules.pooling is not None:
        path = modules.pooling / "config.json"
        check_inside(folder, path)
        pooling, whole = _pooling(path)
    network = _network(modules.place)
    model = read_model_settings(folder, settings)
    if model.prompt and modules.pooling is not None and not whole:
        raise EncoderError(
            f"{path} leaves the prompt out of the pooling, which Vitrina does not do; set "
            "include_prompt to true, or give --text-prompt ''"
        )
    limits = [network.max_seq_length or tokenizer.model_max_length]
    limits.append(getattr(config, "max_position_embeddings", None))
    known = [int(limit) for limit in limits if limit and 0 < limit < 1_000_000]
    return TextForm(
        pooling,
        min(known, default=DEFAULT_LENGTH),
        model.prompt,
        model.query_prompt,
        network.do_lower_case,
        read_layers(folder, modules.after),
        model.dim,
    )


@dataclass(frozen=True)
class ModelSettings:
    """Prompts and dimension of a model, as of `TextForm`."""

    prompt: str = ""
    query_prompt: str | None = None
    dim: int | None = None


def read_model_settings(folder: Path, settings: TextSettings) -> ModelSettings:
    """Read prompts and dimension from a model's directory. settings: the user's, which precede the
    files'. Raises EncoderError for damaged files."""
    path = folder / "config_sentence_transformers.json"
    model = _read_optional(folder, path, _Model) or _Model()
    named = {name: text for name, text in (model.prompts or {}).items() if text is not None}
    default = None
    if model.default_prompt_name is not None:
        # sentence-transformers always knows these two names.
        known = {"query": "", "document": "", **named}
        if model.default_prompt_name not in known:
            shown = json.dumps(model.default_prompt_name[:100], ensure_ascii=False)
            raise EncoderError(
                f"{path} names {shown} as its default prompt, and has no such prompt; {WAY_OUT}"
            )
        default = known[model.default_prompt_name]
    if model.truncate_dim is not None and model.truncate_dim < 1:
        raise EncoderError(f"{path} truncates vectors to {model.truncate_dim} numbers; {WAY_OUT}")
    prompts = Prompts(named, default)
    prompt = prompts.of_documents(settings.prompt, str(folder))
    query = prompts.of_queries(prompt)
    dim = model.truncate_dim if settings.dim is None else settings.dim
    return ModelSettings(prompt, None if query == prompt else query, dim)


def with_lower_case(core: Any) -> None:
    """Make a tokenizer's core lower-case texts first, unless it does so already."""
    before = [core.normalizer] if core.normalizer else []
    if not before or before[0].normalize_str("Ж") != "ж":
        core.normalizer = InOrder([Lowercase(), *before])


def _network(place: Path) -> _Network:
    for name in LENGTH_FILES:
        if (found := _read_optional(place, place / name, _Network)) is not None:
            return found
    return _Network()


def _pooling(path: Path) -> tuple[Pooling, bool]:
    """The pooling of a file, and whether it includes the prompt."""
    config = _read_optional(path.parent, path, dict[str, Any]) or {}
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        chosen = [str(one) for one in mode] if isinstance(mode, list) else [str(mode)]
    else:
        flags = {key: on for key, on in config.items() if key.startswith("pooling_mode")}
        known = [kind.value for key, kind in _POOLINGS.items() if flags.get(key) is True]
        other = [key for key, on in flags.items() if on is True and key not in _POOLINGS]
        chosen = [*known, *other] or [Pooling.MEAN.value] * bool(flags)
    named = "+".join(chosen)
    try:
        return Pooling(named), config.get("include_prompt", True) is not False
    except ValueError as err:
        wanted = " and ".join(_plain(one) for one in chosen[:9]) or "no"
        raise EncoderError(
            f"{path} requires {wanted} pooling; Vitrina supports {listed(_SINGLE)}, and any of "
            "these together"
        ) from err


_SINGLE = [one for one in Pooling if one.width == 1]


def _plain(name: str) -> str:
    return "".join(c for c in name if c.isalnum() or c in "_-")[:60] or "nameless"


def _read_optional(folder: Path, path: Path, kind: type[T]) -> T | None:
    if not path.exists():
        return None
    check_inside(folder, path)
    check_file(path, MOST_BYTES)
    return read_json_as(path, kind, WAY_OUT, EncoderError)


def write_form(folder: Path, form: TextForm, dim: int) -> None:
    """Write the files that `read_form` and sentence-transformers read. dim: of a token vector."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), *form.layers.write(folder, 2)]
    modules.append((f"{len(modules)}_Normalize", "Normalize"))
    pooling: dict[str, Any] = {"word_embedding_dimension": dim}
    parts = form.pooling.parts
    # Their order is that of the flags, unless the model has another.
    in_order = tuple(one for one in _POOLINGS.values() if one in parts)
    if parts == in_order:
        old = ("cls", "mean", "max", "mean_sqrt_len_tokens")
        flags = {name: kind for name, kind in _POOLINGS.items() if kind in old or kind in parts}
        pooling |= {name: kind in parts for name, kind in flags.items()}
    else:
        pooling["pooling_mode"] = [one.value for one in parts]
    network = {"max_seq_length": form.max_length, "do_lower_case": form.lower_case}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    for name, value in (
        ("modules.json", _module_list(modules)),
        ("1_Pooling/config.json", pooling),
        ("sentence_bert_config.json", network),
        ("config_sentence_transformers.json", _model_settings(form)),
    ):
        (folder / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _module_list(modules: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {
            "idx": number,
            "name": str(number),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, (path, kind) in enumerate(modules)
    ]


def _model_settings(form: TextForm) -> dict[str, Any]:
    found: dict[str, Any] = {"prompts": {}}
    if form.prompt or form.query_prompt is not None:
        query = form.prompt if form.query_prompt is None else form.query_prompt
        found["prompts"] = {"query": query, "document": form.prompt}
        found["default_prompt_name"] = "document" if form.prompt else None
    found["similarity_fn_name"] = "cosine"
    if form.dim is not None:
        found["truncate_dim"] = form.dim
    return found
