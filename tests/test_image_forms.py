"""Image models of transformers: their directories from strangers, their preprocessing, saving."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from support.image_forms import FORMS
from support.named_models import find_image, load_image
from support.vision_models import (
    SIZE,
    clip_config,
    clip_processor,
    dinov2,
    hf_clip,
    photos,
    preprocessing,
    siglip,
    st_clip,
    vit,
    write_vision,
)
from vitrina.embedder import image as image_module
from vitrina.embedder.image_processor import read_preprocessing
from vitrina.embedder.inference.vit import PatchedVit
from vitrina.errors import EncoderError
from vitrina.types import Compute, Modality

IMAGE_FORMS = [form for form in FORMS if form.modality is Modality.IMAGE]
CONFIG, STEPS = "config.json", "preprocessor_config.json"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return hf_clip(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The models of `FORMS`, made once each."""
    folders: dict[str, Path] = {}

    def make(form):
        if form.name not in folders:
            folders[form.name] = form.make(tmp_path_factory.mktemp("form"))
        return folders[form.name]

    return make


def encode(folder: Path, images: list[Image.Image], compute: Compute | None = None) -> Any:
    encoder = load_image(str(folder), compute=compute)
    return encoder.encode([encoder.prepare(image) for image in images])


def changed(source: Path, place: Path, name: str, **values: Any) -> Path:
    """A copy with other values in one JSON file; a value of `...` takes the key out."""
    shutil.copytree(source, place)
    path = place / name
    whole = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: one for key, one in whole.items() if one is not ...}))
    return place


@pytest.mark.parametrize("form", IMAGE_FORMS, ids=lambda form: form.name)
def test_vectors_are_the_librarys_own(form, made):
    folder = made(form)
    if form.refused is not None:
        with pytest.raises(EncoderError, match=form.refused) as caught:
            load_image(str(folder))
        assert "\n" not in str(caught.value)
        return
    ours = encode(folder, photos(), Compute.FLOAT32)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    assert (ours * form.reference(folder, photos())).sum(axis=1).min() >= 0.9999


FAST = {"CLIPModel", "0_CLIPModel", "SiglipModel", "Dinov2Model", "ViTModel"}


@pytest.mark.parametrize(
    "form", [one for one in IMAGE_FORMS if one.name in FAST], ids=lambda form: form.name
)
def test_towers_run_in_the_packed_path(form, made):
    assert isinstance(load_image(str(made(form)))._network, PatchedVit)


def test_a_tower_that_is_read_wrongly_runs_by_its_own_code(clip, monkeypatch):
    expected = encode(clip, photos(), Compute.FLOAT32)
    read = image_module.read_vision

    def wrongly(*given):
        vit = read(*given)
        vit.places.add_(torch.randn_like(vit.places))
        return vit

    monkeypatch.setattr(image_module, "read_vision", wrongly)
    encoder = load_image(str(clip), compute=Compute.FLOAT32)
    assert isinstance(encoder._network, image_module.OwnCode)
    vectors = encoder.encode([encoder.prepare(image) for image in photos()])
    np.testing.assert_allclose(vectors, expected, atol=1e-4)


def test_a_copy_and_another_container_have_the_same_fingerprint(clip, tmp_path):
    copy = shutil.copytree(clip, tmp_path / "copy")
    inside = st_clip(tmp_path / "st")
    taken = {load_image(str(folder)).card.fingerprint for folder in (clip, copy, inside)}
    assert len(taken) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"resample": 0},
        {"image_mean": [0.5, 0.5, 0.5]},
        {"image_std": [0.5, 0.5, 0.4]},
        {"size": {"shortest_edge": SIZE}},
        {"do_normalize": False},
        {"do_rescale": False},
        {"rescale_factor": 0.5},
    ],
)
def test_preprocessing_is_part_of_the_fingerprint(clip, tmp_path, values):
    other = changed(clip, tmp_path / "other", STEPS, **values)
    assert load_image(str(other)).card.fingerprint != load_image(str(clip)).card.fingerprint


@pytest.mark.parametrize(
    "values",
    [{"hidden_act": "gelu"}, {"num_attention_heads": 4}, {"layer_norm_eps": 0.1}],
)
def test_the_config_is_part_of_the_fingerprint(clip, tmp_path, values):
    config = json.loads((clip / CONFIG).read_text())
    tower = {**config["vision_config"], **values}
    other = changed(clip, tmp_path / "other", CONFIG, vision_config=tower)
    assert load_image(str(other)).card.fingerprint != load_image(str(clip)).card.fingerprint


# Preprocessing


STEPS_BY_CLASS = [
    ("CLIP", {"size": {"shortest_edge": 57}, "crop_size": {"height": 40, "width": 33}}),
    ("CLIP", {"size": 30, "crop_size": 41}),
    ("CLIP", {"size": {"height": 50, "width": 60}, "do_center_crop": False, "resample": 2}),
    ("CLIP", {"size": [50, 60], "crop_size": 48, "resample": 2}),
    ("Siglip", {"size": {"height": 40, "width": 44}, "image_mean": [0.1, 0.2, 0.3]}),
    ("ViT", {"size": 44, "resample": 3, "rescale_factor": 1 / 127.5, "image_mean": 1.0}),
    ("ViT", {"do_normalize": False, "size": {"height": 44, "width": 40}}),
    ("ViT", {"do_rescale": False, "image_mean": [90.0] * 3, "image_std": [60.0] * 3, "size": 40}),
    ("Bit", {"size": {"shortest_edge": 51}, "crop_size": 44, "resample": 1}),
    ("DINOv3ViT", {"size": {"height": 40, "width": 40}}),
    ("CLIP", {}),
    ("ViT", {}),
    ("Siglip", {}),
]


@pytest.mark.parametrize(("kind", "settings"), STEPS_BY_CLASS)
def test_pictures_are_prepared_as_transformers_prepares_them(tmp_path, kind, settings):
    processor = preprocessing(kind, **settings)
    name = f"{kind}ImageProcessor"
    (tmp_path / STEPS).write_text(json.dumps({**settings, "image_processor_type": name}))
    ours = read_preprocessing(tmp_path, "ViT")
    for image in photos():
        theirs = processor(images=image, return_tensors="pt")["pixel_values"][0]
        mine = ours.transform(image)
        assert mine.shape == theirs.shape == (3, *ours.size)
        # Pillow and torchvision round a pixel differently, by one of 255 levels.
        step = (theirs.max() - theirs.min()) / 255
        assert (mine - theirs).abs().mean() <= 0.6 * step
        assert (mine - theirs).abs().max() <= 6 * step


def test_a_processor_without_a_name_is_of_the_models_kind(tmp_path):
    (tmp_path / STEPS).write_text("{}")
    assert "BILINEAR" in str(read_preprocessing(tmp_path, "ViT").transform)
    assert "BICUBIC" in str(read_preprocessing(tmp_path, "CLIP").transform)


def test_preprocessing_inside_a_processor_config(clip, tmp_path):
    """As `CLIPProcessor.save_pretrained` writes it."""
    folder = shutil.copytree(clip, tmp_path / "model")
    steps = json.loads((folder / STEPS).read_text())
    (folder / STEPS).unlink()
    whole = {"image_processor": steps, "processor_class": "CLIPProcessor"}
    (folder / "processor_config.json").write_text(json.dumps(whole))
    np.testing.assert_array_equal(encode(folder, photos()), encode(clip, photos()))


# Strangers' directories


HOSTILE = [
    (STEPS, {"size": {"shortest_edge": 10**9}}, "shortest_edge"),
    (STEPS, {"size": {"shortest_edge": -1}}, "shortest_edge"),
    (STEPS, {"size": {"shortest_edge": "48"}}, "size"),
    (STEPS, {"size": {}}, "size without"),
    (STEPS, {"size": {"longest_edge": 48}}, "size that Vitrina does not follow"),
    (STEPS, {"size": [1, 2, 3]}, "size without"),
    (STEPS, {"size": {"shortest_edge": 48}, "do_center_crop": False}, "differ in shape"),
    (STEPS, {"crop_size": 0}, "crop_size"),
    (STEPS, {"crop_size": {"height": 48}}, "crop_size without"),
    (STEPS, {"crop_size": 10**6}, "crop_size"),
    (STEPS, {"resample": 17}, "resample"),
    (STEPS, {"resample": "bicubic"}, "resample"),
    (STEPS, {"image_mean": [float("nan")] * 3}, "image_mean"),
    (STEPS, {"image_mean": [0.5, 0.5]}, "image_mean"),
    (STEPS, {"image_mean": "grey"}, "image_mean"),
    (STEPS, {"image_std": [0.0] * 3}, "image_std"),
    (STEPS, {"image_std": [float("inf")] * 3}, "image_std"),
    (STEPS, {"image_std": [-1.0] * 3}, "image_std"),
    (STEPS, {"rescale_factor": 0}, "rescale_factor"),
    (STEPS, {"rescale_factor": float("nan")}, "rescale_factor"),
    (STEPS, {"do_resize": False}, "do_resize"),
    (STEPS, {"do_resize": "no"}, "do_resize"),
    (STEPS, {"do_pad": True}, "do_pad"),
    (STEPS, {"image_processor_type": "EvilImageProcessor"}, "EvilImageProcessor"),
    (STEPS, {"crop_size": 64}, "can't be run"),
    (CONFIG, {"model_type": "bert"}, "no image model"),
    (CONFIG, {"model_type": "siglip2"}, "NaFlex"),
    (CONFIG, {"model_type": 3}, "model_type"),
    (CONFIG, {"vision_config": {"image_size": 10**6}}, "image_size"),
    (CONFIG, {"vision_config": {"image_size": -48}}, "image_size"),
    (CONFIG, {"vision_config": {"patch_size": 0}}, "patch_size"),
    (CONFIG, {"vision_config": {"num_hidden_layers": 10**6}}, "num_hidden_layers"),
    (CONFIG, {"vision_config": {"hidden_size": 10**9}}, "hidden_size"),
    (CONFIG, {"vision_config": {"num_channels": 4}}, "num_channels"),
    (CONFIG, {"vision_config": {"layer_norm_eps": float("nan")}}, "layer_norm_eps"),
    (CONFIG, {"vision_config": []}, "vision_config"),
    (CONFIG, {"vision_config": {"hidden_size": 64}}, "does not load"),
    (CONFIG, {"vision_config": {"hidden_act": "os.system"}}, "does not load"),
    (CONFIG, {"vision_config": {"_attn_implementation": "someone/kernel"}}, "attention code"),
    (CONFIG, {"projection_dim": 10**9}, "projection_dim"),
    (CONFIG, {"quantization_config": {"quant_method": "evil"}}, "quantization_config"),
]


@pytest.mark.parametrize(("name", "values", "word"), HOSTILE)
def test_a_strangers_config_ends_in_one_line(clip, tmp_path, name, values, word):
    if isinstance(values.get("vision_config"), dict):
        tower = json.loads((clip / CONFIG).read_text())["vision_config"]
        values = {"vision_config": {**tower, **values["vision_config"]}}
    folder = changed(clip, tmp_path / "model", name, **values)
    with pytest.raises(EncoderError) as caught:
        load_image(str(folder))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    assert str(folder) in message
    assert word in message


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3", "[" * 100_000])
@pytest.mark.parametrize("name", [STEPS, CONFIG, "modules.json"])
def test_nonsense_ends_in_one_line(clip, tmp_path, name, content):
    if name == "modules.json" and content == "[]":
        pytest.skip("an empty list of modules is valid")
    folder = shutil.copytree(clip, tmp_path / "model")
    (folder / name).write_text(content)
    with pytest.raises(EncoderError) as caught:
        load_image(str(folder))
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("path", ["../other", "/etc", "0_CLIPModel/../../other"])
def test_modules_stay_in_their_folder(tmp_path, path):
    folder = st_clip(tmp_path / "st")
    module = {"type": "sentence_transformers.models.CLIPModel", "path": path}
    (folder / "modules.json").write_text(json.dumps([module]))
    with pytest.raises(EncoderError, match="outside it"):
        load_image(str(folder))


def test_layers_after_the_model_are_refused(tmp_path):
    folder = st_clip(tmp_path / "st")
    modules = json.loads((folder / "modules.json").read_text())
    normalise = {"type": "sentence_transformers.models.Normalize", "path": "1_Normalize"}
    (folder / "modules.json").write_text(json.dumps([*modules, normalise]))
    assert load_image(str(folder)).card.dim == 24
    dense = {"type": "sentence_transformers.models.Dense", "path": "1_Dense"}
    (folder / "modules.json").write_text(json.dumps([*modules, dense]))
    with pytest.raises(EncoderError, match="adds a Dense layer"):
        load_image(str(folder))


def test_damaged_weights_are_refused(clip, tmp_path):
    folder = shutil.copytree(clip, tmp_path / "model")
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    name = "vision_model.embeddings.patch_embedding.weight"
    for change in (
        {key: one for key, one in tensors.items() if key != name},
        {**tensors, name: torch.zeros(7)},
        {**tensors, name: torch.full_like(tensors[name], torch.nan)},
    ):
        save_file(change, weights)
        with pytest.raises(EncoderError, match=r"does not load|NaN") as caught:
            load_image(str(folder))
        assert "\n" not in str(caught.value)
    weights.unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="safetensors"):
        load_image(str(folder))


def test_a_tower_without_projection_gives_its_pooled_vectors(tmp_path):
    network = transformers.CLIPVisionModel(clip_config().vision_config).eval()
    folder = write_vision(tmp_path / "model", network, clip_processor())
    with torch.inference_mode():
        pixels = clip_processor()(images=photos(), return_tensors="pt")["pixel_values"]
        theirs = network(pixel_values=pixels).pooler_output.numpy()
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    assert (encode(folder, photos(), Compute.FLOAT32) * theirs).sum(axis=1).min() >= 0.9999


def test_a_tower_without_a_head_is_refused(tmp_path):
    folder = siglip(tmp_path / "model")
    config = json.loads((folder / CONFIG).read_text())
    config["vision_config"]["vision_use_head"] = False
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(EncoderError, match="no pooling head"):
        load_image(str(folder))


@pytest.mark.parametrize("make", [hf_clip, siglip, dinov2, vit, st_clip])
def test_a_saved_model_gives_the_same_vectors(tmp_path, make):
    folder = make(tmp_path / "model")
    (tmp_path / "saved").mkdir()
    find_image(str(folder)).parts.save(tmp_path / "saved")
    saved, source = (load_image(str(one)) for one in (tmp_path / "saved", folder))
    assert saved.card.fingerprint == source.card.fingerprint


def test_random_weights_and_other_sizes(clip):
    parts = find_image(str(clip), from_scratch=True).parts
    assert parts.size == SIZE
    with pytest.raises(EncoderError, match="48x48 pixels, not 64x64"):
        find_image(str(clip), size=64)
