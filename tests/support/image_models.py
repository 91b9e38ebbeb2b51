"""Small image models with random weights, in the forms that timm and open_clip keep."""

import json
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from safetensors.torch import save_file


def write_timm(folder: Path, name: str = "test_vit", **pretrained_cfg: Any) -> Path:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0).eval()
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    whole = {**model.pretrained_cfg, "num_classes": 0, **pretrained_cfg}
    config = {"architecture": name, "num_classes": 0, "pretrained_cfg": whole}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_clip(folder: Path, seed: int = 0, head: int = 16, size: int = 32, **options: Any) -> Path:
    """A CLIP of two layers with random weights, in open_clip's local form."""
    torch.manual_seed(seed)
    vision = {"image_size": size, "layers": 2, "width": 32, "head_width": head, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, **options}
    clip = open_clip.CLIP(**config)
    folder.mkdir()
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    whole = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    return folder
