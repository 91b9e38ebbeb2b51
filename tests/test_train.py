import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import vitrina as vt
from vitrina.classifier.model import Model
from vitrina.errors import OptionError, StoreError, TrainingError
from vitrina.pipelines.train.cross_validation import SCARCE
from vitrina.sample import write_sample


@pytest.fixture(autouse=True, scope="module")
def one_turn():
    """Validation rows alone judge, which is quicker; the tests of turns say otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vitrina.pipelines.train.trainer.SCARCE", 0)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    sample = write_sample(root / "catalogue", products=500, seed=1)
    store = vt.Store.open(root / "store", create=True)
    catalogue = vt.Catalogue.read(sample.train, images=sample.images)
    vt.embed(catalogue, store, text="lexical", image="thumbnail")
    return sample, store


@pytest.fixture(scope="module")
def compared(made):
    return vt.train(made[1], "logistic", compare=True, name="compared", precision=0.9)


@pytest.fixture
def own(made, tmp_path):
    shutil.copytree(made[1].place, tmp_path / "store")
    return vt.Store.open(tmp_path / "store")


@pytest.mark.slow
def test_all_ways_of_fusion_are_compared(compared):
    told = {one.fusion: one for one in compared.compared}
    assert [*told] == ["early", "late", "knn", "stack"]
    best = max(told.values(), key=lambda one: one.metrics.weighted_f1)
    assert best.behind.value == 0
    # The simplest that is not surely worse.
    taken = [*told].index(compared.fusion)
    assert told[compared.fusion].behind.low <= 0
    assert all(one.behind.low > 0 for one in [*told.values()][:taken])
    assert compared.validation == told[compared.fusion].metrics
    assert {one.modality for one in compared.alone} == {"text", "image"}
    for one in compared.alone:
        gap = compared.validation.weighted_f1 - one.metrics.weighted_f1
        assert one.ahead.value == pytest.approx(gap)


@pytest.mark.slow
def test_the_card_tells_what_the_report_does(made, compared):
    folder = made[1].model_folder("compared")
    card = (folder / "card.md").read_text()
    assert f"| validation | {compared.validation.weighted_f1:.4f} |" in card
    assert f"| {compared.fusion} (taken) |" in card
    assert "target precision of accepted predictions is 0.90" in card
    assert f"Hierarchical F1: {compared.hierarchical_f1:.4f}" in card
    assert f"{compared.singletons} of its categories have a single labelled product" in card
    assert f"its quality for these is unknown: {compared.unevaluated}." in card
    lines = "\n".join(compared.lines())
    assert any(line.endswith("  taken") for line in compared.lines())
    assert "ahead of image alone" in lines


@pytest.mark.slow
def test_what_is_told_is_json_all_through(compared):
    plain = compared.to_json()
    assert type(plain["fusion"]) is str
    assert plain["promised"]["precision"] == 0.9
    assert {one["fusion"] for one in plain["compared"]} == {"early", "late", "knn", "stack"}


# A stack listens to the vote too.
@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["late", "knn", "stack"])
def test_every_way_of_fusion_serves(made, own, fusion):
    sample, _ = made
    report = vt.train(own, "logistic", fusion=fusion)
    assert report.fusion == fusion
    assert report.compared == ()
    batch = vt.Catalogue.read(sample.test, images=sample.images)
    if fusion != "late":
        with pytest.raises(StoreError, match=r"listens to the neighbours' vote.*vitrina index"):
            vt.classify(batch, own)
        vt.build_index(own)
    rows = vt.classify(batch, own).to_pylist()
    truth = {row["product_id"]: row for row in pq.read_table(sample.truth).to_pylist()}
    right = [r["predicted_category_id"] == truth[r["product_id"]]["true_category_id"] for r in rows]
    assert np.mean(right) > 0.6


@pytest.mark.slow
def test_predictions_say_how_far_they_may_be_let_through(made, own, monkeypatch):
    monkeypatch.setattr("vitrina.pipelines.train.trainer.SCARCE", SCARCE)
    sample, _ = made
    vt.train(own, "logistic", features="text", precision=0.95)
    rows = vt.classify(vt.Catalogue.read(sample.test, images=sample.images), own).to_pylist()
    truth = {row["product_id"]: row for row in pq.read_table(sample.truth).to_pylist()}
    backed = [row for row in rows if row["predicted_path"] and not row["accepted"]]
    sure = [row for row in rows if row["accepted"]]
    assert sure
    assert backed
    for row in sure:
        assert row["predicted_path"] == row["category_name"]
        assert row["path_probability"] == pytest.approx(row["probability"])
    names = {
        row["category_id"]: row["category_name"] for row in pq.read_table(sample.train).to_pylist()
    }
    for row in backed:
        assert row["category_name"].startswith(row["predicted_path"] + "->")
        assert row["path_probability"] >= row["probability"] - 1e-6
        assert row["level"] == row["predicted_path"].count("->")
    holds = [
        (names.get(truth[row["product_id"]]["true_category_id"]) or "").startswith(
            row["predicted_path"]
        )
        for row in (*sure, *backed)
    ]
    assert np.mean(holds) > 0.75
    for row in rows:
        if not row["predicted_path"]:
            assert row["level"] is row["path_probability"] is None


@pytest.mark.slow
def test_predictions_say_which_modality_carried_them(made, own):
    sample, _ = made
    vt.train(own, "logistic")
    rows = vt.classify(vt.Catalogue.read(sample.test, images=sample.images), own).to_pylist()
    for row in rows:
        for modality in ("text", "image"):
            assert (row["alone"][modality] is not None) == row[f"has_{modality}"]
        if not row["has_image"]:
            assert row["alone"]["text"] == pytest.approx(row["probability"], abs=1e-5)
    both = [row["alone"] for row in rows if row["has_image"] and row["has_text"]]
    assert np.ptp([one["text"] - one["image"] for one in both]) > 0.3


def test_a_new_category_is_told_of(made, own):
    vt.train(own, "logistic", features="text", epochs=2, name="again")
    sample, _ = made
    table = pq.read_table(sample.train)
    key = table.schema.get_field_index("category_id")
    names = table.schema.get_field_index("category_name")
    ids, titles = table.column(key).to_pylist(), table.column(names).to_pylist()
    moved = [at for at, one in enumerate(ids) if one == ids[0]]
    for at in moved:
        ids[at], titles[at] = 987654, "A->New one"
    changed = table.set_column(key, "category_id", [ids]).set_column(
        names, "category_name", [titles]
    )
    path = sample.train.with_name("changed.parquet")
    pq.write_table(changed, path)
    vt.embed(vt.Catalogue.read(path, images=sample.images), own)
    (told,) = [one for one in vt.describe(own)["models"] if one["name"] == "again"]
    assert (told["unknown_categories"], told["unknown_products"]) == (1, len(moved))
    out = path.with_name("predicted.parquet")
    found = vt.classify_to(vt.Catalogue.read(sample.test), own, out, model="again")
    assert found.unknown == {987654: len(moved)}
    assert (
        f"1 categories of {len(moved)} products are unknown to again: 987654" in found.unknown_line
    )
    report = vt.train(own, "logistic", features="text", epochs=2, name="again")
    assert [(one.category_id, one.rows) for one in report.drift.added] == [(987654, len(moved))]
    assert len(report.drift.gone) == 1
    assert any("New one" in line for line in report.lines())
    assert "New one" in (own.model_folder("again") / "card.md").read_text()
    other = vt.train(own, "logistic", features="text", epochs=2, name="first of its name")
    assert other.drift is None


def test_what_makes_no_sense_is_refused(made):
    with pytest.raises(TrainingError, match="late fusion needs text and image vectors"):
        vt.train(made[1], features="text", fusion="late")
    with pytest.raises(OptionError, match="precision must be above 0 and below 1, not 1"):
        vt.train(made[1], precision=1.0)


def test_of_very_many_rows_a_sample_of_groups_judges(made, monkeypatch):
    monkeypatch.setattr("vitrina.pipelines.train.trainer.VOTE_PAIRS", 1)
    whole = vt.train(made[1], "logistic", features="text", epochs=2, name="whole")
    assert whole.evaluated < 1000
    monkeypatch.setattr("vitrina.pipelines.train.trainer.LEAST_EVALUATED", 20)
    some = vt.train(made[1], "logistic", features="text", epochs=2, name="some")
    assert some.evaluated == some.validation.rows == 20


def test_a_saved_model_is_what_was_judged(made, compared):
    model = Model.load(made[1].model_folder("compared"))
    assert model.fusion == compared.fusion
    assert model.back_off.thresholds[0].precision == 0.9
    assert set(model.heads) == set(model.blend.members) - {"vote"}


def test_where_few_are_kept_apart_all_are_judged_in_turn(made, monkeypatch):
    monkeypatch.setattr("vitrina.pipelines.train.trainer.SCARCE", SCARCE)
    report = vt.train(made[1], "logistic", features="text", epochs=2, name="turns")
    assert report.folds == 5
    assert report.evaluated == report.validation.rows > 3 * report.train.rows / 4
    assert "evaluated in 5 folds" in "\n".join(report.lines())
    card = (made[1].model_folder("turns") / "card.md").read_text(encoding="utf-8")
    assert "in 5 folds, each by heads that were not trained on them" in card
    monkeypatch.undo()
    once = vt.train(made[1], "logistic", features="text", epochs=2, name="turns")
    assert once.folds == 1
    assert once.evaluated < report.evaluated / 3


@pytest.mark.slow
def test_a_head_of_one_modality_answers_for_what_lacks_the_other(made):
    vt.train(made[1], "logistic", features="fused", name="stand-ins")
    model = Model.load(made[1].model_folder("stand-ins"))
    assert set(model.heads) == {"fused", "text", "image"}
    weights = {
        str(one): dict(zip(model.blend.members, found.tolist(), strict=True))
        for one, found in model.blend.weights.items()
    }
    assert weights["fused"]["text"] == weights["fused"]["image"] == 0
    assert weights["text"]["text"] > 0 == weights["text"]["image"]
    assert weights["image"]["image"] > 0 == weights["image"]["text"]
