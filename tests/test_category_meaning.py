"""A head knows its categories by id and meaning."""

import pytest

from support.catalogue_files import jsonl
from vitrina import api
from vitrina.data.catalogue import Catalogue
from vitrina.store.store import OpenStore

WORDS = {0: "чашка", 1: "тарелка", 2: "вилка"}
NAMES = {0: "Посуда->Чашки", 1: "Посуда->Тарелки", 2: "Посуда->Вилки"}


def embed(shelf, tmp_path, rows):
    catalogue = Catalogue.read(jsonl(tmp_path / "day.jsonl", *rows))
    return api.embed(catalogue, OpenStore.open(shelf, create=True), text="lexical", image="none")


def predict(shelf, tmp_path, *titles):
    rows = [{"product_id": at, "title": title} for at, title in enumerate(titles)]
    batch = Catalogue.read(jsonl(tmp_path / "batch.jsonl", *rows))
    return api.classify(batch, OpenStore.open(shelf)).to_pylist()


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A store of three categories and a head."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    embed(tmp_path / "shelf", tmp_path, goods())
    api.train(OpenStore.open(tmp_path / "shelf"), "logistic")
    return tmp_path / "shelf"


def goods():
    return [
        {
            "product_id": at,
            "title": f"{WORDS[at % 3]} {at}",
            "category_id": at % 3,
            "category_name": NAMES[at % 3],
        }
        for at in range(60)
    ]


def hammers():
    return [
        {
            "product_id": 100 + at,
            "title": f"молоток {at}",
            "category_id": 0,
            "category_name": "Сад->Молотки",
        }
        for at in range(9)
    ]


def test_a_head_says_which_of_its_categories_mean_something_else(shelf, tmp_path):
    cups = [{**row, "category_id": 5} for row in goods()[::3]]
    embed(shelf, tmp_path, [*cups, *hammers()])
    (model,) = api.describe(OpenStore.open(shelf))["models"]
    assert model["reused_categories"] == {0: "Посуда->Чашки"}
    cup, fork = predict(shelf, tmp_path, "чашка 3", "вилка 5")
    # No cup goes in among the hammers.
    assert (cup["predicted_category_id"], cup["accepted"]) == (0, False)
    assert (cup["category_name"], cup["predicted_path"]) == ("Посуда->Чашки", None)
    assert (fork["predicted_category_id"], fork["category_name"]) == (2, "Посуда->Вилки")
    report = api.train(OpenStore.open(shelf), "logistic")
    assert {one.category_id for one in report.drift.added} == {0, 5}
    (model,) = api.describe(OpenStore.open(shelf))["models"]
    assert model["reused_categories"] == {}
    (cup,) = predict(shelf, tmp_path, "чашка 3")
    assert (cup["predicted_category_id"], cup["category_name"]) == (5, "Посуда->Чашки")


def test_a_renamed_category_is_predicted_under_its_new_name(shelf, tmp_path):
    rows = [
        {**row, "category_name": row["category_name"].replace("Чашки", "Чашки и кружки")}
        for row in goods()
    ]
    embed(shelf, tmp_path, rows)
    (model,) = api.describe(OpenStore.open(shelf))["models"]
    assert model["reused_categories"] == {}
    (cup,) = predict(shelf, tmp_path, "чашка 3")
    assert (cup["predicted_category_id"], cup["category_name"]) == (0, "Посуда->Чашки и кружки")


def test_a_head_serves_on_when_ids_become_text(shelf, tmp_path):
    before = predict(shelf, tmp_path, "чашка 3", "вилка 5")
    embed(
        shelf, tmp_path, [*goods(), {"product_id": "x", "title": "чашка", "category_id": "новая"}]
    )
    after = predict(shelf, tmp_path, "чашка 3", "вилка 5")
    for old, new in zip(before, after, strict=True):
        assert new["predicted_category_id"] == str(old["predicted_category_id"])
        assert new["probability"] == pytest.approx(old["probability"])
    (model,) = api.describe(OpenStore.open(shelf))["models"]
    assert model["unknown_categories"] == 1


def test_predictions_name_the_source_of_their_category(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)
    shelf = tmp_path / "shelf"
    for name, rows in (("Посуда", goods()), ("Инструмент", hammers() * 3)):
        rows = [{**row, "product_id": at} for at, row in enumerate(rows)]
        catalogue = Catalogue.read(jsonl(tmp_path / "day.jsonl", *rows))
        store = OpenStore.open(shelf, create=True)
        api.embed(catalogue, store, text="lexical", image="none", source=name, refit=True)
    api.train(OpenStore.open(shelf), "logistic")
    cup, hammer = predict(shelf, tmp_path, "чашка 3", "молоток 5")
    assert (cup["predicted_category_id"], cup["category_source"]) == ("0", "Посуда")
    assert (hammer["predicted_category_id"], hammer["category_source"]) == (
        "Инструмент:0",
        "Инструмент",
    )
