"""An index whose store has changed since: what it says, and whom it still finds."""

import logging

import numpy as np
import pytest

from support.shelf import Shelf, Words
from support.stores import put_products, put_space, row
from support.vectors import IMAGE, TEXT, check_found, fused
from vitrina import api
from vitrina.errors import StoreError
from vitrina.pipelines.index.index_state import Staleness
from vitrina.store.store import OpenStore

TITLES = {at: f"t{at % 30}" for at in range(40)}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A store of 40 products with an exact index."""
    made = Shelf(tmp_path, monkeypatch, TITLES)
    made.index(factory="Flat")
    return made


@pytest.fixture
def warnings(caplog):
    """What was said since it was last asked for."""

    def said():
        texts = [record.getMessage() for record in caplog.records]
        assert all(record.levelno == logging.WARNING for record in caplog.records)
        assert all(record.name.partition(".")[0] == "vitrina" for record in caplog.records)
        caplog.clear()
        return texts

    caplog.set_level(logging.WARNING)
    return said


def behind(counts):
    return [
        f"the index is behind its store ({counts} since it was brought up to date); "
        "run `vitrina index`"
    ]


def kept(shelf):
    """The products that are as they were when the index was built."""
    return {at: title for at, title in shelf.known().items() if TITLES.get(at) == title}


# -- what it says ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "counts", "told"),
    [
        ({50: "new"}, Staleness(1, 0, 0), "1 added"),
        ({3: "else", 4: "t9"}, Staleness(0, 2, 0), "2 changed"),
        ({3: None, 4: "", 5: ""}, Staleness(0, 0, 3), "3 removed"),
        ({50: "new", 3: "else", 4: None}, Staleness(1, 1, 1), "1 added, 1 changed, 1 removed"),
        # Without a text, or with one that the encoder knows nothing of, there is nothing to find.
        ({50: "", 51: "t1", 6: "t7"}, Staleness(1, 1, 0), "1 added, 1 changed"),
    ],
)
def test_what_has_changed_is_counted(shelf, warnings, changes, counts, told):
    shelf.put(changes)
    index = api.open_index(shelf.store)
    assert index.behind == counts
    assert warnings() == behind(told)
    shelf.check(index.vectors, kept(shelf))
    # Once it was brought up to date there is nothing to say.
    shelf.check(shelf.index().vectors)
    assert api.open_index(shelf.store).behind is None
    assert warnings() == []


def test_up_to_date_it_says_nothing(shelf, warnings):
    assert api.open_index(shelf.store).behind is None
    shelf.put({50: "", 51: ""})
    shelf.titles = dict(reversed(shelf.titles.items()))
    shelf.embed()
    index = api.open_index(shelf.store)
    assert index.behind is None
    shelf.check(index.vectors)
    # What changes and changes back was not missed.
    shelf.put({3: "else", 4: None})
    shelf.put({3: TITLES[3], 4: TITLES[4]})
    assert api.open_index(shelf.store).behind is None
    assert warnings() == []


def test_products_with_vectors_of_zeros_are_no_additions(shelf, warnings):
    shelf.put({50: "zero"})
    shelf.index()
    api.compact(shelf.store)
    assert api.open_index(shelf.store).behind is None
    assert warnings() == []


def test_a_product_whose_vector_becomes_zeros_is_removed(shelf):
    shelf.put({3: "zero", 50: "new"})
    assert api.open_index(shelf.store).behind == Staleness(1, 0, 1)
    shelf.check_update(shelf.index(), "added", added=1, removed=1)


def test_a_search_in_an_index_that_is_behind(shelf, warnings):
    shelf.put({50: "t3", 33: None, 4: "else"})
    index = api.open_index(shelf.store)
    # 3 and 33 had one title, as has 50 by now; 34 has the one that 4 had.
    assert [near.product_id for near in index.search(product=3, k=40)][:1] != [33]
    ids = {near.product_id for near in index.search(product=34, k=40)}
    assert ids == set(TITLES) - {34, 33, 4}
    for product in (33, 4, 50):
        with pytest.raises(StoreError, match=f"product {product} is not in the index"):
            index.search(product=product)
    assert len(warnings()) == 1


def test_a_filter_in_an_index_that_is_behind(shelf):
    shelf.put({50: "t3", 33: None, 4: "else"})
    index = api.open_index(shelf.store)
    found = index.search(product=34, k=40, where=["title~t3"])
    assert {near.product_id for near in found} == {3}
    shelf.index()
    found = api.open_index(shelf.store).search(product=34, k=40, where=["title~t3"])
    assert {near.product_id for near in found} == {3, 50}


# -- compaction -----------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [1, 3])
def test_compacting_changes_no_answer(shelf, warnings, keep):
    shelf.put({50: "new", 3: "else", 4: None})
    before = shelf.index()
    queries = shelf.vectors([f"t{at}" for at in range(20)]).astype(np.float32)
    expected = before.vectors.search(queries, 8)
    shards = shelf.store.space(TEXT).shards
    api.compact(shelf.store, keep=keep)
    assert shelf.store.space(TEXT).shards != shards
    after = api.open_index(shelf.store)
    assert after.behind is None
    found = after.vectors.search(queries, 8)
    np.testing.assert_array_equal(found.positions, expected.positions)
    np.testing.assert_array_equal(found.scores, expected.scores)
    shelf.check(after.vectors)
    # What was opened before goes on: its files are mapped.
    shelf.check(before.vectors)
    assert warnings() == []
    # And after one more update it lies where it was moved to.
    shelf.put({51: "newer", 5: None})
    last = shelf.index()
    assert last.card["update"]["kind"] == "added"
    assert last.card["shards"]["text"] == shelf.store.space(TEXT).shards
    shelf.check(last.vectors)
    assert api.verify(shelf.path).problems == []


def test_compacting_what_is_behind(shelf, warnings):
    shelf.put({50: "new", 3: "else", 4: None})
    api.compact(shelf.store, keep=1)
    index = api.open_index(shelf.store)
    shelf.check(index.vectors, kept(shelf))
    assert warnings() == behind("1 added, 1 changed, 1 removed")
    shelf.check(shelf.index().vectors)


def test_a_store_opened_long_ago_still_answers(shelf, warnings):
    old, titles = shelf.store, shelf.known()
    shelf.put({50: "new", 3: "else", 4: None})
    shelf.index()
    api.compact(shelf.store)
    index = api.open_index(old)
    assert index.behind is None
    shelf.check(index.vectors, titles)
    assert warnings() == []


# -- texts and images -----------------------------------------------------------------------------


class Pair:
    """A store of products with a text, a photo, both or neither, and its fused index."""

    def __init__(self, path):
        self.store, self.products = OpenStore.open(path, create=True), {}
        self.encoders = {TEXT: Words(12), IMAGE: Words(8)}

    def put(self, products):
        """Write everything anew; products: id to a title and a photo, "" for none."""
        self.products = products
        rows = [row(key, title, photo=photo) for key, (title, photo) in products.items()]
        put_products(self.store, rows)
        for number, (modality, encoder) in enumerate(self.encoders.items()):
            has = {key: pair[number] for key, pair in products.items() if pair[number]}
            shard = (list(has), list(has.values()), encoder.encode(list(has.values())))
            put_space(self.store, f"{modality}-m", [shard], modality)

    def check(self, index, expected):
        """That a search finds these products as exact search does."""
        ids = index.vectors.product_ids.to_pylist()
        live = np.flatnonzero(~index.vectors.dead)
        assert sorted(ids[at] for at in live) == sorted(expected)
        vectors, present = [], []
        for number, encoder in enumerate(self.encoders.values()):
            contents = [expected.get(key, ("", ""))[number] for key in ids]
            vectors.append(encoder.encode(contents).astype(np.float16))
            present.append(np.array([bool(content) for content in contents]))
        base = fused(vectors, present)
        queries = base[live].astype(np.float32)
        check_found(index.vectors.search(queries, 6), base, queries, 6, at=live)


def test_a_fused_index_notices_either(tmp_path, monkeypatch, warnings):
    monkeypatch.setattr("os.fsync", lambda _: None)
    pair = Pair(tmp_path / "shelf")
    first = {at: (f"t{at}", f"p{at}" if at % 2 else "") for at in range(60)}
    pair.put(first)
    pair.check(api.build_index(pair.store, "fused", factory="Flat"), first)
    # A photo changes, one comes, one goes, two swap; a text goes; both go; one is as it was.
    second = first | {
        1: ("t1", "other"),
        2: ("t2", "new"),
        3: ("t3", ""),
        5: ("t7", "p5"),
        7: ("t5", "p7"),
        9: ("", "p9"),
        11: ("", ""),
        13: ("p13", "t13"),
        70: ("", "alone"),
    }
    del second[12]
    pair.put(second)
    index = api.open_index(pair.store, "fused")
    assert index.behind == Staleness(added=1, changed=7, removed=2)
    same = {key: value for key, value in second.items() if first.get(key) == value}
    pair.check(index, same)
    assert warnings() == behind("1 added, 7 changed, 2 removed")
    known = {key: value for key, value in second.items() if any(value)}
    index = api.build_index(pair.store, "fused")
    pair.check(index, known)
    assert index.card["update"]["kind"] == "added"
    third = second | {1: ("t1", "third")}
    pair.put(third)
    index = api.build_index(pair.store, "fused")
    assert index.card["update"]["kind"] == "added"
    pair.check(index, known | {1: ("t1", "third")})
    assert warnings() == []
