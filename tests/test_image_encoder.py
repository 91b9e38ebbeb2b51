"""An image model gives the vectors of its own library, and refuses weights that don't fit it."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import skimage.data
import timm
import torch
from PIL import Image
from safetensors.torch import load as load_bytes
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config
from torchvision.transforms import Compose, Lambda, Normalize, Resize, ToTensor

from support.image_models import write_clip, write_timm
from vitrina.data.decode import decode
from vitrina.embedder import image as module
from vitrina.embedder.base import ImageEncoder
from vitrina.embedder.image_models import (
    check_activation,
    clip_folder_parts,
    timm_parts,
    timm_repository,
)
from vitrina.embedder.load import ImageFiles
from vitrina.embedder.preprocessing import read_preparation
from vitrina.embedder.thumbnail import Thumbnail
from vitrina.errors import EncoderError
from vitrina.types import Compute

MOBILENET = Path("/work/shared/models/mobilenetv1_100")


def open_clip_folder(folder, model, revision=None, compute=None):
    return ImageFiles(clip_folder_parts(folder, model), model, revision).encoder(compute)


def timm_folder(folder, model, revision=None, compute=None):
    return ImageFiles(timm_parts(folder, model), model, revision).encoder(compute)


def smooth(count: int, size: tuple[int, int], seed: int = 0) -> list[Image.Image]:
    """Photos without fine detail: a few large patches of colour that run into each other."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, size=(count, 6, 8, 3), dtype=np.uint8)
    return [Image.fromarray(one).resize(size, Image.Resampling.BICUBIC) for one in patches]


def encode(encoder: ImageEncoder, images: list[Image.Image]) -> np.ndarray:
    return encoder.encode([encoder.prepare(image) for image in images])


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.sum(left * right, axis=1) / lengths


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything runs in float32, so that small differences mean something."""
    monkeypatch.setattr(module, "has_bfloat16", lambda _: False)
    monkeypatch.setattr(module, "has_int8", lambda: False)


def edit_json(path: Path, part: str, **changes: Any) -> None:
    whole = json.loads(path.read_text())
    whole[part].update(changes)
    path.write_text(json.dumps(whole, indent=3))


def plain_timm(folder: Path, images: list[Image.Image]) -> np.ndarray:
    """timm alone, in float32, one image at a time."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        return np.concatenate([model(transform(image)[None]).numpy() for image in images])


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_timm_vectors_are_timms_own(tmp_path: Path, name: str) -> None:
    folder = write_timm(tmp_path / "model", name)
    encoder = timm_folder(folder, "small", "r1")
    images = [*smooth(3, (300, 200)), *smooth(2, (90, 260), seed=1)]
    vectors = encode(encoder, images)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert cosines(vectors, plain_timm(folder, images)).min() >= 0.999
    assert (encoder.card.dim, encoder.card.revision) == (vectors.shape[1], "r1")


@pytest.mark.skipif(not MOBILENET.exists(), reason=f"no {MOBILENET} here")
def test_a_real_mobilenet_gives_timms_vectors() -> None:
    encoder = timm_folder(MOBILENET, "mobilenet")
    images = [*smooth(3, (400, 300)), *smooth(2, (60, 80), seed=1)]
    vectors = encode(encoder, images)
    assert cosines(vectors, plain_timm(MOBILENET, images)).min() >= 0.999
    assert encoder.card.dim == 1024
    # The crop keeps 7/8 of the shorter edge: 224 of 256.
    assert encoder.edge == 256


# 37 is four patches and 5 pixels, which are left out.
@pytest.mark.parametrize("size", [32, 37])
def test_open_clip_vectors_are_open_clips_own(tmp_path: Path, size: int) -> None:
    folder = write_clip(tmp_path / "clip", size=size, quick_gelu=True)
    encoder = open_clip_folder(folder, "tiny")
    clip, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    images = [*smooth(3, (100, 80)), *smooth(2, (20, 60), seed=1)]
    with torch.inference_mode():
        pixels = torch.stack([transform(image) for image in images])
        theirs = clip.eval().encode_image(pixels, normalize=True).numpy()
    assert cosines(encode(encoder, images), theirs).min() >= 0.999
    assert (encoder.card.dim, encoder.edge) == (16, size)


def test_more_images_than_a_batch_keep_their_order(tmp_path: Path) -> None:
    encoder = open_clip_folder(write_clip(tmp_path / "clip"), "tiny")
    images = smooth(67, (32, 32))
    together = encode(encoder, images)
    alone = np.concatenate([encode(encoder, [image]) for image in images])
    assert len(together) == 67
    assert cosines(together, alone).min() >= 0.999
    assert (np.argmax(together @ alone.T, axis=1) == np.arange(67)).all()


@pytest.mark.parametrize(
    ("arch", "tag"),
    [
        ("ViT-B-32-quickgelu", "openai"),
        ("ViT-B-32", "laion2b_s34b_b79k"),
        ("ViT-L-14-quickgelu", "openai"),
    ],
)
def test_weights_under_their_own_activation_pass(arch: str, tag: str) -> None:
    check_activation(arch, tag)


@pytest.mark.parametrize(
    ("arch", "tag", "right"),
    [
        ("ViT-B-32", "openai", "open_clip:ViT-B-32-quickgelu/openai"),
        ("ViT-L-14", "openai", "open_clip:ViT-L-14-quickgelu/openai"),
    ],
)
def test_weights_under_another_activation_are_refused(arch: str, tag: str, right: str) -> None:
    with pytest.raises(EncoderError) as caught:
        check_activation(arch, tag)
    assert str(caught.value).endswith(f"use {right}")


def test_unknown_architectures_and_weights_are_refused() -> None:
    with pytest.raises(EncoderError, match="no architecture ViT-Z-99"):
        check_activation("ViT-Z-99", "openai")
    with pytest.raises(EncoderError, match=r"no weights nonsense for ViT-B-32; it has: .*laion2b"):
        check_activation("ViT-B-32", "nonsense")
    with pytest.raises(EncoderError, match="no weights"):
        check_activation("ViT-B-32", "")
    with pytest.raises(EncoderError, match="no_such_net"):
        timm_repository("no_such_net")
    assert timm_repository("efficientnet_b1") == "timm/efficientnet_b1.ra4_e3600_r240_in1k"


def test_the_activation_is_part_of_the_model(tmp_path: Path) -> None:
    """The same weights: nothing but the fingerprint could tell the two apart."""
    quick = open_clip_folder(write_clip(tmp_path / "quick", quick_gelu=True), "x")
    exact = open_clip_folder(write_clip(tmp_path / "exact", quick_gelu=False), "x")
    name = "open_clip_model.safetensors"
    assert (tmp_path / "quick" / name).read_bytes() == (tmp_path / "exact" / name).read_bytes()
    assert quick.card.fingerprint != exact.card.fingerprint
    images = smooth(4, (64, 64))
    assert np.abs(encode(quick, images) - encode(exact, images)).max() > 1e-3


def test_the_number_of_heads_is_part_of_the_model(tmp_path: Path) -> None:
    four, two = (write_clip(tmp_path / str(head), head=head) for head in (8, 16))
    images = smooth(4, (64, 64))
    left, right = open_clip_folder(four, "x"), open_clip_folder(two, "x")
    assert left.card.fingerprint != right.card.fingerprint
    assert np.abs(encode(left, images) - encode(right, images)).max() > 1e-4


def test_weights_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    taken = {
        open_clip_folder(write_clip(tmp_path / str(seed), seed), "x").card.fingerprint
        for seed in range(3)
    }
    assert len(taken) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.5, 0.5, 0.5]},
        {"std": [0.5, 0.5, 0.5]},
        {"interpolation": "bilinear"},
        {"resize_mode": "squash"},
    ],
)
def test_open_clip_preprocessing_is_part_of_the_fingerprint(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = write_clip(tmp_path / "clip")
    before = open_clip_folder(folder, "x").card.fingerprint
    edit_json(folder / "open_clip_config.json", "preprocess_cfg", **change)
    assert open_clip_folder(folder, "x").card.fingerprint != before


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.5, 0.5, 0.50001]},
        {"std": [0.5, 0.5, 0.4]},
        {"interpolation": "nearest"},
        {"crop_pct": 0.8},
        {"crop_mode": "squash"},
    ],
)
def test_timm_preprocessing_is_part_of_the_fingerprint(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = write_timm(tmp_path / "model")
    edit_json(folder / "config.json", "pretrained_cfg", mean=[0.5] * 3, std=[0.5] * 3)
    before = timm_folder(folder, "x").card.fingerprint
    edit_json(folder / "config.json", "pretrained_cfg", **change)
    assert timm_folder(folder, "x").card.fingerprint != before


def test_container_and_numbers_are_not_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "has_bfloat16", lambda _: True)
    folder = write_clip(tmp_path / "clip")
    exact = open_clip_folder(folder, "x", compute=Compute.FLOAT32)
    lower = open_clip_folder(folder, "x", compute=Compute.BFLOAT16)
    edit_json(folder / "open_clip_config.json", "model_cfg")
    moved = open_clip_folder(folder.rename(tmp_path / "elsewhere"), "another name")
    assert exact.card.details["compute"] == "float32"
    assert lower.card.details["compute"] == "bfloat16"
    assert moved.card.fingerprint == lower.card.fingerprint == exact.card.fingerprint
    images = smooth(4, (64, 64))
    assert cosines(encode(lower, images), encode(exact, images)).min() >= 0.999


@pytest.mark.slow
def test_another_process_takes_the_same_fingerprint(tmp_path: Path) -> None:
    """An address of a function in what is hashed would differ."""
    clip, vit = write_clip(tmp_path / "clip"), write_timm(tmp_path / "vit")
    code = (
        "import sys\n"
        "from vitrina.embedder.load import load_image\n"
        "from vitrina.embedder.model_ref import ModelRef\n"
        "from vitrina.types import Modality\n"
        "for name in sys.argv[1:]:\n"
        "    model = ModelRef.parse(name, Modality.IMAGE)\n"
        "    print(load_image(model).card.fingerprint)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(clip), str(vit)],
        capture_output=True,
        text=True,
        check=True,
    )
    ours = [open_clip_folder(clip, "x").card.fingerprint, timm_folder(vit, "x").card.fingerprint]
    assert run.stdout.split() == ours
    # Nor does a program that has set up no logging hear from open_clip.
    assert run.stderr == ""


def test_loading_leaves_logging_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, vit = write_clip(tmp_path / "clip"), write_timm(tmp_path / "vit")
    monkeypatch.setattr(logging.root, "handlers", [])
    open_clip_folder(clip, "x")
    timm_folder(vit, "x")
    assert capfd.readouterr() == ("", "")
    assert logging.root.handlers == []


@pytest.mark.parametrize("write", [write_clip, write_timm])
def test_damaged_weights_are_refused(tmp_path: Path, write: Any) -> None:
    folder = write(tmp_path / "model")
    load = open_clip_folder if write is write_clip else timm_folder
    (weights,) = folder.glob("*.safetensors")
    tensors, whole = load_bytes(weights.read_bytes()), weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EncoderError, match="does not hold"):
        load(folder, "x")
    name = next(
        name
        for name in tensors
        if name.endswith("patch_embed.proj.bias" if write is write_timm else "conv1.weight")
    )
    lacking = {key: tensor for key, tensor in tensors.items() if key != name}
    save_file(lacking, weights)
    with pytest.raises(EncoderError, match="does not load"):
        load(folder, "x")
    save_file({**tensors, name: torch.zeros(7)}, weights)
    with pytest.raises(EncoderError, match="does not load"):
        load(folder, "x")
    weights.unlink()
    torch.save(tensors, folder / weights.with_suffix(".bin").name)
    with pytest.raises(EncoderError, match="safetensors"):
        load(folder, "x")


def least_agreement(encoder: ImageEncoder, photos: list[Image.Image]) -> float:
    """The least cosine between vectors of whole and of reduced decoding."""
    files = []
    for photo in photos:
        file = io.BytesIO()
        photo.save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    reduced = [decode(data, encoder.edge) for data in files]
    for small, photo in zip(reduced, photos, strict=True):
        assert encoder.edge <= min(small.size) <= min(photo.size) // 2
    whole = encode(encoder, [decode(data) for data in files])
    return float(cosines(whole, encode(encoder, reduced)).min())


def test_reduced_decoding_gives_the_same_vectors(tmp_path: Path) -> None:
    photos = [*smooth(4, (1200, 900)), *smooth(2, (700, 1300), seed=1)]
    clip = open_clip_folder(write_clip(tmp_path / "clip"), "x")
    assert least_agreement(clip, photos) >= 0.99
    assert least_agreement(timm_folder(write_timm(tmp_path / "vit"), "x"), photos) >= 0.99
    thumbnail = Thumbnail.fit(lambda: [smooth(24, (160, 120), seed=2)])
    assert least_agreement(thumbnail, photos) >= 0.99


@pytest.mark.skipif(not MOBILENET.exists(), reason=f"no {MOBILENET} here")
def test_reduced_decoding_gives_a_real_model_the_same_vectors() -> None:
    """On photos, since this model turns noise of one grey level in a smooth picture into 0.8."""
    folder = Path(skimage.data.__file__).parent
    photos = []
    for name in ("astronaut.png", "coffee.png", "chelsea.png"):
        with Image.open(folder / name) as photo:
            photos.append(photo.convert("RGB").resize((3 * photo.width, 3 * photo.height)))
    assert least_agreement(timm_folder(MOBILENET, "x"), photos) >= 0.995


def test_pictures_are_kept_as_bytes_and_scaled_by_the_model(tmp_path: Path) -> None:
    encoder = open_clip_folder(write_clip(tmp_path / "clip"), "x")
    assert encoder.prepare(smooth(1, (64, 64))[0]).dtype == np.uint8


def test_a_transform_that_ends_otherwise_is_left_whole() -> None:
    images = smooth(2, (16, 16))
    halved = Compose([Resize((8, 8)), ToTensor(), Lambda(lambda pixels: pixels / 2)])
    greyed = Compose([Resize((8, 8)), ToTensor(), Normalize([0.5], [0.5])])
    for transform in (halved, greyed):
        preparation = read_preparation(transform, images)
        assert not preparation.in_bytes
        np.testing.assert_array_equal(preparation.apply(images[0]), transform(images[0]).numpy())
    scaled = Compose([Resize((8, 8)), ToTensor(), Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.1])])
    preparation = read_preparation(scaled, images)
    ready = torch.from_numpy(preparation.apply(images[0]).copy())[None]
    assert preparation.in_bytes
    torch.testing.assert_close(preparation.finish(ready)[0], scaled(images[0]))


def test_out_of_memory_halves_the_batch_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = open_clip_folder(write_clip(tmp_path / "clip"), "x")
    ready = [encoder.prepare(image) for image in smooth(7, (64, 64))]
    whole, pooled = encoder.encode(ready), encoder._network.pooled

    def small(pictures: torch.Tensor) -> torch.Tensor:
        if len(pictures) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return pooled(pictures)

    monkeypatch.setattr(encoder._network, "pooled", small)
    np.testing.assert_allclose(encoder.encode(ready), whole, atol=1e-5)
    assert encoder.batch <= 3

    def never(_: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(encoder._network, "pooled", never)
    with pytest.raises(EncoderError, match="single image"):
        encoder.encode(ready)


def test_a_tower_that_is_read_wrongly_runs_by_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, images = write_clip(tmp_path / "clip"), smooth(4, (64, 64))
    expected = encode(open_clip_folder(folder, "x"), images)
    read = module.read_vit

    def wrongly(*given: Any) -> object:
        vit = read(*given)
        assert vit is not None
        return replace(vit, places=torch.randn_like(vit.places))

    monkeypatch.setattr(module, "read_vit", wrongly)
    encoder = open_clip_folder(folder, "x")
    assert isinstance(encoder._network, module.OwnCode)
    np.testing.assert_allclose(encode(encoder, images), expected, atol=1e-5)
