"""Image vectors from open_clip and timm models, each with the preprocessing of its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import open_clip
import timm
import torch
from PIL import Image as Pillow
from PIL.Image import Image
from safetensors import SafetensorError
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from vitrina.embedder.base import EncoderCard
from vitrina.embedder.fingerprint import fingerprint, weights
from vitrina.embedder.precision import best_device, lower_precision
from vitrina.embedder.quiet import quiet_logging
from vitrina.errors import EncoderError
from vitrina.types import Floats, Modality, Vectors

BATCH_IMAGES = 32

SILENT_CHOICES = ("num_heads", "scale", "global_pool", "pool_type")
"""Attributes of a module that decide its output and show in neither its weights nor its text."""


class TorchImage:
    """A loaded image model: its preprocessing, and a network from pixels to a vector."""

    def __init__(
        self,
        network: torch.nn.Module,
        transform: Callable[[Image], torch.Tensor],
        edge: int,
        *,
        model: str,
        revision: str | None,
        settings: dict[str, Any],
    ) -> None:
        self._network: Any = network.eval()
        self._transform = transform
        self._edge = edge
        self._device = best_device()
        settings = {
            "format": 1,
            "network": str(network),
            "choices": _choices(network),
            "transform": str(transform),
            "normalised": True,
            **settings,
        }
        taken = fingerprint(weights(network), settings)
        # Convolutions run several times faster on a CPU when channels lie side by side.
        self._network.to(self._device).to(memory_format=torch.channels_last)
        self._dtype = torch.float32
        probes = [self.prepare(image) for image in _probes()]
        dim = self.encode(probes[:1]).shape[1]
        self._dtype = lower_precision(self._network, lambda: self._encode_as_is(probes))
        compute = f"{self._dtype} on {self._device.type}".removeprefix("torch.")
        self.card = EncoderCard(
            modality=Modality.IMAGE,
            model=model,
            revision=revision,
            fingerprint=taken,
            dim=dim,
            details={"edge": edge, "transform": str(transform), "compute": compute},
        )

    @property
    def edge(self) -> int:
        """The shortest edge, in pixels, that the preprocessing scales an image to."""
        return self._edge

    def prepare(self, image: Image) -> Floats:
        """One RGB image to (3, height, width) float32; thread-safe."""
        return cast("Floats", self._transform(image).numpy())

    def encode(self, prepared: Sequence[Floats]) -> Vectors:
        """Prepared images to (len(prepared), dim) float32, L2-normalised."""
        parts = [
            self._encode_as_is(prepared[start : start + BATCH_IMAGES])
            for start in range(0, len(prepared), BATCH_IMAGES)
        ]
        return np.concatenate(parts)

    def _encode_as_is(self, prepared: Sequence[Floats]) -> Vectors:
        dtype = next(self._network.parameters()).dtype
        stacked = torch.from_numpy(np.stack(prepared))
        pixels = stacked.to(self._device, dtype, memory_format=torch.channels_last)
        with torch.inference_mode():
            vectors = torch.nn.functional.normalize(self._network(pixels).float(), dim=1)
        return cast("Vectors", vectors.cpu().numpy())


def open_clip_image(arch: str, tag: str, model: str) -> TorchImage:
    """The image tower of a CLIP model by architecture and weights.

    tag: a name of published weights (already in the cache) or a checkpoint file.
    Raises EncoderError if the architecture's activation is not the weights' own.
    """
    check_activation(arch, tag)
    with quiet_logging():
        clip, _, transform = open_clip.create_model_and_transforms(
            arch, pretrained=tag, weights_only=True
        )
    return _tower(clip, transform, model, None)


def open_clip_folder(folder: Path, model: str, revision: str | None = None) -> TorchImage:
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
    return _tower(clip, transform, model, revision)


def _tower(clip: Any, transform: Any, model: str, revision: str | None) -> TorchImage:
    size = clip.visual.image_size
    edge = min(size) if isinstance(size, tuple | list) else int(size)
    return TorchImage(clip.visual, transform, edge, model=model, revision=revision, settings={})


def _choices(network: torch.nn.Module) -> list[str]:
    return [
        f"{name}.{choice}={value}"
        for name, module in network.named_modules()
        for choice in SILENT_CHOICES
        if isinstance(value := getattr(module, choice, None), str | int | float)
    ]


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


def timm_folder(folder: Path, model: str, revision: str | None = None) -> TorchImage:
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
    return TorchImage(network, transform, edge, model=model, revision=revision, settings=config)


def timm_repository(name: str) -> str:
    """The hub's repository of a timm model's weights.

    Raises EncoderError if timm knows no such model, or only weights that lie elsewhere.
    """
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise EncoderError(f"timm has no weights on the hub for {name}; see timm.list_pretrained()")
    return str(config.hf_hub_id)


def _probes() -> list[Image]:
    """Eight smooth colour images, the same on every machine."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, size=(8, 7, 7, 3), dtype=np.uint8)
    return [
        Pillow.fromarray(pixels).resize((224, 224), Pillow.Resampling.BICUBIC) for pixels in small
    ]
