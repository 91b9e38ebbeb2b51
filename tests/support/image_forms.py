"""Forms of image model directories, each made tiny by its own library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_model_data_config

from support.encoder_forms import EncoderForm
from support.image_models import write_clip, write_timm
from vitrina.types import Modality

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


def by_open_clip_image_tower(folder: Path, images: list[Any]) -> Any:
    """open_clip can't load the model offline; its image tower is that of the model beside it."""
    return by_open_clip(folder.parent / f"{folder.name}-whole", images)


def by_timm(folder: Path, images: list[Any]) -> Any:
    network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    with torch.inference_mode():
        return unit(torch.stack([network(transform(image)[None])[0] for image in images]))


def photos(count: int = 4, seed: int = 0) -> list[Image.Image]:
    """Pictures without fine detail, of several shapes."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, size=(count, 6, 8, 3), dtype=np.uint8)
    sizes = [(160, 120), (90, 150), (64, 64), (301, 200)]
    return [
        Image.fromarray(one).resize(sizes[at % 4], Image.Resampling.BICUBIC)
        for at, one in enumerate(patches)
    ]


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
) -> EncoderForm:
    return EncoderForm(name, Modality.IMAGE, library, make, reference, refused, needs)


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
)
