"""From weights on the disk to an image encoder: open_clip's towers and timm's models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import timm
from safetensors import SafetensorError
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from vitrina.embedder.image import TorchImage
from vitrina.embedder.quiet import quiet_logging
from vitrina.errors import EncoderError
from vitrina.types import Compute


def open_clip_image(arch: str, tag: str, model: str, compute: Compute | None = None) -> TorchImage:
    """The image tower of a CLIP model by architecture and weights.

    tag: a name of published weights (already in the cache) or a checkpoint file.
    Raises EncoderError if the architecture's activation is not the weights' own.
    """
    check_activation(arch, tag)
    with quiet_logging():
        clip, _, transform = open_clip.create_model_and_transforms(
            arch, pretrained=tag, weights_only=True
        )
    return _tower(clip, transform, model, None, compute)


def open_clip_folder(
    folder: Path, model: str, revision: str | None = None, compute: Compute | None = None
) -> TorchImage:
    """The image tower of a CLIP model from a directory with `open_clip_config.json`.

    Raises EncoderError if the directory holds no weights or they do not fit.
    """
    if not any(folder.glob("*.safetensors")):
        raise EncoderError(f"{model}: {folder} has no .safetensors weights")
    try:
        with quiet_logging():
            clip, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    except (RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as err:
        raise EncoderError(f"{model}: {folder} does not load as open_clip: {err}") from err
    return _tower(clip, transform, model, revision, compute)


def _tower(
    clip: Any, transform: Any, model: str, revision: str | None, compute: Compute | None
) -> TorchImage:
    size = clip.visual.image_size
    edge = min(size) if isinstance(size, tuple | list) else int(size)
    return TorchImage(
        clip.visual,
        transform,
        edge,
        model=model,
        revision=revision,
        settings={},
        compute=compute,
    )


def check_activation(arch: str, tag: str) -> None:
    """Refuse weights under an architecture with another activation: the vectors would be worse
    with nothing to show it.

    Raises EncoderError naming the architecture to use.
    """
    config = open_clip.get_model_config(arch)
    if config is None:
        raise EncoderError(f"open_clip has no architecture {arch}; see open_clip.list_models()")
    weights_card = open_clip.get_pretrained_cfg(arch, tag)
    if not weights_card:
        if Path(tag).is_file():
            return
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(arch)) or "none"
        raise EncoderError(f"open_clip has no weights {tag} for {arch}; it has: {tags}")
    wanted, given = bool(weights_card.get("quick_gelu")), bool(config.get("quick_gelu"))
    if wanted != given:
        right = f"{arch}-quickgelu" if wanted else arch.removesuffix("-quickgelu")
        known = right != arch and open_clip.get_pretrained_cfg(right, tag)
        raise EncoderError(
            f"the weights {tag} were trained {'with' if wanted else 'without'} QuickGELU, which "
            f"{arch} {'lacks' if wanted else 'has'}; "
            f"{f'use open_clip:{right}/{tag}' if known else 'see open_clip.list_pretrained()'}"
        )


def timm_folder(
    folder: Path, model: str, revision: str | None = None, compute: Compute | None = None
) -> TorchImage:
    """A timm model from a directory with its `config.json` and `model.safetensors`.

    Raises EncoderError if it has no weights or they do not fit.
    """
    if not (folder / "model.safetensors").exists():
        raise EncoderError(f"{model}: {folder} has no model.safetensors")
    try:
        with quiet_logging():
            network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    except (RuntimeError, ValueError, KeyError, SafetensorError) as err:
        raise EncoderError(f"{model}: {folder} does not load as a timm model: {err}") from err
    config: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    transform = create_transform(**config, is_training=False)
    # The preprocessing scales to more than it crops, so decoding must not go below that.
    edge = round(min(config["input_size"][1:]) / config["crop_pct"])
    return TorchImage(
        network,
        transform,
        edge,
        model=model,
        revision=revision,
        settings=config,
        compute=compute,
    )


def timm_repository(name: str) -> str:
    """The hub's repository of a timm model's weights.

    Raises EncoderError if timm knows no such model, or only weights that lie elsewhere.
    """
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise EncoderError(f"timm has no weights on the hub for {name}; see timm.list_pretrained()")
    return str(config.hf_hub_id)
