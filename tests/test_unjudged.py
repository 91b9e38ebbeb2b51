"""Catalogues of which little or nothing can be measured: it is said, and nothing is made up."""

import json
import random

import numpy as np
import pytest

import vitrina as vt
from vitrina.classifier.model import Model
from vitrina.errors import TrainingError
from vitrina.pipelines.common.store_split import split_store
from vitrina.types import SplitKind

WORDS = "чашка майка чай стол лампа кот дом лес река нож вилка ложка диван шкаф ковёр"
WORDS = WORDS.split()


def title(category, number):
    rng = random.Random(category * 1000 + number)
    return f"{WORDS[category % 15]} {rng.choice(WORDS)} {rng.choice(WORDS)} {number * 31}"


def store_of(tmp_path, rows):
    path = tmp_path / "catalogue.jsonl"
    lines = (
        json.dumps({"product_id": at, "title": text, "category_id": category}, ensure_ascii=False)
        for at, (text, category) in enumerate(rows)
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    store = vt.Store.open(tmp_path / "store", create=True)
    vt.embed(vt.Catalogue.read(path), store, text="lexical", image="none")
    return store


@pytest.mark.parametrize("split", ["grouped", "stratified"])
def test_one_product_of_each_category_is_too_little(tmp_path, split):
    store = store_of(tmp_path, [(title(at, 1), at) for at in range(40)])
    with pytest.raises(TrainingError, match=r"^no product is left to validate on: each of the 40"):
        vt.train(store, "logistic", split=split)
    assert store.manifest.models == {}


@pytest.mark.parametrize("split", ["grouped", "stratified"])
@pytest.mark.parametrize("fusion", ["early", "knn"])
@pytest.mark.slow
def test_what_is_not_judged_is_counted(tmp_path, split, fusion):
    rows = [(title(at // 30, at % 30), at // 30) for at in range(150)]
    rows += [(title(at, 500), 100 + at) for at in range(60)]
    store = store_of(tmp_path, rows)
    report = vt.train(store, "logistic", split=split, fusion=fusion, name="head", epochs=2)
    found = report.unevaluated
    assert (found.categories, found.of_categories) == (60, 65)
    assert (found.rows, found.of_rows) == (60, 210)
    # Nobody else judges, in any turn.
    assert report.evaluated == report.validation.rows == report.baseline.evaluated == 150
    lines = "\n".join(report.lines())
    assert (
        "not evaluated, too few products: 60 of 65 categories, with 60 of 210 labelled "
        "products (28.6%)" in lines
    )
    card = (store.model_folder("head") / "card.md").read_text(encoding="utf-8")
    assert "its quality for these is unknown: 60 of 65 categories, with 60 of 210 labelled" in card
    assert "both sides" not in card
    assert report.to_json()["unjudged"] == {
        "categories": 60,
        "of_categories": 65,
        "rows": 60,
        "of_rows": 210,
    }


def test_copies_are_told_by_what_they_are(tmp_path):
    rows = [(f"товар {WORDS[at]}{'!' * copy}", at) for at in range(15) for copy in range(2)]
    store = store_of(tmp_path, rows)
    with pytest.raises(TrainingError, match=r"of 15 categories, 0 with one labelled product and 1"):
        vt.train(store, "logistic")
    report = vt.train(store, "logistic", split="stratified", name="flattered")
    assert report.copied == report.evaluated == 30
    assert "30 of the 30 evaluated products have a copy" in "\n".join(report.lines())
    assert "only 30 products were evaluated" in "\n".join(report.lines())
    card = (store.model_folder("flattered") / "card.md").read_text(encoding="utf-8")
    assert "(but, of 30, from a copy)" in card
    assert "Only 30 products were evaluated" in card


def test_nothing_is_promised_of_next_to_nothing(tmp_path):
    rows = [(title(at % 3, at), at % 2 if at < 3 else None) for at in range(50)]
    store = store_of(tmp_path, rows)
    report = vt.train(store, "logistic", name="head")
    assert report.evaluated == 1
    assert report.acceptance.with_ancestors == 0
    assert "nothing could be accepted" in "\n".join(report.lines())
    assert report.baseline.metrics is report.baseline.ahead is None
    assert "no TF-IDF baseline: 2 labelled products have a text" in "\n".join(report.lines())
    back_off = Model.load(store.model_folder("head")).back_off
    certain = np.eye(2, dtype=np.float32)
    assert (back_off.decide(certain).steps == -1).all()


def test_a_category_that_the_first_turn_did_not_learn_may_vote_in_others(tmp_path):
    rows = [(title(at // 12, at % 12), at // 12) for at in range(60)]
    rows += [("копия стол", 0), ("копия стол!", 0), ("копия стол?", 77)]
    store = store_of(tmp_path, rows)
    codes = store.labels().codes
    seed = next(
        seed
        for seed in range(100)
        if 62 not in split_store(store.products, codes, SplitKind.GROUPED, seed).split.train
    )
    report = vt.train(store, "logistic", fusion="knn", seed=seed)
    assert report.folds == 5
    assert report.evaluated == 63


def test_no_words_no_baseline(tmp_path):
    store = store_of(tmp_path, [(["", "!!!", "?"][at % 3], at % 3) for at in range(60)])
    report = vt.train(store, "logistic")
    assert report.baseline.skipped == "the training texts have no words, or none that recurs"


@pytest.mark.slow
def test_every_second_of_a_run_belongs_to_a_stage(tmp_path):
    rows = [(title(at // 30, at % 30), at // 30) for at in range(150)]
    store = store_of(tmp_path, rows)
    report = vt.embed(vt.Catalogue.read(tmp_path / "catalogue.jsonl"), store, refit=True)
    assert sum(report.stages.values()) == pytest.approx(report.seconds, abs=0.1)
    assert {"reading the catalogue", "fitting lexical", "encoding texts"} <= report.stages.keys()
    assert report.stages["fitting lexical"] > 0
    head = vt.train(store, "logistic")
    assert sum(head.stages.values()) == pytest.approx(head.seconds, abs=0.1)
    assert {"training heads", "measuring", "baseline", "saving"} <= head.stages.keys()
    assert any(line.startswith("time: ") for line in head.lines())
    card = vt.audit(store).card
    assert sum(card["stages"].values()) == pytest.approx(card["took"], abs=0.2)
    assert {"finding neighbours", "judging labels", "recording"} <= card["stages"].keys()
    for stages in (report.stages, head.stages, card["stages"]):
        assert stages["other"] < 0.1 * sum(stages.values()) + 0.3
