"""Forms of directories of image models, and of models with two towers, each made tiny by its own
library."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
import transformers
from timm.data import create_transform, resolve_model_data_config

from support.clip_texts import WORDS_OF_OPEN_CLIP, features_of, write_clip_model, write_siglip_model
from support.encoder_forms import EncoderForm
from support.image_models import write_clip, write_timm
from support.vision_models import (
    dinov2,
    dinov3,
    hf_clip,
    hf_clip_tower,
    multilingual,
    naflex,
    siglip,
    st_clip,
    vit,
)
from vitrina.types import Modality


def unit(vectors: torch.Tensor) -> Any:
    return torch.nn.functional.normalize(vectors.float(), dim=1).numpy()


def by_transformers(
    kind: str, take: Callable[[Any, Any], torch.Tensor], place: str = ""
) -> Callable[[Path, list[Any]], Any]:
    """transformers' own network and image processor. take: a model and pixels to vectors."""

    def reference(folder: Path, images: list[Any]) -> Any:
        own = folder / place
        network = getattr(transformers, kind).from_pretrained(own, local_files_only=True).eval()
        processor = transformers.AutoImageProcessor.from_pretrained(own, local_files_only=True)
        with torch.inference_mode():
            pixels = processor(images=images, return_tensors="pt")["pixel_values"]
            return unit(take(network, pixels))

    return reference


def pooler(network: Any, pixels: torch.Tensor) -> torch.Tensor:
    return network(pixel_values=pixels).pooler_output


def features(network: Any, pixels: torch.Tensor) -> torch.Tensor:
    return network.get_image_features(pixel_values=pixels).pooler_output


def embeds(network: Any, pixels: torch.Tensor) -> torch.Tensor:
    return network(pixel_values=pixels).image_embeds


def first_token(network: Any, pixels: torch.Tensor) -> torch.Tensor:
    return network(pixel_values=pixels).last_hidden_state[:, 0]


def by_sentence_transformers(folder: Path, images: list[Any]) -> Any:
    from sentence_transformers import SentenceTransformer

    network = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return network.encode(images, normalize_embeddings=True)


def by_open_clip(folder: Path, images: list[Any]) -> Any:
    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.inference_mode():
        pixels = torch.stack([transform(image) for image in images])
        return network.eval().encode_image(pixels, normalize=True).numpy()


def by_open_clip_text(folder: Path, texts: list[Any]) -> Any:
    network, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        return network.eval().encode_text(tokenizer(texts), normalize=True).numpy()


def by_open_clip_image_tower(folder: Path, images: list[Any]) -> Any:
    """open_clip can't load the model offline; its image tower is that of the model beside it."""
    return by_open_clip(folder.parent / f"{folder.name}-whole", images)


def by_timm(folder: Path, images: list[Any]) -> Any:
    network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    with torch.inference_mode():
        return unit(torch.stack([network(transform(image)[None])[0] for image in images]))


def without(name: str, make: Callable[[Path], Path], folder: Path) -> Path:
    """A directory that lacks a file."""
    made = make(folder)
    (made / name).unlink()
    return made


def _made(make: Callable[..., Path], **options: Any) -> Callable[[Path], Path]:
    def into(folder: Path) -> Path:
        place = folder / "model"
        shutil.rmtree(place, ignore_errors=True)
        return make(place, **options)

    return into


def _form(
    name: str,
    library: str,
    make: Callable[[Path], Path],
    reference: Callable[[Path, list[Any]], Any] | None = None,
    refused: str | None = None,
    needs: tuple[str, ...] = (),
    modality: Modality = Modality.IMAGE,
) -> EncoderForm:
    return EncoderForm(name, modality, library, make, reference, refused, needs)


_HF = "transformers"
_NO_STEPS = partial(without, "preprocessor_config.json", hf_clip)

FORMS: tuple[EncoderForm, ...] = (
    _form("CLIPModel", _HF, _made(hf_clip), by_transformers("CLIPModel", features)),
    _form(
        "CLIPModel with GELU",
        _HF,
        _made(hf_clip, hidden_act="gelu"),
        by_transformers("CLIPModel", features),
    ),
    _form(
        "CLIPVisionModelWithProjection",
        _HF,
        _made(hf_clip_tower),
        by_transformers("CLIPVisionModelWithProjection", embeds),
    ),
    _form("CLIPModel without preprocessing", _HF, _made(_NO_STEPS), refused="copy it next to"),
    _form("0_CLIPModel", "sentence-transformers", _made(st_clip), by_sentence_transformers),
    _form("SiglipModel", _HF, _made(siglip), by_transformers("SiglipModel", features)),
    _form("Siglip2Model (NaFlex)", _HF, _made(naflex), refused="NaFlex"),
    _form("Dinov2Model", _HF, _made(dinov2), by_transformers("AutoModel", pooler)),
    _form(
        "Dinov2WithRegistersModel",
        _HF,
        _made(dinov2, registers=4),
        by_transformers("AutoModel", pooler),
    ),
    _form("DINOv3ViTModel", _HF, _made(dinov3), by_transformers("AutoModel", pooler)),
    _form("ViTModel", _HF, _made(vit), by_transformers("AutoModel", first_token)),
    _form(
        "ViTForImageClassification",
        _HF,
        _made(vit, classes=5),
        by_transformers("AutoModel", first_token),
    ),
    _form("open_clip", "open_clip", _made(write_clip), by_open_clip),
    _form(
        "open_clip, text tower of the hub",
        "open_clip",
        _made(multilingual),
        by_open_clip_image_tower,
    ),
    _form("timm ViT", "timm", _made(write_timm), by_timm),
    _form("timm EfficientNet", "timm", _made(write_timm, name="test_efficientnet"), by_timm),
    _form(
        "CLIPModel, text tower",
        _HF,
        _made(write_clip_model),
        partial(features_of, padding=True),
        modality=Modality.TEXT,
    ),
    _form(
        "CLIPTextModel, no projection",
        _HF,
        _made(write_clip_model, projected=False),
        refused="no projection",
        modality=Modality.TEXT,
    ),
    _form(
        "SiglipModel, text tower",
        _HF,
        _made(write_siglip_model),
        partial(features_of, padding="max_length"),
        modality=Modality.TEXT,
    ),
    _form(
        "open_clip, text tower",
        "open_clip",
        _made(write_clip, text_cfg=WORDS_OF_OPEN_CLIP),
        by_open_clip_text,
        modality=Modality.TEXT,
    ),
)
