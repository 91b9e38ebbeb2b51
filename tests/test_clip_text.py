"""The text towers of CLIP and SigLIP as text encoders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from support.clip_texts import (
    TITLES,
    WORDS_OF_OPEN_CLIP,
    features_of,
    write_clip_model,
    write_siglip_model,
)
from support.image_models import write_clip
from support.named_models import load_text
from vitrina.embedder import text_batches
from vitrina.errors import EncoderError
from vitrina.types import Compute

LONG = [*TITLES, "кружка " * 40, ""]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip_model(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    return write_siglip_model(tmp_path_factory.mktemp("siglip") / "model")


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("open_clip") / "model", text_cfg=WORDS_OF_OPEN_CLIP)


def least(folder: Path, texts: list[str], theirs: Any) -> float:
    ours = load_text(str(folder), compute=Compute.FLOAT32).encode(texts)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    return float((ours * theirs).sum(axis=1).min())


def test_clips_vectors_are_transformers_own(clip):
    assert least(clip, LONG, features_of(clip, LONG, padding=True)) >= 0.9999


def test_siglips_vectors_are_transformers_own(siglip):
    assert least(siglip, LONG, features_of(siglip, LONG, padding="max_length")) >= 0.9999


def test_open_clips_vectors_are_its_own(native):
    clip, _, _ = open_clip.create_model_and_transforms(f"local-dir:{native}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{native}")
    with torch.inference_mode():
        theirs = clip.eval().encode_text(tokenizer(LONG), normalize=True).numpy()
    assert least(native, LONG, theirs) >= 0.9999


def test_one_tower_alone(tmp_path, clip):
    """As `CLIPTextModelWithProjection` is saved."""
    from transformers import CLIPConfig, CLIPTextModelWithProjection

    folder = shutil.copytree(clip, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    config = CLIPConfig.from_pretrained(clip).text_config
    config.projection_dim = 24
    CLIPTextModelWithProjection.from_pretrained(clip, config=config).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "clip_text_model"
    assert least(folder, LONG, features_of(clip, LONG, padding=True)) >= 0.9999


def test_many_texts_keep_their_order(clip, monkeypatch):
    monkeypatch.setattr(text_batches, "WINDOW", 5)
    encoder = load_text(str(clip), compute=Compute.FLOAT32)
    texts = [f"{'чай ' * (at % 7)}{at % 11}" for at in range(40)]
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(encoder.encode(texts), alone, atol=1e-5)
    assert encoder.encode([]).shape == (0, 24)


def test_the_card(clip):
    card = load_text(str(clip), compute=Compute.FLOAT32).card
    assert (card.dim, card.details["max_length"], card.modality) == (24, 32, "text")


def test_tokenizer_weights_and_length_are_part_of_the_fingerprint(clip, tmp_path):
    before = load_text(str(clip)).card.fingerprint
    copy = shutil.copytree(clip, tmp_path / "copy")
    assert load_text(str(copy)).card.fingerprint == before
    path = copy / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(tokenizer))
    shorter = shutil.copytree(clip, tmp_path / "shorter")
    path = shorter / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 20}))
    assert len({load_text(str(one)).card.fingerprint for one in (clip, copy, shorter)}) == 3


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(EncoderError) as caught:
        load_text(str(folder))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    assert str(folder) in message
    for word in words:
        assert word in message


def test_a_tower_without_projection_matches_no_picture(tmp_path):
    refused(write_clip_model(tmp_path / "model", projected=False), "no projection")


def test_missing_and_damaged_files_are_refused(clip, tmp_path):
    folder = shutil.copytree(clip, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    name = "text_model.embeddings.token_embedding.weight"
    save_file({**weights, name: weights[name][:9]}, folder / "model.safetensors")
    refused(folder, "does not load")
    rest = {key: one for key, one in weights.items() if key != name}
    save_file(rest, folder / "model.safetensors")
    refused(folder, "does not load")
    save_file(weights, folder / "model.safetensors")
    (folder / "tokenizer.json").unlink()
    refused(folder, "no tokenizer")


@pytest.mark.parametrize(
    "values",
    [
        {"vocab_size": 10**9},
        {"max_position_embeddings": -1},
        {"num_hidden_layers": 10**6},
        {"hidden_act": "os.system"},
        {"num_attention_heads": "two"},
        {"_attn_implementation": "someone/kernel"},
    ],
)
def test_a_strangers_config_ends_in_one_line(clip, tmp_path, values):
    folder = shutil.copytree(clip, tmp_path / "model")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"] |= values
    path.write_text(json.dumps(config))
    refused(folder)


@pytest.mark.parametrize(
    "arguments", [{"trust_remote_code": True}, {"bpe_path": "/etc/passwd"}, {"cache_dir": "/"}]
)
def test_open_clips_tokenizer_takes_no_arguments_from_strangers(native, tmp_path, arguments):
    folder = shutil.copytree(native, tmp_path / "model")
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = arguments
    path.write_text(json.dumps(config))
    refused(folder, next(iter(arguments)))


def test_a_text_tower_of_the_hub_is_not_fetched(native, tmp_path):
    folder = shutil.copytree(native, tmp_path / "model")
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    name = "nobody/there-is-no-such-model"
    config["model_cfg"]["text_cfg"] = {"hf_model_name": name, "hf_tokenizer_name": name}
    path.write_text(json.dumps(config))
    refused(folder, "text tower")
