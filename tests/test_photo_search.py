"""Photos are searched by text, by the text tower of the model that encoded them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import vitrina as vt
from support.cli import vitrina
from support.clip_texts import WORDS_OF_OPEN_CLIP, features_of, write_clip_model, write_siglip_model
from support.embedding import GREEN, GREY, RED, catalogue_of, photo
from support.image_forms import by_transformers, features
from support.image_models import write_clip
from support.vision_models import photos
from vitrina.errors import FingerprintError, StoreError
from vitrina.pipelines.benchmark.dataset import BenchmarkData
from vitrina.types import SplitKind

GOODS = [(1, "чай", 10, RED), (2, "мыло", 11, GREEN), (3, "сок", 10, GREY)]

MANY = [(at, f"т{at}", 10 + at % 2, photo(at * 5, 100, 250 - at * 5)) for at in range(40)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip_model(tmp_path_factory.mktemp("clip") / "model")


def photo_store(
    folder: Path, model: Path | str, text: str = "none", goods: list[tuple] = GOODS
) -> vt.Store:
    store = vt.Store.create(folder / "store")
    catalogue = catalogue_of(folder / "goods", goods)
    vt.embed(catalogue, store, text=text, image=str(model), compute="float32")
    vt.build_index(store, features="image")
    return store


@pytest.fixture(scope="module")
def thumbnails(tmp_path_factory):
    """A store of photos whose model has no text tower."""
    return photo_store(tmp_path_factory.mktemp("thumbnails"), "thumbnail", goods=MANY)


@pytest.fixture(scope="module")
def store(clip, tmp_path_factory):
    return photo_store(tmp_path_factory.mktemp("photos"), clip)


def stored(store: vt.Store) -> np.ndarray:
    return np.asarray(vt.vectors(store, features="image"), dtype=np.float32)


def test_a_text_finds_the_photos_that_the_library_finds(store, clip):
    query = "красная кружка"
    theirs = features_of(clip, [query], padding=True)[0]
    expected = stored(store) @ theirs
    near = vt.neighbours(store, query, k=3)
    assert [one.product_id for one in near] == [1 + at for at in np.argsort(-expected)]
    np.testing.assert_allclose([one.score for one in near], np.sort(expected)[::-1], atol=2e-3)


def test_a_text_and_an_image_are_searched_by_their_mean(store, clip):
    picture = photos(1)[0]
    text = features_of(clip, ["чай"], padding=True)[0]
    image = by_transformers("CLIPModel", features)(clip, [picture])[0]
    mean = (text + image) / np.linalg.norm(text + image)
    near = vt.neighbours(store, "чай", image=picture, k=3)
    assert [one.product_id for one in near] == [1 + at for at in np.argsort(-stored(store) @ mean)]


def test_from_the_command_line(store, capsys):
    assert vitrina("neighbours", store.place, "--text", "красная кружка", "-k", 2, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["product_id"] for one in found] == [
        one.product_id for one in vt.neighbours(store, "красная кружка", k=2)
    ]


@pytest.mark.parametrize("form", ["siglip", "open_clip"])
def test_other_models_with_two_towers(tmp_path, form):
    if form == "siglip":
        model = write_siglip_model(tmp_path / "model")
    else:
        model = write_clip(tmp_path / "model", text_cfg=WORDS_OF_OPEN_CLIP)
    store = photo_store(tmp_path, model)
    assert len(vt.neighbours(store, "кружка", k=3)) == 3


def test_products_texts_and_photos_share_a_model(tmp_path, clip):
    """The texts' index is searched by text, the photos' too."""
    store = photo_store(tmp_path, clip, text=str(clip))
    vt.build_index(store, features="text")
    texts = np.asarray(vt.vectors(store, features="text"), dtype=np.float32)
    theirs = features_of(clip, [one.split("\n")[0] for one in ("чай", "мыло", "сок")], padding=True)
    np.testing.assert_allclose((texts * theirs).sum(axis=1), 1, atol=1e-3)
    assert vt.neighbours(store, "чай", k=1, features="text")[0].product_id == 1
    assert len(vt.neighbours(store, "чай", k=3, features="image")) == 3


def test_photos_of_a_model_without_a_text_tower_are_not_searched(thumbnails):
    with pytest.raises(StoreError, match="thumbnail has no text tower") as caught:
        vt.neighbours(thumbnails, "кружка")
    assert "\n" not in str(caught.value)
    assert "--features text or fused" in str(caught.value)


def test_photos_that_texts_search_are_not_whitened(tmp_path, clip, monkeypatch):
    """Texts lie in a cone of their own: the centre of the photos is not theirs."""
    monkeypatch.setattr("vitrina.index.fuse.LEAST_ROWS", 3)
    store = photo_store(tmp_path, clip)
    assert vt.open_index(store, "image").card["whitened"] == []
    expected = stored(store) @ features_of(clip, ["чай"], padding=True)[0]
    near = vt.neighbours(store, "чай", k=3)
    np.testing.assert_allclose([one.score for one in near], np.sort(expected)[::-1], atol=2e-3)
    # As if their model had no text tower when the index was built.
    with monkeypatch.context() as patch:
        patch.setattr("vitrina.pipelines.index.job.is_searched_by_text", lambda _: False)
        index = vt.build_index(store, features="image", rebuild=True)
    assert index.card["whitened"] == ["image"]
    with pytest.raises(StoreError, match=r"photos with photos alone: .*--rebuild`$"):
        vt.neighbours(store, "чай")


def test_a_model_that_has_changed_is_refused(tmp_path):
    model = write_clip_model(tmp_path / "model")
    store = photo_store(tmp_path, model)
    path = model / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "resample": 0}))
    with pytest.raises(FingerprintError):
        vt.neighbours(store, "кружка")


def test_categories_names_classify_photos(tmp_path, clip):
    """The nearest name by the library's own vectors, trained on nothing."""
    kinds = {10: "Посуда->Кружки", 11: "Dishes->Cups"}
    catalogue = catalogue_of(tmp_path / "goods", MANY, kinds)
    store = vt.Store.create(tmp_path / "store")
    vt.embed(catalogue, store, text="lexical", image=str(clip), compute="float32")
    found = vt.benchmark(tmp_path / "out", store=store, methods="zero-shot", split="stratified")
    (row,) = found.table.ranked
    texts = [("Кружки", "фото: Кружки"), ("Cups", "a photo of Cups")]
    names = np.stack([features_of(clip, list(some), padding=True).mean(axis=0) for some in texts])
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    expected = np.argmax(stored(store) @ names.T, axis=1)
    validation = BenchmarkData.of(store, SplitKind.STRATIFIED, 0).validation
    np.testing.assert_array_equal(row.predicted, expected[validation])


def test_photos_of_a_model_without_a_text_tower_are_not_classified(tmp_path, thumbnails):
    found = vt.benchmark(
        tmp_path / "out", store=thumbnails, methods="zero-shot", split="stratified"
    )
    (row,) = found.table.left_out
    assert "thumbnail has no text tower" in row.left_out
