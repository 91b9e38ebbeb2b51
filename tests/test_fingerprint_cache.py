import os

import pytest

from vitrina.embedder import fingerprint_cache
from vitrina.types import Modality

TEXT = Modality.TEXT


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_directory_is_known_until_a_file_of_it_changes(model):
    assert not fingerprint_cache.unchanged(str(model), TEXT, "ab")
    fingerprint_cache.remember(str(model), TEXT, "ab")
    assert fingerprint_cache.unchanged(str(model), TEXT, "ab")
    assert not fingerprint_cache.unchanged(str(model), TEXT, "cd")
    weights = model / "model.safetensors"
    os.utime(weights, ns=(1, 1))
    assert not fingerprint_cache.unchanged(str(model), TEXT, "ab")
    fingerprint_cache.remember(str(model), TEXT, "ab")
    weights.write_bytes(b"other weights")
    os.utime(weights, ns=(1, 1))
    assert not fingerprint_cache.unchanged(str(model), TEXT, "ab")


def test_a_model_on_a_hub_is_taken_to_be_what_it_was():
    assert fingerprint_cache.unchanged("hf:cointegrated/rubert-tiny2", TEXT, "ab")


def test_a_cache_that_cannot_be_written_is_done_without(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "file"))
    fingerprint_cache.remember(str(model), TEXT, "ab")
    assert not fingerprint_cache.unchanged(str(model), TEXT, "ab")
