"""Layers after the pooling, as `modules.json` of sentence-transformers lists them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as fn

from vitrina.embedder.text_modules import Module, check_inside
from vitrina.embedder.weight_files import (
    WAY_OUT,
    WEIGHTS,
    TensorEntry,
    check_converted,
    check_file,
    read_header,
)
from vitrina.errors import EncoderError
from vitrina.store.damage import blamed_on
from vitrina.typed_json import read_json_as

MOST_BYTES = 1 << 20
SENTENCE = "sentence_embedding"
TANH = "torch.nn.modules.activation.Tanh"
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Tanh": torch.tanh,
    "Identity": lambda x: x,
    "ReLU": torch.relu,
    "GELU": fn.gelu,
    "SiLU": fn.silu,
    "Sigmoid": torch.sigmoid,
    "LeakyReLU": fn.leaky_relu,
    "ELU": fn.elu,
    "Mish": fn.mish,
    "Softplus": fn.softplus,
    "Softsign": fn.softsign,
}
"""Activations of a Dense layer by the name of their class in torch.nn, with its defaults."""

Width = Annotated[int, msgspec.Meta(ge=1, le=65_536)]


@dataclass(frozen=True)
class _DenseConfig:
    in_features: Width
    out_features: Width
    bias: bool = True
    activation_function: str | None = TANH
    module_input_name: str = SENTENCE
    module_output_name: str | None = None
    use_residual: bool = False


@dataclass(frozen=True)
class _NormConfig:
    dimension: Width


@dataclass(frozen=True, eq=False)
class Dense:
    """A linear layer with an activation. weight: (out, in) float32. bias: (out,). residual: whether
    the input is added to the output; skip: (out, in), its projection if the widths differ."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    activation: str
    residual: bool = False
    skip: torch.Tensor | None = None

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in) to (n, out) float32."""
        out = ACTIVATIONS[self.activation](fn.linear(x, self.weight, self.bias))
        if self.residual:
            out = out + (x if self.skip is None else fn.linear(x, self.skip))
        return out


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """Layer normalisation. weight, bias: (dim,) float32."""

    weight: torch.Tensor
    bias: torch.Tensor

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """(n, dim) to (n, dim) float32."""
        return fn.layer_norm(x, self.weight.shape, self.weight, self.bias)


@dataclass(frozen=True)
class Normalize:
    """Scaling to unit L2 length."""

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """(n, dim) to (n, dim) float32."""
        return fn.normalize(x, dim=-1)


Layer: TypeAlias = Dense | LayerNorm | Normalize


@dataclass(frozen=True)
class TextLayers:
    """Layers after the pooling, in order. A scaling at the end is left out, as all vectors are
    normalised in the end."""

    layers: tuple[Layer, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.layers)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled vectors, (n, width) float32, to (n, dim)."""
        for layer in self.layers:
            x = layer.apply(x)
        return x

    def dim(self, width: int) -> int:
        """Dimension of their output. width: of their input."""
        for layer in self.layers:
            if isinstance(layer, Dense):
                width = len(layer.weight)
        return width

    def check_width(self, width: int, what: str) -> None:
        """Raise EncoderError if they take vectors of another dimension. what: names the model."""
        for number, layer in enumerate(self.layers):
            if isinstance(layer, Normalize):
                continue
            taken = layer.weight.shape[-1]
            if taken != width:
                raise EncoderError(
                    f"{what}: layer {number + 1} after its pooling takes vectors of {taken} "
                    f"numbers, and gets {width}; use the pooling and layers of one model"
                )
            width = len(layer.weight)

    def to(self, device: torch.device) -> TextLayers:
        """Return a copy of the layers on a device."""

        def moved(layer: Layer) -> Layer:
            if isinstance(layer, Normalize):
                return layer
            named: dict[str, Any] = {name: one.to(device) for name, one in _tensors(layer).items()}
            return replace(layer, **named)

        return TextLayers(tuple(moved(layer) for layer in self.layers))

    def settings(self) -> list[str]:
        """The layers as the fingerprint covers them, weights apart."""
        return [_described(layer) for layer in self.layers]

    def arrays(self) -> dict[str, Any]:
        """Their weights, as the fingerprint covers them."""
        return {
            f"after.{number}.{name}": one.cpu().numpy()
            for number, layer in enumerate(self.layers)
            for name, one in _tensors(layer).items()
        }

    def write(self, folder: Path, first: int) -> list[tuple[str, str]]:
        """Write them in the form of sentence-transformers, each into a folder of its own. first:
        number of the first one. Returns the path and type of each."""
        places = []
        for number, layer in enumerate(self.layers, first):
            kind = type(layer).__name__
            place = folder / f"{number}_{kind}"
            place.mkdir(exist_ok=True)
            config, tensors = _stored(layer)
            (place / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
            if tensors:
                contiguous = {name: one.cpu().contiguous() for name, one in tensors.items()}
                save_file(contiguous, place / WEIGHTS, metadata={"format": "pt"})
            places.append((place.name, kind))
        return places


def read_layers(folder: Path, modules: Sequence[Module]) -> TextLayers:
    """Read the layers after the pooling. Raises EncoderError for others than these, and for files
    that are damaged, do not fit or lie elsewhere."""
    layers: list[Layer] = []
    for module in modules:
        match module.kind:
            case "Normalize":
                layers.append(Normalize())
            case "Dense":
                layers.append(_read_dense(folder, module))
            case "LayerNorm":
                layers.append(_read_norm(folder, module))
            case _:
                # Dropout has no effect outside training.
                pass
    while layers and isinstance(layers[-1], Normalize):
        layers.pop()
    return TextLayers(tuple(layers))


def _read_dense(folder: Path, module: Module) -> Dense:
    place = folder / module.path
    path = place / "config.json"
    config = _read(folder, path, _DenseConfig)
    name = (config.activation_function or TANH).rpartition(".")[2]
    if name not in ACTIVATIONS or not (config.activation_function or TANH).startswith("torch.nn."):
        raise EncoderError(
            f"{path} names the activation {_quoted(config.activation_function)}, which Vitrina "
            f"does not run; it runs those of torch.nn: {', '.join(ACTIVATIONS)}"
        )
    if config.module_input_name != SENTENCE or config.module_output_name not in (None, SENTENCE):
        raise EncoderError(f"{path} is a layer over token vectors, which Vitrina does not run")
    shape = [config.out_features, config.in_features]
    wanted = {"linear.weight": shape}
    if config.bias:
        wanted["linear.bias"] = shape[:1]
    projected = config.use_residual and config.in_features != config.out_features
    if projected:
        wanted["residual.weight"] = shape
    found = _read_tensors(folder, place / WEIGHTS, wanted)
    return Dense(
        found["linear.weight"],
        found.get("linear.bias"),
        name,
        config.use_residual,
        found.get("residual.weight"),
    )


def _read_norm(folder: Path, module: Module) -> LayerNorm:
    place = folder / module.path
    config = _read(folder, place / "config.json", _NormConfig)
    shape = [config.dimension]
    wanted = {"norm.weight": shape, "norm.bias": shape}
    found = _read_tensors(folder, place / WEIGHTS, wanted)
    return LayerNorm(found["norm.weight"], found["norm.bias"])


def _read(folder: Path, path: Path, kind: type[Any]) -> Any:
    check_inside(folder, path)
    check_file(path, MOST_BYTES)
    return read_json_as(path, kind, WAY_OUT, EncoderError)


def _read_tensors(
    folder: Path, path: Path, wanted: dict[str, list[int]]
) -> dict[str, torch.Tensor]:
    """Read the tensors of a layer, in float32. wanted: shape of each."""
    check_inside(folder, path)
    check_converted(path.parent, folder)
    header = read_header(path)
    for name, shape in wanted.items():
        entry = header.get(name)
        if entry is None or entry.shape != shape or not entry.dtype.startswith(("F", "BF")):
            raise EncoderError(
                f"{path} has {_shown(entry)} for {name}, and its config.json says "
                f"{' x '.join(map(str, shape))}; {WAY_OUT}"
            )
    with blamed_on(str(path), WAY_OUT, EncoderError), safe_open(path, "pt") as file:
        found = {name: file.get_tensor(name).float() for name in wanted}
    for name, one in found.items():
        if not bool(one.isfinite().all()):
            raise EncoderError(f"{path}: {name} holds NaN or infinity; are its weights damaged?")
    return found


def _shown(entry: TensorEntry | None) -> str:
    if entry is None:
        return "nothing"
    return f"{' x '.join(map(str, entry.shape)) or 'one number'} of {entry.dtype}"


def _quoted(value: str | None) -> str:
    return json.dumps((value or "")[:100])


def _tensors(layer: Layer) -> dict[str, torch.Tensor]:
    names = ("weight", "bias", "skip")
    found = {name: getattr(layer, name, None) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def _described(layer: Layer) -> str:
    if isinstance(layer, Dense):
        return f"Dense {layer.activation}{' residual' * layer.residual}"
    return type(layer).__name__


def _stored(layer: Layer) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The configuration and weights of a layer, as sentence-transformers names them."""
    if isinstance(layer, LayerNorm):
        tensors = {"norm.weight": layer.weight, "norm.bias": layer.bias}
        return {"dimension": len(layer.weight)}, tensors
    if isinstance(layer, Normalize):
        return {}, {}
    out, taken = layer.weight.shape
    module = "linear" if layer.activation == "Identity" else "activation"
    config = {
        "in_features": taken,
        "out_features": out,
        "bias": layer.bias is not None,
        "activation_function": f"torch.nn.modules.{module}.{layer.activation}",
    }
    if layer.residual:
        config["use_residual"] = True
    tensors = {"linear.weight": layer.weight}
    if layer.bias is not None:
        tensors["linear.bias"] = layer.bias
    if layer.skip is not None:
        tensors["residual.weight"] = layer.skip
    return config, tensors
