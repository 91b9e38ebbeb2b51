"""Bringing an index up to date: what each way of it writes, and that it finds what it should."""

import json
from dataclasses import replace

import numpy as np
import pytest

from support.resealing import reseal
from support.shelf import Shelf
from support.vectors import clustered
from vitrina import api
from vitrina.errors import FingerprintError, OptionError, StoreError
from vitrina.pipelines.index import job

FACTORIES = ("Flat", "IVF4,Flat")
TITLES = {at: f"t{at % 50}" for at in range(60)}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A store of 60 products; of ten titles there are two each."""
    return Shelf(tmp_path, monkeypatch, TITLES)


@pytest.fixture(params=FACTORIES)
def factory(request):
    return request.param


def commits(shelf):
    return shelf.store.manifest.sequence


# -- building -------------------------------------------------------------------------------------


def test_a_new_index(shelf, factory):
    index = shelf.index(factory=factory, recall=0.8, memory=10**9)
    shelf.check_update(index, "built")
    told = shelf.card()
    assert told["goal"] == {"recall": 0.8, "memory": 10**9, "factory": factory}
    assert (told["features"], told["factory"], told["metric"]) == ("text", factory, "inner product")
    assert told["kind"] == {"Flat": "flat", "IVF4,Flat": "ivf-flat"}[factory]
    assert (told["dim"], told["trained_rows"], told["seed"]) == (16, 60, 0)
    assert (told["modalities"], told["weights"]) == (["text"], {"text": 1.0})
    assert told["fingerprints"] == {"text": "a1" * 32}
    assert told["spaces"] == {"text": shelf.store.manifest.active["text"]}
    assert set(shelf.files()) == {
        "index.faiss",
        "index.json",
        "rows-00000.parquet",
        *(["queries.parquet"] if factory != "Flat" else []),
    }
    assert sorted(index.vectors.product_ids.to_pylist()) == list(range(60))


def test_products_without_a_vector_are_left_out(shelf, factory):
    shelf.put({3: "", 4: "zero", 70: "", 71: "zero"})
    shelf.check_update(shelf.index(factory=factory), "built")
    with pytest.raises(StoreError, match=r"product 4 is not in the index at .*text-"):
        api.open_index(shelf.store).search(product=4)


def test_what_can_not_be_indexed(shelf):
    with pytest.raises(StoreError, match="no text index; run `vitrina index` with --features text"):
        api.open_index(shelf.store, "text")
    with pytest.raises(StoreError, match="no image space"):
        shelf.index(features="fused")
    with pytest.raises(OptionError, match="recall must be above 0 and at most 1, not 0"):
        shelf.index(recall=0)
    shelf.put(dict.fromkeys(TITLES, ""))
    with pytest.raises(StoreError, match="no product has a text vector to index"):
        shelf.index()
    assert shelf.store.manifest.indexes == {}


# -- small updates --------------------------------------------------------------------------------


def test_nothing_to_do_makes_no_commit(shelf, factory):
    shelf.index(factory=factory)
    before, there = commits(shelf), shelf.files()
    for options in ({}, {"factory": factory}, {"features": "text"}):
        assert shelf.index(**options).card["update"]["kind"] == "built"
    assert (commits(shelf), shelf.files()) == (before, there)


def test_new_changed_and_removed_products(shelf, factory):
    shelf.index(factory=factory)
    first = shelf.files()
    shelf.put({100: "new", 101: "t7", 102: "", 103: "zero", 5: "else", 6: "t7", 8: None, 9: ""})
    shelf.check_update(shelf.index(), "added", added=2, changed=2, removed=2)
    second = shelf.files()
    for name in ("index.faiss", "rows-00000.parquet"):
        assert second[name] == first[name]
    assert {"rows-00001.parquet", "dead.parquet"} <= set(second)
    assert second["index.json"] != first["index.json"]
    told = shelf.card()
    assert (told["base"], told["delta"], told["dead"], told["trained_rows"]) == (60, 4, 4, 60)
    # What is gone comes back, one as it was and one as another.
    shelf.put({8: "t8", 9: "new", 100: None})
    shelf.check_update(shelf.index(), "added", added=2, removed=1)
    third = shelf.files()
    for name in ("index.faiss", "rows-00000.parquet", "rows-00001.parquet"):
        assert third[name] == second[name]
    assert (shelf.card()["delta"], shelf.card()["dead"]) == (6, 5)


def test_only_removed_products(shelf, factory):
    shelf.index(factory=factory)
    shelf.put({8: None, 58: None})
    shelf.check_update(shelf.index(), "added", removed=2)
    assert "rows-00001.parquet" not in shelf.files()
    # In the next update the name is free still.
    shelf.put({8: "t8"})
    shelf.check_update(shelf.index(), "added", added=1)
    assert "rows-00001.parquet" in shelf.files()


def test_a_change_that_no_vector_shows_is_checked(shelf, factory):
    shelf.index(factory=factory)
    shelf.titles = dict(reversed(TITLES.items()))
    shelf.embed()
    before = commits(shelf)
    shelf.check_update(shelf.index(), "checked")
    assert commits(shelf) == before + 1
    shelf.index()
    assert commits(shelf) == before + 1


def test_what_was_asked_of_an_index_is_asked_of_its_updates(shelf):
    shelf.index(factory="IVF4,Flat", recall=0.7)
    shelf.put({100: "new"})
    shelf.index()
    goal = {"recall": 0.7, "factory": "IVF4,Flat"}
    assert goal.items() <= shelf.card()["goal"].items()
    shelf.check_update(shelf.index(recall=0.6), "built")
    assert {**goal, "recall": 0.6}.items() <= shelf.card()["goal"].items()


# -- folding and building anew --------------------------------------------------------------------


def test_a_large_delta_is_folded_into_the_base(shelf, factory, monkeypatch):
    monkeypatch.setattr(job, "DELTA_ROWS", 4)
    shelf.index(factory=factory)
    first = shelf.files()
    shelf.put({at: f"new{at}" for at in range(100, 104)})
    shelf.check_update(shelf.index(), "added", added=4)
    shelf.put({104: "more", 3: None})
    shelf.check_update(shelf.index(), "folded", added=1, removed=1)
    folded = shelf.files()
    assert folded["index.faiss"] != first["index.faiss"]
    for number in range(2):
        assert folded[f"rows-{number:05d}.parquet"].startswith("indexes/text-")
    assert folded["rows-00000.parquet"] == first["rows-00000.parquet"]
    told = shelf.card()
    assert (told["base"], told["delta"], told["dead"], told["trained_rows"]) == (65, 0, 1, 60)
    shelf.put({105: "and more"})
    shelf.check_update(shelf.index(), "added", added=1)
    assert shelf.files()["index.faiss"] == folded["index.faiss"]


def test_a_share_of_a_large_base_may_be_delta(shelf, factory, monkeypatch):
    monkeypatch.setattr(job, "DELTA_ROWS", 0)
    monkeypatch.setattr(job, "DELTA_SHARE", 20)
    shelf.index(factory=factory)
    shelf.put({at: f"new{at}" for at in range(100, 103)})
    shelf.check_update(shelf.index(), "added", added=3)
    shelf.put({103: "one too many"})
    shelf.check_update(shelf.index(), "folded", added=1)


def test_too_many_dead_rows(shelf, factory):
    shelf.index(factory=factory)
    # A fifth of 60 is 12.
    shelf.put(dict.fromkeys(range(12)))
    shelf.check_update(shelf.index(), "added", removed=12)
    shelf.put({12: None})
    shelf.check_update(shelf.index(), "built")
    told = shelf.card()
    assert (told["base"], told["dead"], told["trained_rows"]) == (47, 0, 47)
    assert "dead.parquet" not in shelf.files()


def test_an_index_that_has_grown_by_half(shelf, factory):
    shelf.index(factory=factory)
    shelf.put({at: f"new{at}" for at in range(100, 130)})
    shelf.check_update(shelf.index(), "added", added=30)
    shelf.put({130: "one more"})
    shelf.check_update(shelf.index(), "built")
    assert shelf.card()["trained_rows"] == 91


@pytest.mark.parametrize(
    "options", [{"rebuild": True}, {"recall": 0.5}, {"memory": 10**8}, {"factory": "HNSW8"}]
)
def test_it_is_built_anew_where_something_else_is_asked_for(shelf, options):
    shelf.index(factory="IVF4,Flat")
    before = shelf.files()
    shelf.put({100: "new"})
    index = shelf.index(**options)
    shelf.check_update(index, "built")
    assert not set(shelf.files().values()) & set(before.values())
    if "rebuild" not in options:
        assert index.card["factory"] == options.get("factory", "IVF4,Flat")


def test_another_kind_suits_the_size_by_now(shelf, monkeypatch):
    monkeypatch.setattr("vitrina.index.choose.FLAT_NUMBERS", 16 * 62)
    assert shelf.index().card["kind"] == "flat"
    shelf.put({100: "new", 101: "newer"})
    shelf.check_update(shelf.index(), "added", added=2)
    shelf.put({102: "newest"})
    shelf.check_update(shelf.index(), "built")
    assert shelf.card()["kind"] != "flat"


def test_vectors_of_another_encoder(shelf, factory):
    shelf.index(factory=factory)
    shelf.words.card = replace(shelf.words.card, model="hf:team/others", fingerprint="c3" * 32)
    shelf.words.vector = lambda text, old=shelf.words.vector: np.roll(old(text), 1)
    shelf.embed()
    with pytest.raises(FingerprintError, match=rf"{'a1' * 32}.*{'c3' * 32}.*run `vitrina index`"):
        api.open_index(shelf.store)
    shelf.check_update(shelf.index(factory=factory), "built")
    assert shelf.card()["fingerprints"] == {"text": "c3" * 32}


CHOSEN = {"rule": {"kind": "uniform", "k": 3, "temperature": 0.1, "prior": 0.5}}


def test_a_vote_that_was_chosen_is_kept(shelf):
    index = shelf.index(factory="Flat")
    told = {**index.card, "vote": CHOSEN}
    folder = shelf.path / shelf.files()["index.json"]
    folder.write_text(json.dumps(told))
    reseal(shelf.path)
    shelf.put({100: "new"})
    assert shelf.index().card["vote"] == CHOSEN
    assert shelf.index(recall=0.5).card["vote"] == CHOSEN
    assert shelf.index(rebuild=True).card["vote"] == CHOSEN


# -- recall ---------------------------------------------------------------------------------------


def test_recall_is_measured_anew_and_effort_raised(shelf, monkeypatch):
    # Clusters, so that a search of one list finds most.
    rows = dict(enumerate(clustered(900, 16)))
    plain = shelf.words.vector
    shelf.words.vector = lambda text: rows[int(text[1:])] if text[1:].isdecimal() else plain(text)
    shelf.put({at: f"v{at}" for at in range(600)})
    first = shelf.index(factory="IVF16,Flat", recall=0.9).card
    assert first["recall"]["queries"] == 15
    shelf.put({at: f"v{at}" for at in range(600, 800)})
    index = shelf.index()
    assert index.card["update"]["kind"] == "added"
    probe = job.folder_of(shelf.store, job.Features.TEXT).probe(16, 10_000)
    assert len(probe) == 30
    base = shelf.vectors([shelf.titles[at] for at in index.vectors.product_ids.to_pylist()])
    ours = probe.half(tuning=False)
    scores = ours.queries @ base.T
    scores[np.arange(len(ours)), ours.own] = -np.inf
    tenth = np.sort(scores, axis=1)[:, -10]
    found = index.vectors.search_rows(ours.queries, 10, own=ours.own)
    share = (found.scores >= tenth[:, None] - 1e-5).mean()
    assert index.card["recall"]["value"] == pytest.approx(share, abs=1e-5)
    assert index.card["recall"]["queries"] == len(ours)
    # As if the lists that it looks at were too few by now.
    monkeypatch.setattr(job, "DELTA_ROWS", 10)
    told = json.loads((shelf.path / shelf.files()["index.json"]).read_text())
    told["parameters"] = {"nprobe": 1, "candidates": 10}
    told["goal"]["recall"] = 0.97
    (shelf.path / shelf.files()["index.json"]).write_text(json.dumps(told))
    reseal(shelf.path)
    shelf.put({at: f"v{at}" for at in range(800, 811)})
    after = shelf.index().card
    assert after["update"]["kind"] == "folded"
    assert after["parameters"]["nprobe"] > 1
    assert after["recall"]["high"] >= 0.97


def test_where_no_queries_are_left_it_is_built_anew(shelf):
    shelf.put({at: f"v{at}" for at in range(200)})
    shelf.index(factory="IVF4,Flat", recall=0.9)
    probe = job.folder_of(shelf.store, job.Features.TEXT).probe(16, 10_000)
    assert len(probe) == 10
    # All but nine of the neighbours known of each query go.
    near = np.unique(probe.positions[:, :28])
    index = api.open_index(shelf.store)
    ids = index.vectors.product_ids.to_pylist()
    shelf.titles |= {at: f"w{at}" for at in range(1000, 1300)}
    shelf.put({ids[at]: None for at in near})
    shelf.check_update(shelf.index(), "built")


def test_many_small_files_of_rows_become_one(shelf, factory, monkeypatch):
    monkeypatch.setattr(job, "ROW_FILES", 3)
    shelf.index(factory=factory)
    counts = []
    for number in range(5):
        shelf.put({100 + number: f"new{number}", number: None})
        shelf.check_update(shelf.index(), "added", added=1, removed=1)
        counts.append(sum(name.startswith("rows-") for name in shelf.files()))
    assert counts == [2, 3, 1, 2, 3]
