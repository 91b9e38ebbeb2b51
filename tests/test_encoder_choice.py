"""The encoder of a modality: that of an existing space, a loaded one, or one to be fitted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import vitrina as vt
from support.tuning import write_catalogue, write_model
from vitrina.embedder.model_ref import ModelRef
from vitrina.errors import EncoderError, StoreError
from vitrina.pipelines.embed.encoder_choice import EncoderChoice, choose_encoder
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.types import Modality

OPTIONS, REFIT = EmbedOptions(), EmbedOptions(refit=True)
LEXICAL = ModelRef.parse("lexical", Modality.TEXT)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> ModelRef:
    return ModelRef.parse(str(write_model(tmp_path / "model")), Modality.TEXT)


def embedded(store: vt.Store, folder: Path, model: ModelRef) -> vt.EmbedReport:
    catalogue = vt.Catalogue.read(write_catalogue(folder / "catalogue.csv", rows=20))
    return vt.embed(catalogue, store, text=str(model), image="none")


def test_a_model_that_needs_no_download_is_fitted_once(tmp_path: Path) -> None:
    store = vt.Store.open(tmp_path / "store", create=True)
    assert choose_encoder(store, LEXICAL, OPTIONS) == EncoderChoice(LEXICAL)
    embedded(store, tmp_path, LEXICAL)
    assert choose_encoder(store, LEXICAL, OPTIONS) == EncoderChoice(LEXICAL, "text-lexical")
    assert choose_encoder(store, LEXICAL, REFIT) == EncoderChoice(LEXICAL)


@pytest.mark.usefixtures("cache")
def test_a_directory_is_loaded_until_its_space_is_known(tmp_path: Path, model: ModelRef) -> None:
    store = vt.Store.open(tmp_path / "store", create=True)
    first = choose_encoder(store, model, OPTIONS)
    assert first.space is None
    assert first.loaded is not None
    name = embedded(store, tmp_path, model).spaces[0].space
    assert choose_encoder(store, model, OPTIONS) == EncoderChoice(model, name)
    with pytest.raises(StoreError, match="keeps float16 vectors, not float32"):
        choose_encoder(store, model, EmbedOptions(dtype="float32"))
    again = choose_encoder(store, model, REFIT)
    assert (again.space, again.loaded is None) == (None, False)


def test_with_an_empty_cache_its_space_is_told_by_the_fingerprint(
    tmp_path: Path, cache: Path, model: ModelRef
) -> None:
    store = vt.Store.open(tmp_path / "store", create=True)
    name = embedded(store, tmp_path, model).spaces[0].space
    shutil.rmtree(cache)
    choice = choose_encoder(store, model, OPTIONS)
    assert choice.loaded is not None
    assert (choice.space, choice.loaded.card.fingerprint) == (
        name,
        store.open_space(name).entry.fingerprint,
    )
    shutil.rmtree(cache)
    # The encoder that was loaded to tell has nothing to do.
    report = embedded(store, tmp_path, model).spaces[0]
    assert (report.space, report.unchanged, report.compute) == (name, 20, None)


@pytest.mark.usefixtures("cache")
def test_a_directory_with_other_weights_gets_a_space_of_its_own(
    tmp_path: Path, model: ModelRef
) -> None:
    store = vt.Store.open(tmp_path / "store", create=True)
    name = embedded(store, tmp_path, model).spaces[0].space
    shutil.rmtree(model.place)
    write_model(Path(model.place), seed=1)
    choice = choose_encoder(store, model, OPTIONS)
    assert (choice.space, choice.loaded is None) == (None, False)
    assert embedded(store, tmp_path, model).spaces[0].space.startswith(f"{name}-")


@pytest.mark.usefixtures("cache")
def test_a_trained_encoder_serves_its_own_modality(tmp_path: Path, model: ModelRef) -> None:
    store = vt.Store.open(tmp_path / "store", create=True)
    embedded(store, tmp_path, model)
    vt.finetune(store, "text", name="kinds", epochs=1, batch_size=8)
    kinds = ModelRef.parse("kinds", Modality.TEXT, store.manifest.encoders)
    choice = choose_encoder(store, kinds, OPTIONS)
    assert choice.loaded is not None
    assert (choice.space, choice.loaded.card.model) == (None, "kinds")
    assert embedded(store, tmp_path, kinds).spaces[0].space == "text-kinds"
    assert choose_encoder(store, kinds, OPTIONS) == EncoderChoice(kinds, "text-kinds")
    with pytest.raises(EncoderError, match="kinds was trained for text; it can't serve image"):
        choose_encoder(store, ModelRef.of_trained("kinds", Modality.IMAGE), OPTIONS)
