"""Checks of a directory with an image model or a text tower of transformers, before the library
reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import msgspec

from vitrina.embedder.model_folder import (
    CLIP_CONFIG,
    CONFIG,
    MOST_EDGE,
    MOST_JSON_BYTES,
    Heads,
    Inner,
    Layers,
    Width,
    check_tokenizer_files,
    check_transformers,
)
from vitrina.embedder.untrusted import Budget
from vitrina.embedder.weight_files import WAY_OUT, Weights, check_file, read_weights
from vitrina.errors import EncoderError
from vitrina.options import listed
from vitrina.typed_json import convert_json, read_json, read_json_as

MODULES = "modules.json"
NAFLEX = "siglip2"
"""Type of the SigLIP 2 whose pictures keep their shape; of a fixed resolution it is `siglip`."""

Edge = Annotated[int, msgspec.Meta(ge=1, le=MOST_EDGE)]
Epsilon = Annotated[float, msgspec.Meta(ge=0, le=1)]
Few = Annotated[int, msgspec.Meta(ge=0, le=1000)]

Kind = TypeVar("Kind")


class VisionKind(StrEnum):
    """Kinds of image models, by the `model_type` of transformers."""

    CLIP = "clip"
    CLIP_VISION = "clip_vision_model"
    SIGLIP = "siglip"
    SIGLIP_VISION = "siglip_vision_model"
    DINOV2 = "dinov2"
    DINOV2_REGISTERS = "dinov2_with_registers"
    DINOV3 = "dinov3_vit"
    DINOV3_CONVNEXT = "dinov3_convnext"
    VIT = "vit"

    @property
    def processor(self) -> str:
        """Start of the name of its image processor's class, if the files name none."""
        match self:
            case VisionKind.CLIP | VisionKind.CLIP_VISION:
                return "CLIP"
            case VisionKind.SIGLIP | VisionKind.SIGLIP_VISION:
                return "Siglip"
            case VisionKind.DINOV2 | VisionKind.DINOV2_REGISTERS:
                return "Bit"
            case VisionKind.DINOV3 | VisionKind.DINOV3_CONVNEXT:
                return "DINOv3ViT"
        return "ViT"


class TextTowerKind(StrEnum):
    """Kinds of models with a text tower beside an image tower, by the `model_type`."""

    CLIP = "clip"
    CLIP_TEXT = "clip_text_model"
    SIGLIP = "siglip"
    SIGLIP_TEXT = "siglip_text_model"


@dataclass(frozen=True)
class TowerConfig:
    """The sizes in the config of one tower; None: the library's default."""

    hidden_size: Width | None = None
    hidden_sizes: Annotated[list[Width], msgspec.Meta(max_length=16)] | None = None
    num_hidden_layers: Layers | None = None
    num_attention_heads: Heads | None = None
    intermediate_size: Inner | None = None
    projection_dim: Width | None = None
    image_size: Edge | Annotated[list[Edge], msgspec.Meta(min_length=2, max_length=2)] | None = None
    patch_size: Edge | Annotated[list[Edge], msgspec.Meta(min_length=2, max_length=2)] | None = None
    num_channels: Annotated[int, msgspec.Meta(ge=3, le=3)] | None = None
    num_register_tokens: Few | None = None
    max_position_embeddings: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    vocab_size: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None
    layer_norm_eps: Epsilon | None = None
    depths: Annotated[list[Layers], msgspec.Meta(max_length=16)] | None = None


@dataclass(frozen=True)
class TwoTowerConfig(TowerConfig):
    """The fields of a `config.json` that are checked: of one tower, or of two."""

    model_type: str | None = None
    vision_config: TowerConfig = field(default_factory=TowerConfig)
    text_config: TowerConfig = field(default_factory=TowerConfig)


@dataclass(frozen=True)
class TowerFolder(Generic[Kind]):
    """A checked directory. weights: its tensors; None if they are to be random."""

    folder: Path
    kind: Kind
    weights: Weights | None

    @property
    def budget(self) -> Budget:
        """Limits for loading it."""
        if self.weights is None:
            return Budget()
        return Budget.of(self.weights.numbers, len(self.weights.tensors))

    def has(self, ending: str) -> bool:
        """True if a tensor's name ends so, or the weights are random."""
        return self.weights is None or any(name.endswith(ending) for name in self.weights.tensors)


@dataclass(frozen=True)
class _Module:
    """A layer listed in `modules.json`. path: of its folder."""

    type: str
    path: str = ""


def transformers_folder(folder: Path) -> Path:
    """The folder of a model's own files: `0_CLIPModel` of sentence-transformers, or the folder.

    Raises EncoderError for a path outside the folder.
    """
    modules = _modules(folder)
    path = Path(modules[0].path) if modules else Path()
    if path.is_absolute() or ".." in path.parts:
        raise EncoderError(f"{folder / MODULES} names {str(path)!r}, outside it")
    return folder / path


def check_modules(folder: Path) -> None:
    """Raise EncoderError for layers of sentence-transformers after the model."""
    for module in _modules(folder)[1:]:
        kind = module.type.rpartition(".")[2]
        if kind != "Normalize":
            raise EncoderError(
                f"{folder / MODULES} adds a {kind} layer, which Vitrina does not run"
            )


def _modules(folder: Path) -> list[_Module]:
    path = folder / MODULES
    if not path.exists():
        return []
    check_file(path, MOST_JSON_BYTES)
    return read_json_as(path, list[_Module], WAY_OUT, EncoderError)


def model_type(folder: Path) -> str | None:
    """The type of a transformers model in a directory; None if it has none, or is timm's."""
    path = transformers_folder(folder) / CONFIG
    if not path.exists():
        return None
    check_file(path, MOST_JSON_BYTES)
    raw = read_json(path, WAY_OUT, EncoderError)
    if not isinstance(raw, dict) or "architecture" in raw or "model_type" not in raw:
        return None
    return str(raw["model_type"])


def has_text_tower(folder: Path) -> bool:
    """True for the directory of a model with a text tower of CLIP's kind."""
    kind = model_type(folder)
    # Beside open_clip's files there may be those of transformers or timm for the same model.
    return kind in set(TextTowerKind) or (kind is None and (folder / CLIP_CONFIG).exists())


def check_vision_folder(
    folder: Path, model: str, *, from_scratch: bool = False
) -> TowerFolder[VisionKind]:
    """Check the directory of an image model of transformers.

    Raises EncoderError for a kind of model that Vitrina doesn't run, sizes beyond its limits,
    settings that would run code, and missing or damaged weights.
    """
    path, kind = _checked(folder)
    if kind == NAFLEX:
        raise EncoderError(
            f"{path} is a SigLIP 2 for pictures of any shape (NaFlex), which Vitrina does not "
            "run; take the SigLIP 2 of a fixed resolution, such as "
            "hf:google/siglip2-base-patch16-224"
        )
    if kind not in set(VisionKind):
        raise EncoderError(
            f"{model}: {path} is of type {kind!r}, no image model that Vitrina runs; give a "
            f"directory of open_clip or timm, or of transformers and of type {listed(VisionKind)}"
        )
    return TowerFolder(folder, VisionKind(kind), None if from_scratch else read_weights(folder))


def check_text_tower(folder: Path, model: str) -> TowerFolder[TextTowerKind]:
    """Check the directory of a transformers model with a text tower of CLIP's kind; as
    `check_vision_folder`."""
    path, kind = _checked(folder)
    if kind not in set(TextTowerKind):
        raise EncoderError(f"{model}: {path} is of type {kind!r}, which has no text tower")
    check_tokenizer_files(folder, model)
    return TowerFolder(folder, TextTowerKind(kind), read_weights(folder))


def _checked(folder: Path) -> tuple[Path, str | None]:
    """A directory's `config.json`, checked, and its `model_type`."""
    path = folder / CONFIG
    check_file(path, MOST_JSON_BYTES)
    raw = read_json(path, WAY_OUT, EncoderError)
    config = convert_json(raw, TwoTowerConfig, str(path), WAY_OUT, EncoderError)
    for part in (raw, raw.get("vision_config"), raw.get("text_config")):
        if isinstance(part, dict):
            check_transformers(path, part)
    return path, config.model_type
