"""Loading of transformers' image models: CLIP, SigLIP, DINOv2, DINOv3 and ViT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as library

from vitrina.embedder.image_models import ImageParts
from vitrina.embedder.image_processor import PREPROCESSOR, read_preprocessing
from vitrina.embedder.inference.vision import VisionTower
from vitrina.embedder.quiet import quiet_transformers
from vitrina.embedder.untrusted import check_finite, loading
from vitrina.embedder.vision_folder import (
    TowerFolder,
    VisionKind,
    check_modules,
    check_vision_folder,
    transformers_folder,
)
from vitrina.errors import EncoderError

PROJECTION = "visual_projection.weight"

_CHOICES = (
    "hidden_act",
    "image_size",
    "layer_norm_eps",
    "num_attention_heads",
    "num_register_tokens",
    "patch_size",
    "pos_embed_rescale",
    "rope_theta",
)
"""Settings of a config that determine the output but appear in neither the weights nor the
network's `str`."""

_CLASSES = {
    VisionKind.SIGLIP: "SiglipVisionModel",
    VisionKind.SIGLIP_VISION: "SiglipVisionModel",
    VisionKind.DINOV2: "Dinov2Model",
    VisionKind.DINOV2_REGISTERS: "Dinov2WithRegistersModel",
    VisionKind.DINOV3: "DINOv3ViTModel",
    VisionKind.DINOV3_CONVNEXT: "DINOv3ConvNextModel",
    VisionKind.VIT: "ViTModel",
}


def transformers_parts(
    folder: Path, model: str, size: int | None = None, *, from_scratch: bool = False
) -> ImageParts:
    """Load an image model from a directory of transformers or sentence-transformers.

    The vector is the one that users of the library take: CLIP's projected image embedding
    (`get_image_features`), SigLIP's and DINO's `pooler_output`, and of ViT the last layer's class
    token, since most ViTs come without a trained pooler.

    Raises EncoderError if the directory is unsafe, damaged, incomplete or of an unsupported kind,
    or `size` is another than the model's.
    """
    check_modules(folder)
    own = transformers_folder(folder)
    checked = check_vision_folder(own, model, from_scratch=from_scratch)
    preprocessing = read_preprocessing(own, checked.kind.processor)
    if size is not None and preprocessing.size != (size, size):
        height, width = preprocessing.size
        raise EncoderError(
            f"{model} takes pictures of {height}x{width} pixels, not {size}x{size}; leave the "
            "size out, or train a model of timm or open_clip"
        )
    what = f"{model}: {own} does not load as a {checked.kind} model"
    with loading(what, checked.budget), quiet_transformers():
        tower, pooled = _tower(checked)
        check_finite(tower, f"{model}: {own}")
    network = VisionTower(tower.eval(), preprocessing.size, pooled)

    def save(place: Path) -> None:
        with quiet_transformers():
            tower.save_pretrained(place, safe_serialization=True)
        text = json.dumps(preprocessing.source, indent=2) + "\n"
        (place / PREPROCESSOR).write_text(text, encoding="utf-8")

    choices = {name: getattr(tower.config, name, None) for name in _CHOICES}
    settings = {"library": "transformers", "config": choices}
    edge, pixels = preprocessing.edge, preprocessing.size[1]
    return ImageParts(network, preprocessing.transform, edge, pixels, settings, save)


def _tower(checked: TowerFolder[VisionKind]) -> tuple[Any, Callable[[Any], torch.Tensor]]:
    """A directory's image tower, and the vector of its output."""
    whole = library.AutoConfig.from_pretrained(
        checked.folder, local_files_only=True, trust_remote_code=False
    )
    kind = checked.kind
    config: Any = whole
    if kind in (VisionKind.CLIP, VisionKind.SIGLIP):
        config = whole.vision_config
    if kind is VisionKind.CLIP:
        # CLIPModel projects to its own size, whatever the tower's config says.
        config.projection_dim = whole.projection_dim
    # Any other value makes transformers look for code, locally or on the hub.
    if config._attn_implementation not in ("eager", "sdpa"):
        config._attn_implementation = None
    if kind in (VisionKind.CLIP, VisionKind.CLIP_VISION):
        if checked.has(PROJECTION):
            tower = load_tower(checked, "CLIPVisionModelWithProjection", config)
            return tower, lambda output: output.image_embeds
        return load_tower(checked, "CLIPVisionModel", config), _pooler
    if kind is VisionKind.VIT:
        tower = load_tower(checked, "ViTModel", config, add_pooling_layer=False)
        return tower, lambda output: output.last_hidden_state[:, 0]
    if getattr(config, "vision_use_head", True) is False:
        raise ValueError("it has no pooling head, and so no vector of a picture")
    return load_tower(checked, _CLASSES[kind], config), _pooler


def _pooler(output: Any) -> torch.Tensor:
    pooled: torch.Tensor = output.pooler_output
    return pooled


def load_tower(checked: TowerFolder[Any], name: str, config: Any, **options: Any) -> Any:
    """Load a network of transformers in float32. name: of its class. options: of its constructor.

    Raises the library's exceptions, and ValueError for missing weights.
    """
    kind = getattr(library, name)
    if checked.weights is None:
        return kind._from_config(config, **options)
    network, report = kind.from_pretrained(
        checked.folder,
        config=config,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        **options,
    )
    # transformers initialises missing weights at random.
    lacking = sorted(report["missing_keys"])
    if lacking:
        raise ValueError(f"its weights lack {lacking[0]} and {len(lacking) - 1} more")
    if report["mismatched_keys"]:
        raise ValueError("its weights are of other shapes than its configuration says")
    return network
