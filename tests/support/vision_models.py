"""Tiny image models with random weights, as their own libraries save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from support.image_models import write_clip

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
WORDS = {**SMALL, "vocab_size": 60, "max_position_embeddings": 16}
SIZE = 48
"""Pixels of the tiny models' input."""


def preprocessing(kind: str, **settings: Any) -> Any:
    """An image processor of transformers, which scales and crops to the tiny models' size."""
    return getattr(transformers, f"{kind}ImageProcessor")(**settings)


def clip_processor() -> Any:
    return preprocessing("CLIP", size={"shortest_edge": SIZE + 8}, crop_size=SIZE)


def exact_processor(kind: str) -> Any:
    return preprocessing(kind, size={"height": SIZE, "width": SIZE})


def clip_config(**vision: Any) -> Any:
    tower = {**SMALL, "image_size": SIZE, "patch_size": 16, "projection_dim": 24, **vision}
    words = {**WORDS, "projection_dim": 24, "bos_token_id": 57, "eos_token_id": 58}
    return transformers.CLIPConfig(vision_config=tower, text_config=words, projection_dim=24)


def siglip_config() -> Any:
    return transformers.SiglipConfig(
        vision_config={**SMALL, "image_size": SIZE, "patch_size": 16}, text_config=WORDS
    )


def write_vision(folder: Path, network: Any, processor: Any) -> Path:
    """A model as transformers saves it. Random biases and norms, since those that transformers
    initialises are zeros and ones, which hide a step that is left out."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, one in network.named_parameters():
            if one.ndim == 1 and one.numel() > 1:
                one.add_(0.2 * torch.randn_like(one))
            elif "position" in name or "_token" in name:
                one.copy_(torch.randn_like(one))
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def hf_clip(folder: Path, **vision: Any) -> Path:
    torch.manual_seed(0)
    return write_vision(folder, transformers.CLIPModel(clip_config(**vision)), clip_processor())


def hf_clip_tower(folder: Path) -> Path:
    torch.manual_seed(0)
    config = clip_config().vision_config
    network = transformers.CLIPVisionModelWithProjection(config)
    return write_vision(folder, network, clip_processor())


def siglip(folder: Path) -> Path:
    torch.manual_seed(0)
    network = transformers.SiglipModel(siglip_config())
    return write_vision(folder, network, exact_processor("Siglip"))


def naflex(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.Siglip2Config(
        vision_config={**SMALL, "num_patches": 16, "patch_size": 16}, text_config=WORDS
    )
    folder.mkdir()
    network = transformers.Siglip2Model(config)
    network.save_pretrained(folder)
    transformers.Siglip2ImageProcessor().save_pretrained(folder)
    return folder


def dinov2(folder: Path, registers: int = 0) -> Path:
    torch.manual_seed(0)
    shape = {
        **{key: SMALL[key] for key in SMALL if key != "intermediate_size"},
        # The positions are interpolated, as of the published models.
        "image_size": 80,
        "patch_size": 16,
        "mlp_ratio": 2,
    }
    if registers:
        config = transformers.Dinov2WithRegistersConfig(num_register_tokens=registers, **shape)
        network: Any = transformers.Dinov2WithRegistersModel(config)
    else:
        network = transformers.Dinov2Model(transformers.Dinov2Config(**shape))
    processor = preprocessing("Bit", size={"shortest_edge": SIZE + 8}, crop_size=SIZE)
    return write_vision(folder, network, processor)


def dinov3(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.DINOv3ViTConfig(
        **SMALL, image_size=SIZE, patch_size=16, num_register_tokens=2
    )
    network = transformers.DINOv3ViTModel(config)
    return write_vision(folder, network, exact_processor("DINOv3ViT"))


def vit(folder: Path, classes: int | None = None) -> Path:
    torch.manual_seed(0)
    config = transformers.ViTConfig(**SMALL, image_size=SIZE, patch_size=16)
    if classes:
        config.num_labels = classes
        network: Any = transformers.ViTForImageClassification(config)
    else:
        network = transformers.ViTModel(config)
    return write_vision(folder, network, exact_processor("ViT"))


def st_clip(folder: Path) -> Path:
    """As sentence-transformers kept `clip-ViT-B-32`."""
    folder.mkdir()
    hf_clip(folder / "0_CLIPModel")
    module = {"idx": 0, "name": "0", "path": "0_CLIPModel"}
    kind = "sentence_transformers.models.CLIPModel"
    (folder / "modules.json").write_text(json.dumps([{**module, "type": kind}]))
    return folder


def multilingual(folder: Path) -> Path:
    """open_clip's XLM-R with a ViT, whose text tower's configuration is on the hub."""
    write_clip(folder, quick_gelu=True)
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"] = {
        "hf_model_name": "nobody/there-is-no-such-model",
        "hf_tokenizer_name": "nobody/there-is-no-such-model",
        "hf_pooler_type": "mean_pooler",
    }
    path.write_text(json.dumps(config))
    weights = load_file(folder / "open_clip_model.safetensors")
    visual = {name: one for name, one in weights.items() if name.startswith("visual.")}
    words = {"text.transformer.embeddings.word_embeddings.weight": torch.randn(9, 8)}
    save_file({**visual, **words}, folder / "open_clip_model.safetensors")
    # What the reference needs: the same image tower beside a text tower of open_clip's own.
    whole = folder.parent / f"{folder.name}-whole"
    if not whole.exists():
        write_clip(whole, quick_gelu=True)
    return folder


def photos(count: int = 4, seed: int = 0) -> list[Image.Image]:
    """Pictures without fine detail, of several shapes."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, size=(count, 6, 8, 3), dtype=np.uint8)
    sizes = [(160, 120), (90, 150), (64, 64), (301, 200)]
    return [
        Image.fromarray(one).resize(sizes[at % 4], Image.Resampling.BICUBIC)
        for at, one in enumerate(patches)
    ]
