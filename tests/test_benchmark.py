"""The benchmark job: the same rows for all methods, honest figures, going on after a kill."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

import vitrina as vt
from support.tuning import products, write_catalogue, write_model
from vitrina.errors import StoreError
from vitrina.index.vote import VoteRule, vote, vote_shares
from vitrina.pipelines.benchmark import methods as methods_module
from vitrina.pipelines.benchmark.blend import (
    LEAST,
    Pool,
    fit_pool,
    interpolate,
    linear_pool,
    logarithmic_pool,
)
from vitrina.pipelines.benchmark.cache_keys import key_of
from vitrina.pipelines.benchmark.dataset import BenchmarkData, PredictionCache
from vitrina.pipelines.benchmark.methods import METHODS, POOLS
from vitrina.pipelines.benchmark.options import BenchmarkOptions
from vitrina.store.store import OpenStore
from vitrina.types import Features, SplitKind, VoteKind

pytestmark = pytest.mark.usefixtures("own_cache")

QUICK = ("naive-bayes", "linear-svm", "text", "vote-text", "knn", "blend-text")


def catalogues(folder, rows=300):
    """Labelled products, and 60 more without categories whose ids go on from there."""
    labelled = vt.Catalogue.read(write_catalogue(folder / "train.csv", rows))
    further = folder / "test.csv"
    with further.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["product_id", "title"])
        for number, title, _ in products(60, seed=9):
            writer.writerow([1000 + number, title])
    return labelled, vt.Catalogue.open(further, labelled.reading)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITRINA_CACHE", str(folder / "cache"))
        return vt.benchmark(
            folder / "out",
            catalogues(folder),
            methods=(*QUICK, "image"),
            text="lexical",
            image="none",
        )


# -- the job --------------------------------------------------------------------------------------


def test_every_method_is_measured_on_the_same_validation_rows(found):
    store = OpenStore.open(found.folder / "store")
    ground = BenchmarkData.of(store, SplitKind.GROUPED, 0)
    true = ground.codes[ground.validation]
    np.testing.assert_array_equal(found.table.true, true)
    for row in found.table.ranked:
        assert row.validation.weighted_f1 == pytest.approx(
            f1_score(true, row.predicted, average="weighted", zero_division=0)
        )
        assert row.validation.weighted_f1 > 0.9
        assert row.validation.rows == len(true)
        assert row.confidence.min() > 0
    # All of these look at text, so what is made of them does too.
    assert {row.modality for row in found.table.ranked} == {Features.TEXT}
    titles = {method.title: method.name for method in METHODS}
    assert {titles[row.name] for row in found.table.ranked} == set(QUICK)
    np.testing.assert_array_equal(
        found.table.sizes, np.bincount(ground.codes[ground.rows], minlength=4)
    )
    sides = [ground.rows, ground.held_out_rows, ground.validation, ground.further]
    assert sorted(np.concatenate(sides)) == list(range(360))
    assert len(ground.further) == 60


def test_what_cannot_be_run_is_left_out_with_the_reason(found):
    (row,) = found.table.left_out
    assert row.name == "image encoder, frozen"
    assert "has no image space" in row.left_out or "leaves it out" in row.left_out


def test_the_files_tell_what_was_found(found):
    told = json.loads((found.folder / "table.json").read_text())
    assert told["best"] == found.table.ranked[0].name
    assert told["about"]["validation_rows"] == len(found.table.true)
    lines = (found.folder / "table.md").read_text().splitlines()
    assert len(lines) == 2 + len(QUICK) + 1
    page = (found.folder / "report.html").read_text()
    for row in found.table.rows:
        assert row.name in page
    with (found.folder / "submission.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["product_id"]) for row in rows] == list(range(1000, 1060))
    right = [f"c{kind}" for _, _, kind in products(60, seed=9)]
    given = [row["predicted_category_id"] for row in rows]
    assert np.mean(np.array(right) == np.array(given)) > 0.9


@pytest.mark.slow
def test_a_killed_benchmark_goes_on_where_it_was(tmp_path, monkeypatch):
    run, before = [], methods_module.Methods.run

    def counted(self, method):
        run.append(method.name)
        if len(run) == 3:
            raise KeyboardInterrupt
        return before(self, method)

    monkeypatch.setattr(methods_module.Methods, "run", counted)
    given = {"methods": QUICK, "text": "lexical", "image": "none"}
    with pytest.raises(KeyboardInterrupt):
        vt.benchmark(tmp_path / "out", catalogues(tmp_path), **given)
    assert run == ["naive-bayes", "linear-svm", "text"]
    second = vt.benchmark(tmp_path / "out", catalogues(tmp_path), **given)
    assert run[3:] == ["text", "vote-text", "knn", "blend-text"]
    assert len(second.table.ranked) == len(QUICK)
    # Everything is there: nothing is run again, unless it is asked for.
    vt.benchmark(tmp_path / "out", catalogues(tmp_path), **given)
    assert len(run) == 7
    again = vt.benchmark(tmp_path / "out", catalogues(tmp_path), **given, overwrite_cache=True)
    assert len(run) == 13
    for one, other in zip(second.table.ranked, again.table.ranked, strict=True):
        assert (one.name, one.validation) == (other.name, other.validation)
    # Another seed is another split, and nothing of this one counts.
    vt.benchmark(
        tmp_path / "out", catalogues(tmp_path), **{**given, "methods": ("naive-bayes",)}, seed=1
    )
    assert len(run) == 14


def test_other_options_run_only_what_they_concern(tmp_path, monkeypatch):
    run, before = [], methods_module.Methods.run

    def counted(self, method):
        run.append(method.name)
        return before(self, method)

    monkeypatch.setattr(methods_module.Methods, "run", counted)
    given = {"text": "lexical", "image": "none"}
    vt.benchmark(tmp_path / "out", catalogues(tmp_path), methods=("naive-bayes", "text"), **given)
    vt.benchmark(
        tmp_path / "out",
        catalogues(tmp_path),
        methods=("naive-bayes", "text"),
        **given,
        text_epochs=3,
    )
    assert run == ["naive-bayes", "text"]
    # A blend is run once there is more to blend.
    rows = ("naive-bayes", "text", "linear-svm", "blend-text")
    for _ in range(2):
        vt.benchmark(tmp_path / "out", catalogues(tmp_path), methods=rows[:2] + rows[3:], **given)
    assert run[2:] == ["blend-text"]
    vt.benchmark(tmp_path / "out", catalogues(tmp_path), methods=rows, **given)
    assert run[3:] == ["linear-svm", "blend-text"]


def test_what_a_method_depends_on(found):
    ground = BenchmarkData.of(OpenStore.open(found.folder / "store"), SplitKind.GROUPED, 0)
    plain = BenchmarkOptions()
    touched = {}
    for change in (
        {"text_epochs": 9},
        {"image_epochs": 9},
        {"image_size": 32},
        {"from_scratch": True},
        {"seed": 1},
        {"quiet": False, "overwrite_cache": True, "methods": ("text",)},
    ):
        other = replace(plain, **change)
        touched[next(iter(change))] = {
            method.name
            for method in METHODS
            if method.name not in POOLS
            if key_of(method.name, ground, plain) != key_of(method.name, ground, other)
        }
    text = {"text-tuned", "vote-text-tuned", "fused-tuned", "vote-fused-tuned"}
    image = {"image-tuned", "vote-image-tuned", "fused-tuned", "vote-fused-tuned", "efficientnet"}
    assert touched["text_epochs"] == touched["from_scratch"] == text
    assert touched["image_epochs"] == touched["image_size"] == image
    assert touched["seed"] == {method.name for method in METHODS} - set(POOLS)
    assert not touched["quiet"]


def test_encoders_are_tuned_once_and_serve_heads_and_votes(tmp_path):
    model = str(write_model(tmp_path / "bert"))
    rows = ("text-tuned", "vote-text-tuned", "knn", "blend-text")
    found = vt.benchmark(
        tmp_path / "out",
        catalogues(tmp_path),
        methods=rows,
        text=model,
        image="none",
        text_epochs=25,
    )
    assert [row.left_out for row in found.table.left_out] == []
    by_name = {row.name: row for row in found.table.ranked}
    tuned = by_name["text encoder, fine-tuned"]
    assert tuned.history
    assert tuned.note == f"{tmp_path.name}/bert"
    assert tuned.train.weighted_f1 >= tuned.validation.weighted_f1 - 0.05
    assert by_name["vote over text, fine-tuned"].note.startswith(tuple(VoteKind))
    store = OpenStore.open(tmp_path / "out" / "store")
    assert not store.manifest.encoders
    assert (tmp_path / "out" / "encoders" / "text-tuned" / "model.safetensors").exists()


def test_a_store_that_is_there_serves_too(tmp_path, found):
    store = OpenStore.open(found.folder / "store")
    other = vt.benchmark(tmp_path / "out", store=store, methods=("naive-bayes",))
    (row,) = other.table.ranked
    same = next(one for one in found.table.ranked if one.name == row.name)
    assert row.validation == same.validation


def test_an_unknown_method_is_one_clear_error(tmp_path):
    message = r"there is no method 'fasttext'; did you mean 'text'\? there are naive-bayes, "
    with pytest.raises(StoreError, match=message):
        vt.benchmark(tmp_path / "out", catalogues(tmp_path), methods=("fasttext",))


# -- blends ---------------------------------------------------------------------------------------


def noisy(labels, classes, right, seed):
    """Probabilities of a method that gives the true class `right` more than the others."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += right
    shares = np.exp(logits)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float16)


def loss(shares, labels):
    return -np.log(shares[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize(
    ("fitted", "right", "second"),
    [(logarithmic_pool, (2.0, 1.0, 0.0), 0.5), (linear_pool, (1.5, 1.2, 0.0), 0.05)],
)
def test_weights_are_those_of_least_loss(fitted, right, second):
    labels = np.random.default_rng(0).integers(5, size=600)
    parts = [noisy(labels, 5, more, seed) for seed, more in enumerate(right, start=1)]
    pool = fitted(parts, labels)
    best = loss(pool(parts), labels)
    for at in range(3):
        for step in (-0.05, 0.05):
            other = pool.weights.copy()
            other[at] = max(0.0, other[at] + step)
            if pool.linear:
                other /= other.sum()
            assert loss(Pool(pool.linear, other)(parts), labels) >= best - 1e-6
    # The one that knows nothing is not heard, and the better one more than the other.
    assert pool.weights[2] < 0.1
    assert pool.weights[0] > pool.weights[1] > second
    assert best < loss(Pool(pool.linear, np.eye(3, dtype=np.float32)[0])(parts), labels)
    assert pool(parts).sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_the_pool_of_less_loss_is_taken():
    labels = np.random.default_rng(0).integers(5, size=600)
    agreeing = [noisy(labels, 5, 1.0, seed) for seed in range(4)]
    assert not fit_pool(agreeing, labels).linear
    # Each knows some of the rows and gives the truth of the others nothing.
    knowing = [np.full((600, 5), 0.2, dtype=np.float16) for _ in range(2)]
    for part, rows in zip(knowing, (slice(0, 300), slice(300, 600)), strict=True):
        wrong = np.random.default_rng(1).integers(1, 5, size=600)
        part[:] = np.eye(5)[(labels + wrong) % 5]
        part[rows] = np.eye(5)[labels[rows]]
    for parts in (agreeing, knowing):
        pool = fit_pool(parts, labels)
        least = min(
            loss(way(parts, labels)(parts), labels) for way in (linear_pool, logarithmic_pool)
        )
        assert loss(pool(parts), labels) == pytest.approx(least)


def test_an_interpolation_gives_the_vote_the_share_that_scores_best():
    labels = np.random.default_rng(0).integers(5, size=600)
    head, vote = noisy(labels, 5, 2.0, 1), np.eye(5, dtype=np.float16)[labels]
    vote[:200] = np.eye(5)[(labels[:200] + 1) % 5]

    def score(shares):
        return float((shares.argmax(axis=1) == labels).mean())

    pool = interpolate([head, vote], score)
    assert pool.linear
    assert pool.weights.sum() == pytest.approx(1)
    for share in (0.2, 0.5, 0.8):
        other = Pool(linear=True, weights=np.array([1 - share, share], dtype=np.float32))
        assert score(pool([head, vote])) >= score(other([head, vote]))
    assert score(pool([head, vote])) > max(score(head), score(vote))


@pytest.mark.parametrize("linear", [False, True])
def test_a_method_that_says_nothing_leaves_it_to_the_others(linear):
    labels = np.arange(4) % 3
    known = noisy(labels, 3, 2.0, 1)
    silent = np.zeros((4, 3), dtype=np.float16)
    silent[0] = (0, 1, 0)
    out = Pool(linear, np.array([1.0, 1.0], dtype=np.float32))([known, silent])
    expected = known.astype(np.float32)
    np.testing.assert_allclose(out[1:], expected[1:] / expected[1:].sum(axis=1)[:, None], rtol=1e-2)
    own = expected[0] + silent[0] if linear else expected[0] * np.array([LEAST, 1, LEAST])
    np.testing.assert_allclose(out[0], own / own.sum(), rtol=1e-2, atol=1e-5)


# -- answers --------------------------------------------------------------------------------------


def test_answers_are_kept_whole_or_not_at_all(tmp_path):
    answers = PredictionCache(tmp_path / "kept", 5, 3)
    blocks = [np.full((2, 3), 0.25, dtype=np.float32), np.full((3, 3), 0.5, dtype=np.float32)]
    kept = answers.put("one", iter(blocks))
    assert kept[:, 0].tolist() == [0.25, 0.25, 0.5, 0.5, 0.5]
    assert answers.has("one")

    def broken():
        yield blocks[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answers.put("two", broken())
    assert not answers.has("two")
    assert not PredictionCache(tmp_path / "kept", 6, 3).has("one")
    (tmp_path / "kept" / "three..npy").write_bytes(b"nothing")
    assert not answers.has("three")


def test_answers_of_other_options_are_never_taken_for_these(tmp_path):
    answers = PredictionCache(tmp_path, 2, 3)
    answers.expect("one", "early")
    answers.put("one", iter([np.full((2, 3), 0.25, dtype=np.float32)]))
    answers.expect("one", "later")
    assert not answers.has("one")
    answers.put("one", iter([np.full((2, 3), 0.5, dtype=np.float32)]))
    assert answers.get("one")[0, 0] == 0.5
    answers.expect("one", "early")
    assert not answers.has("one")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", list(VoteKind))
@pytest.mark.parametrize("prior", [0.0, 0.5])
def test_shares_of_a_vote_are_those_of_its_winner(kind, prior):
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 6, size=(200, 12))
    scores = np.sort(rng.random((200, 12)).astype(np.float32))[:, ::-1]
    labels[:5] = -1
    counts = rng.integers(1, 50, size=6)
    rule = VoteRule(kind, 8, prior=prior)
    shares = vote_shares(labels, scores, classes=6, rule=rule, counts=counts)
    won = vote(labels, scores, classes=6, rule=rule, counts=counts)
    voted = won.codes >= 0
    assert shares[~voted].sum() == 0
    np.testing.assert_allclose(shares[voted].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(shares[voted, won.codes[voted]], won.shares[voted], rtol=1e-5)
    np.testing.assert_allclose(shares[voted].max(axis=1), won.shares[voted], rtol=1e-5)
