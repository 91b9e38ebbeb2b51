import os
from pathlib import Path

import pytest

from vitrina.embedder import fingerprint_cache
from vitrina.embedder.model_ref import ModelRef
from vitrina.types import Modality

ON_HUB = ModelRef.parse("hf:cointegrated/rubert-tiny2", Modality.TEXT)


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return ModelRef.parse(str(folder), Modality.TEXT)


def test_a_directory_is_known_until_a_file_of_it_changes(model):
    assert not fingerprint_cache.unchanged(model, "ab")
    fingerprint_cache.remember(model, "ab")
    assert fingerprint_cache.unchanged(model, "ab")
    assert not fingerprint_cache.unchanged(model, "cd")
    weights = Path(model.place) / "model.safetensors"
    os.utime(weights, ns=(1, 1))
    assert not fingerprint_cache.unchanged(model, "ab")
    fingerprint_cache.remember(model, "ab")
    weights.write_bytes(b"other weights")
    os.utime(weights, ns=(1, 1))
    assert not fingerprint_cache.unchanged(model, "ab")


def test_a_model_on_a_hub_is_taken_to_be_what_it_was():
    assert fingerprint_cache.unchanged(ON_HUB, "ab")


def test_a_cache_that_cannot_be_written_is_done_without(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "file"))
    fingerprint_cache.remember(model, "ab")
    assert not fingerprint_cache.unchanged(model, "ab")
