"""Models load from a directory, the cache and the hub; each way that fails is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import open_clip
import pytest
import timm
import torch
from huggingface_hub import constants
from huggingface_hub.errors import (
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from support.named_models import load_image, load_text
from vitrina.embedder.load import fit_lexical, fit_thumbnail
from vitrina.errors import EncoderError, HubUnreachableError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WAYS_ON = ("local directory", "cache", "lexical", "thumbnail")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache and no network, whatever the machine has. Returns the cache."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def write_text(folder: Path) -> Path:
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "кружка", "белая")
    tokenizer = Tokenizer(
        models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(folder)
    return folder


def write_timm(folder: Path) -> Path:
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=0)
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "test_vit",
        "num_classes": 0,
        "pretrained_cfg": {**model.pretrained_cfg, "num_classes": 0},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_clip(folder: Path) -> Path:
    torch.manual_seed(0)
    config = {
        "embed_dim": 8,
        "vision_cfg": {
            "image_size": 16,
            "layers": 1,
            "width": 16,
            "head_width": 8,
            "patch_size": 8,
        },
        "text_cfg": {"context_length": 4, "vocab_size": 9, "width": 8, "heads": 2, "layers": 1},
    }
    folder.mkdir(parents=True)
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    whole = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    return folder


def fill(cache: Path, repository: str, write: Any, revision: str = "main") -> Path:
    """Lay a repository's files out as the hub's client keeps them."""
    place = cache / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / revision).write_text(COMMIT)
    return Path(write(place / "snapshots" / COMMIT))


@pytest.mark.parametrize(
    ("load", "named"),
    [
        (load_text, "'none' names no text model; give hf:REPO"),
        (load_image, "'none' names no image model; give hf:REPO"),
    ],
)
def test_no_model_does_not_load(load: Any, named: str) -> None:
    with pytest.raises(EncoderError, match=named):
        load("none")


@pytest.mark.parametrize("name", ["thumbnail", "timm:resnet50"])
def test_a_model_for_images_does_not_serve_text(name: str) -> None:
    with pytest.raises(EncoderError, match=r"image.*can't serve text"):
        load_text(name)


def test_a_model_for_text_does_not_serve_images(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="lexical is a model for text; it can't serve image"):
        load_image("lexical")
    with pytest.raises(EncoderError, match="is of type 'bert', no image model"):
        load_image(str(write_text(tmp_path / "bert")))


def test_a_fitted_encoder_must_have_been_fitted(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="lexical is fitted on a catalogue first"):
        load_text("lexical")
    with pytest.raises(EncoderError, match="thumbnail is fitted on a catalogue first"):
        load_image("thumbnail")
    lexical = fit_lexical(lambda: [["кружка белая", "чай зелёный"]])
    lexical.save(tmp_path)  # type: ignore[attr-defined]
    assert load_text("lexical", tmp_path).card == lexical.card
    thumbnail = fit_thumbnail(
        lambda: [[Image.new("RGB", (8, 8), name) for name in ("red", "blue")]]
    )
    thumbnail.save(tmp_path)  # type: ignore[attr-defined]
    assert load_image("thumbnail", tmp_path).card == thumbnail.card


@pytest.mark.parametrize(
    ("load", "name", "named"),
    [
        (load_text, "hf:cointegrated/rubert-tiny2", "cointegrated/rubert-tiny2"),
        (load_text, "rubert-tiny2", "cointegrated/rubert-tiny2"),
        (load_image, "hf:timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
        (load_image, "timm:efficientnet_b1", "timm/efficientnet_b1"),
        (load_image, "clip", "clip"),
        (load_image, "open_clip:ViT-B-32/laion2b_s34b_b79k", "ViT-B-32/laion2b_s34b_b79k"),
    ],
)
def test_a_hub_out_of_reach_gives_the_three_ways_on(
    load: Any, name: str, named: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HubUnreachableError) as caught:
        load(name)
    message = str(caught.value)
    assert named in message
    assert "\n" not in message
    for way in WAYS_ON:
        assert way in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "fault",
    [
        LocalEntryNotFoundError("An error happened while trying to locate the files\non the Hub"),
        ConnectionError("Connection refused"),
        TimeoutError(),
    ],
)
def test_a_broken_network_is_a_hub_out_of_reach(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise fault

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(HubUnreachableError) as caught:
        load_text("hf:a/b")
    assert "\n" not in str(caught.value)
    assert "local directory" in str(caught.value)


@pytest.mark.parametrize("kind", [RepositoryNotFoundError, RevisionNotFoundError])
def test_a_repository_that_is_not_there_is_not_blamed_on_the_network(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise kind.__new__(kind)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(EncoderError, match="a/b is not on the hub") as caught:
        load_text("hf:a/b@v9")
    assert not isinstance(caught.value, HubUnreachableError)


def test_weights_under_another_activation_are_refused_before_any_download() -> None:
    with pytest.raises(EncoderError, match="use open_clip:ViT-B-32-quickgelu/openai") as caught:
        load_image("open_clip:ViT-B-32/openai")
    assert not isinstance(caught.value, HubUnreachableError)


@pytest.mark.parametrize("revision", [None, "v2", COMMIT])
def test_a_filled_cache_serves_text(offline: Path, revision: str | None) -> None:
    snapshot = fill(offline, "shop/tiny", write_text, revision or "main")
    name = f"hf:shop/tiny@{revision}" if revision else "hf:shop/tiny"
    encoder = load_text(name)
    assert (encoder.card.model, encoder.card.revision) == (name, COMMIT)
    direct = load_text(str(snapshot))
    assert (direct.card.model, direct.card.revision) == (str(snapshot), None)
    assert direct.card.fingerprint == encoder.card.fingerprint
    texts = ["кружка белая", "белая"]
    np.testing.assert_array_equal(encoder.encode(texts), direct.encode(texts))


@pytest.mark.parametrize(
    ("repository", "name", "write", "dim"),
    [
        ("shop/clip", "hf:shop/clip", write_clip, 8),
        ("shop/vit", "hf:shop/vit", write_timm, 64),
        ("timm/test_vit.r160_in1k", "timm:test_vit.r160_in1k", write_timm, 64),
    ],
)
def test_a_filled_cache_serves_images(
    offline: Path, repository: str, name: str, write: Any, dim: int
) -> None:
    snapshot = fill(offline, repository, write)
    encoder = load_image(name)
    card = encoder.card
    assert (card.model, card.revision, card.dim) == (name, COMMIT, dim)
    direct = load_image(str(snapshot)).card
    assert (direct.model, direct.revision) == (str(snapshot), None)
    assert direct.fingerprint == card.fingerprint


def test_a_revision_that_is_not_cached_is_not_replaced_by_another(offline: Path) -> None:
    fill(offline, "shop/tiny", write_text)
    with pytest.raises(HubUnreachableError, match="shop/tiny"):
        load_text("hf:shop/tiny@v2")


def test_only_files_that_run_no_code_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fail(_: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert revision == "v3"
        asked.extend(allow_patterns)
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    for load, name in ((load_text, "hf:a/b@v3"), (load_image, "hf:a/b@v3")):
        with pytest.raises(HubUnreachableError):
            load(name)
    endings = {pattern.rpartition(".")[2] for pattern in asked}
    assert endings == {"json", "txt", "model", "safetensors"}


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"no config\.json"):
        load_text(str(tmp_path))
    with pytest.raises(EncoderError, match="not an image model"):
        load_image(str(tmp_path))
