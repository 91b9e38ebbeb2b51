"""Loading of image models from weights on disk: open_clip's image towers and timm's models."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from PIL.Image import Image
from safetensors.torch import save_file
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from vitrina.embedder.model_folder import (
    CLIP_CONFIG,
    MOST_EDGE,
    check_clip_folder,
    check_timm_folder,
)
from vitrina.embedder.model_ref import ModelKind, ModelRef
from vitrina.embedder.quiet import quiet_logging, without_random_weights_warning
from vitrina.embedder.untrusted import Budget, check_finite, loading, noting_missing
from vitrina.errors import EncoderError

CLIP_WEIGHTS = "open_clip_model.safetensors"


@dataclass(frozen=True, eq=False)
class ImageParts:
    """Parts of an image model.

    network: (n, 3, size, size) to (n, dim) float32. transform: one RGB image to (3, size, size).
    edge: the shortest edge, in pixels, that the transform scales to. settings: further settings
    that determine the output. save: writes the current network to a folder that
    `clip_folder_parts` or `timm_parts` reads.
    """

    network: torch.nn.Module
    transform: Callable[[Image], torch.Tensor]
    edge: int
    size: int
    settings: dict[str, Any]
    save: Callable[[Path], None]


def clip_parts(arch: str, tag: str | None, size: int | None = None) -> ImageParts:
    """Create the image tower of a CLIP model by architecture and weights.

    tag: name of published weights (already in the cache) or a checkpoint file; None for random
    weights. size: input pixels; None for the architecture's default.
    Raises EncoderError if the weights were trained with another activation.
    """
    if tag is not None:
        check_activation(arch, tag)
    elif open_clip.get_model_config(arch) is None:
        raise EncoderError(f"open_clip has no architecture {arch}; see open_clip.list_models()")
    config = open_clip.get_model_config(arch) or {}
    with quiet_logging():
        if tag is not None and _is_foreign(config):
            with without_random_weights_warning():
                clip, _, transform = open_clip.create_model_and_transforms(
                    arch, load_weights=False, force_image_size=size, text_cfg=_NO_TEXT
                )
            card = open_clip.get_pretrained_cfg(arch, tag)
            _load_visual(clip, open_clip.download_pretrained(card) if card else tag)
        else:
            clip, _, transform = open_clip.create_model_and_transforms(
                arch, pretrained=tag, weights_only=True, force_image_size=size
            )
    return _tower(clip, transform, config)


def clip_folder_parts(
    folder: Path, model: str, size: int | None = None, *, from_scratch: bool = False
) -> ImageParts:
    """Load the image tower of a CLIP model from a directory with `open_clip_config.json`.

    Raises EncoderError if the directory holds no weights or they do not fit.
    """
    weights = None if from_scratch else clip_weights(folder, model)
    budget = check_clip_folder(folder, weights)
    with loading(f"{model}: {folder} does not load as open_clip", budget), quiet_logging():
        config = json.loads((folder / CLIP_CONFIG).read_text(encoding="utf-8"))["model_cfg"]
        foreign = _is_foreign(config)
        with without_random_weights_warning() if foreign else nullcontext():
            clip, _, transform = open_clip.create_model_and_transforms(
                f"local-dir:{folder}",
                load_weights=not from_scratch and not foreign,
                force_image_size=size,
                pretrained_image=False,
                pretrained_text=False,
                **({"text_cfg": _NO_TEXT} if foreign else {}),
            )
        if foreign and weights is not None:
            _load_visual(clip, str(weights))
        check_finite(clip.visual, f"{model}: {folder}")
        return _tower(clip, transform, config)


_NO_TEXT = {"context_length": 2, "vocab_size": 2, "width": 8, "heads": 1, "layers": 1}
"""Text tower in place of one that open_clip would look for on the hub."""


def _is_foreign(config: dict[str, Any]) -> bool:
    """True if the text tower is a model of the hub, which the image tower does not need."""
    return bool(config.get("text_cfg", {}).get("hf_model_name"))


def _load_visual(clip: Any, weights: str) -> None:
    """Load the image tower's weights alone. Raises RuntimeError if some are missing."""
    loaded = open_clip.factory.load_state_dict(weights, weights_only=True)
    state = {name: one for name, one in loaded.items() if name.startswith("visual.")}
    open_clip.factory.resize_pos_embed(state, clip)
    clip.visual.load_state_dict({name.removeprefix("visual."): state[name] for name in state})


def clip_weights(folder: Path, model: str) -> Path:
    """The weights file that open_clip loads."""
    there = sorted(folder.glob("*.safetensors"))
    if not there:
        raise EncoderError(f"{model}: {folder} has no .safetensors weights")
    preferred = (CLIP_WEIGHTS, "open_clip_pytorch_model.safetensors", "model.safetensors")
    for name in preferred:
        if folder / name in there:
            return folder / name
    # open_clip prefers a pickled file with one of its default names over any other file.
    if any(folder.glob("*.bin")) or any(folder.glob("*.pth")):
        raise EncoderError(f"{model}: {folder} has pickled weights; keep only {CLIP_WEIGHTS}")
    return there[0]


def _tower(clip: Any, transform: Any, config: dict[str, Any]) -> ImageParts:
    size = clip.visual.image_size
    edge = min(size) if isinstance(size, tuple | list) else int(size)

    def save(folder: Path) -> None:
        pixels = list(size) if isinstance(size, tuple | list) else size
        own = {**config, "vision_cfg": {**config["vision_cfg"], "image_size": pixels}}
        # The size is the model's own; the rest is not to be taken from defaults.
        kept = ("mean", "std", "interpolation", "resize_mode", "fill_color")
        preprocess = {name: clip.visual.preprocess_cfg[name] for name in kept}
        config_json = {"model_cfg": own, "preprocess_cfg": preprocess}
        (folder / CLIP_CONFIG).write_text(
            json.dumps(config_json, indent=1) + "\n", encoding="utf-8"
        )
        weights = {
            name: one.float().contiguous()
            for name, one in clip.state_dict().items()
            # A text tower that was not loaded is not to be saved.
            if name.startswith("visual.") or not _is_foreign(config)
        }
        save_file(weights, folder / CLIP_WEIGHTS)

    return ImageParts(clip.visual, transform, edge, edge, {}, save)


def check_activation(arch: str, tag: str) -> None:
    """Check that weights and architecture have the same activation; a mismatch would silently give
    worse vectors.

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


def timm_parts(
    folder: Path, model: str, size: int | None = None, *, from_scratch: bool = False
) -> ImageParts:
    """Load a timm model from a directory with `config.json` and `model.safetensors`.

    Raises EncoderError if it has no weights or they do not fit.
    """
    if not from_scratch and not (folder / "model.safetensors").exists():
        raise EncoderError(f"{model}: {folder} has no model.safetensors")
    budget = check_timm_folder(folder, from_scratch=from_scratch)
    make = partial(timm.create_model, f"local-dir:{folder}", pretrained=not from_scratch)
    return _timm(make, f"{model}: {folder} does not load as a timm model", size, budget)


def timm_random(name: str, size: int | None = None) -> ImageParts:
    """Create a timm model by name, with random weights.

    Raises EncoderError if timm knows no such model.
    """
    make = partial(timm.create_model, name, pretrained=False)
    return _timm(make, "timm can't make it", size, Budget())


def _timm(make: Callable[..., Any], what: str, size: int | None, budget: Budget) -> ImageParts:
    with loading(what, budget), quiet_logging():
        with noting_missing() as missing:
            network = make(num_classes=0)
        if missing:
            raise ValueError(f"its weights lack {missing[0]} and {len(missing) - 1} more")
        check_finite(network, what)
        if size is not None and hasattr(network, "set_input_size"):
            network.set_input_size(img_size=size)
        return _timm_parts(network, size)


def _timm_parts(network: Any, size: int | None) -> ImageParts:
    given = {} if size is None else {"input_size": (3, size, size)}
    config: dict[str, Any] = resolve_model_data_config(network, args=given)  # type: ignore[no-untyped-call]
    transform = create_transform(**config, is_training=False)
    # The transform scales to more than the crop, so decoding must keep at least that size.
    edge = round(min(config["input_size"][1:]) / config["crop_pct"])
    if not 0 < edge <= 2 * MOST_EDGE:
        raise ValueError(f"it takes pictures of {edge} pixels")

    def save(folder: Path) -> None:
        timm.models.save_for_hf(
            network, str(folder), data_config=given or None, safe_serialization=True
        )

    return ImageParts(network, transform, edge, int(config["input_size"][-1]), config, save)


def timm_repository(name: str) -> str:
    """The hub repository of a timm model's weights.

    Raises EncoderError if timm has no such model, or no weights on the hub.
    """
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise EncoderError(f"timm has no weights on the hub for {name}; see timm.list_pretrained()")
    return str(config.hf_hub_id)


def weights_repository(model: ModelRef) -> str | None:
    """The hub repository of the weights of an open_clip or timm model; None if it has none.

    Raises EncoderError if timm has no such model.
    """
    if model.kind is ModelKind.TIMM:
        return timm_repository(model.place)
    arch, _, tag = model.place.partition("/")
    card = open_clip.get_pretrained_cfg(arch, tag) or {}
    return str(card.get("hf_hub") or "").rstrip("/") or None
