"""The vote of an index, measured leave-one-out, and the rule that it votes by from then on."""

import json
import shutil
from pathlib import PurePosixPath

import numpy as np
import pytest

import vitrina as vt
from support.catalogue_files import jsonl
from vitrina.data.text import normalise_title
from vitrina.errors import StoreError, StoreLockedError, TrainingError
from vitrina.index.vote import DEFAULT_RULE, VoteRule, vote
from vitrina.pipelines.index import leave_one_out as leave_out
from vitrina.pipelines.index import vote_rules as evaluate
from vitrina.pipelines.index.neighbours import SearchFilter
from vitrina.pipelines.index.vote_rules import evaluate_votes, measure_rule
from vitrina.types import VoteKind


@pytest.fixture(scope="module")
def shelf(sample, tmp_path_factory):
    """A store over the sample with an index, and a head to classify by."""
    place = tmp_path_factory.mktemp("leave-out") / "store"
    catalogue = vt.Catalogue.read(sample.train, images=sample.images)
    store = vt.Store.open(place, create=True)
    vt.embed(catalogue, store, text="lexical", image="thumbnail", max_failures=0.5)
    catalogue.close()
    vt.build_index(store)
    vt.train(store, "logistic", epochs=2)
    return place


@pytest.fixture
def store(shelf, tmp_path):
    shutil.copytree(shelf, tmp_path / "store")
    return vt.Store.open(tmp_path / "store")


def heard(index, rows, only):
    """What the 50 nearest say, one product after another."""
    found = [index.of_products(np.array([row]), 50, only) for row in rows]
    positions = np.vstack([one.positions for one in found])
    labels = np.where(positions >= 0, index.labels[positions], -1)
    return labels, np.vstack([one.scores for one in found])


@pytest.fixture(scope="module")
def by_hand(shelf):
    """The same evaluation from single searches, with seed 3."""
    index = vt.open_index(vt.Store.open(shelf))
    rows = np.flatnonzero(index.labels >= 0)
    codes, categories = index.labels[rows], index.categories
    classes = len(categories.ids)
    apart, everybody = (
        heard(index, rows, only) for only in (SearchFilter(no_duplicates=True), SearchFilter())
    )
    votes = evaluate_votes(
        codes, *apart, classes, names=categories.names, ids=categories.ids, seed=3
    )
    rules = (votes.rule, DEFAULT_RULE)
    return votes, [measure_rule(rule, codes, *everybody, classes, seed=3) for rule in rules]


@pytest.mark.parametrize("rows", [pytest.param(4096, marks=pytest.mark.slow), 7])
def test_it_is_what_single_searches_give(store, by_hand, monkeypatch, rows):
    monkeypatch.setattr(leave_out, "BLOCK_ROWS", rows)
    votes, (chosen, default) = by_hand
    found = vt.evaluate_index(store, seed=3)
    assert found.votes == votes
    assert (found.with_duplicates, found.default_with_duplicates) == (chosen, default)
    assert (found.features, found.labelled, found.asked) == ("fused", 102, 102)
    assert found.votes.metrics.rows == found.with_duplicates.rows == 51


def test_duplicates_are_counted(store):
    found = vt.evaluate_index(store)
    rows = [
        row
        for _, batch in store.products.batches(["title", "image_hash"])
        for row in batch.to_pylist()
    ]
    # Whoever shares a title or a photo is among the 50 nearest of these 102.
    has = [
        any(
            normalise_title(one["title"]) == normalise_title(other["title"]) != ""
            or (one["image_hash"] == other["image_hash"] and one["image_hash"])
            for place, other in enumerate(rows)
            if place != at
        )
        for at, one in enumerate(rows)
    ]
    assert found.duplicated == sum(has) > 0


def test_the_rule_is_kept_and_nothing_else_changes(store):
    before = store.manifest.indexes["fused"]
    card = vt.open_index(store).card
    found = vt.evaluate_index(store)
    after = store.manifest.indexes["fused"]
    names = {PurePosixPath(file.path).name: file for file in after.files}
    assert [file for file in after.files if file in before.files] == [
        file for file in before.files if not file.path.endswith("index.json")
    ]
    assert len(after.files) == len(before.files)
    assert names["index.json"].path.startswith(f"{after.path}/")
    assert after.path != before.path
    index = vt.open_index(store)
    metrics = found.votes.metrics
    assert index.card == {
        **card,
        "vote": {
            "rule": found.votes.rule.to_json(),
            "weighted_f1": metrics.weighted_f1,
            "macro_f1": metrics.macro_f1,
            "coverage_at_95": metrics.coverage_at_95,
            "rows": 51,
        },
    }
    assert index.rule == found.votes.rule
    assert index.rule.k > 1
    assert vt.verify(store.place).ok
    (told,) = vt.describe(store)["indexes"]
    assert told == index.card


def test_asked_again_it_says_the_same_and_commits_nothing(store):
    first = vt.evaluate_index(store)
    commit = store.manifest.sequence
    again = vt.evaluate_index(store)
    assert again.votes == first.votes
    assert store.manifest.sequence == commit
    assert vt.evaluate_index(store, seed=1).votes != first.votes


def only_rule(monkeypatch, rule):
    monkeypatch.setattr(evaluate, "rules_to_try", lambda _: [rule])


@pytest.mark.parametrize("neighbours", [3, 30])
def test_classify_votes_by_the_rule_and_lists_what_it_is_asked(
    store, sample, monkeypatch, neighbours
):
    rule = VoteRule(VoteKind.UNIFORM, k=20, prior=0.5)
    batch = vt.open_batch(sample.test, store)
    before = vt.classify(batch, store, neighbours=neighbours).to_pylist()
    only_rule(monkeypatch, rule)
    vt.evaluate_index(store)
    after = vt.classify(batch, store, neighbours=neighbours).to_pylist()
    assert [row["neighbours"] for row in after] == [row["neighbours"] for row in before]
    assert {len(row["neighbours"]) for row in after} == {neighbours}
    assert [row["vote"] for row in after] != [row["vote"] for row in before]
    # By the lists of thirty, the votes come out as they should.
    longest = vt.classify(batch, store, neighbours=30).to_pylist()
    batch.close()
    categories = store.products.categories()
    place = {one: code for code, one in enumerate(categories.ids)}
    near = [row["neighbours"] for row in longest]
    votes = vote(
        np.array([[place.get(one["category_id"], -1) for one in row] for row in near]),
        np.array([[one["score"] for one in row] for row in near], np.float32),
        classes=len(categories.ids),
        rule=rule,
        counts=np.bincount(categories.codes[categories.codes >= 0]),
    )
    expected = [
        {"category_id": categories.ids[code], "share": pytest.approx(share)}
        for code, share in zip(votes.codes, votes.shares, strict=True)
    ]
    assert [row["vote"] for row in after] == expected


def test_the_rule_outlives_an_update_of_the_index(store, sample, monkeypatch):
    rule = VoteRule(VoteKind.SOFTMAX, k=5, temperature=0.05)
    only_rule(monkeypatch, rule)
    vt.evaluate_index(store)
    vt.embed(vt.open_batch(sample.test, store), store, max_failures=0.5)
    index = vt.build_index(store)
    assert index.card["update"]["added"] == sample.test_products
    assert index.rule == rule


def test_of_many_products_a_sample_is_asked(store, monkeypatch):
    monkeypatch.setattr(leave_out, "MOST_QUERIES", 40)
    found = vt.evaluate_index(store, seed=1)
    assert (found.asked, found.labelled, found.votes.metrics.rows) == (40, 102, 20)
    assert vt.evaluate_index(store, seed=1).votes == found.votes
    assert vt.evaluate_index(store, seed=2).votes != found.votes
    assert "40 of 102 labelled products were queries" in found.lines()[-2]


def test_products_without_a_category_neither_ask_nor_vote(tmp_path):
    rows = [
        {"product_id": at, "title": f"чай {at}", "category_id": at % 2 if at < 10 else None}
        for at in range(16)
    ]
    other = vt.Store.open(tmp_path / "other", create=True)
    vt.embed(
        vt.Catalogue.read(jsonl(tmp_path / "tea.jsonl", *rows)), other, text="lexical", image="none"
    )
    vt.build_index(other)
    found = vt.evaluate_index(other)
    assert (found.features, found.labelled, found.asked) == ("text", 10, 10)
    assert found.votes.metrics.rows == 5


def test_too_few_categories_and_no_index(tmp_path):
    rows = [{"product_id": at, "title": f"чай {at}"} for at in range(5)]
    store = vt.Store.open(tmp_path / "store", create=True)
    vt.embed(
        vt.Catalogue.read(jsonl(tmp_path / "tea.jsonl", *rows)), store, text="lexical", image="none"
    )
    with pytest.raises(StoreError, match="no text index"):
        vt.evaluate_index(store, "text")
    vt.build_index(store)
    commit = store.manifest.sequence
    with pytest.raises(TrainingError, match="no labelled row"):
        vt.evaluate_index(store)
    assert store.manifest.sequence == commit


def test_another_writer_is_not_waited_for(store):
    other = vt.Store.open(store.place)
    with other.writer("embed"), pytest.raises(StoreLockedError):
        vt.evaluate_index(store)


def test_json_and_lines(store):
    found = vt.evaluate_index(store)
    plain = found.to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["rule"] == found.votes.rule.to_json()
    assert plain["with_duplicates"] == found.with_duplicates.to_json()
    assert (plain["features"], plain["labelled"], plain["asked"]) == ("fused", 102, 102)
    lines = found.lines()
    assert lines[0].startswith("vote ")
    assert lines[-1].endswith(
        f"weighted F1 {found.with_duplicates.weighted_f1:.4f}, "
        f"default {found.default_with_duplicates.weighted_f1:.4f}"
    )
