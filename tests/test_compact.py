"""Compacting leaves every live vector as it was, in fewer shards and without dead rows."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.cli import vitrina
from support.embedding import (
    BLUE,
    FIRST,
    GREEN,
    IMAGE,
    RED,
    SECOND,
    STUBS,
    TEXT,
    all_files,
    catalogue_of,
    data_files,
    failures,
    run,
    shard_ids,
    use_stubs,
    vectors_of,
)
from support.stopping import stopping_at
from support.stores import put_products, put_space, row
from support.vectors import units
from vitrina import api
from vitrina.errors import OptionError, StoreError
from vitrina.store.compact import piece_sizes
from vitrina.store.plan import plan_merges
from vitrina.store.store import OpenStore

pytestmark = pytest.mark.usefixtures("unsynced")

# After `FIRST` and `SECOND`: 1 and 3 are renamed, 5 and 8 are gone.
THIRD = [
    (9, "чай", 10, RED),
    (1, "чай зелёный", 10, RED),
    (3, "чай чёрный", 10, BLUE),
    (2, "мыло хозяйственное", 11, GREEN),
    (4, "сок", None, BLUE),
    (6, "кофе", 10, None),
    (7, "чай", 11, GREEN),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with many small shards and dead rows; and the catalogue as it is now."""
    root = tmp_path_factory.mktemp("compact")
    with pytest.MonkeyPatch.context() as patch:
        use_stubs(patch.setattr)
        run(root / "shelf", catalogue_of(root / "a", FIRST))
        run(root / "shelf", catalogue_of(root / "b", SECOND))
        now = catalogue_of(root / "c", THIRD)
        run(root / "shelf", now, replace(STUBS, prune=True))
    return root / "shelf", now


@pytest.fixture
def shelf(made, tmp_path):
    """A copy of the store that a test may change."""
    return shutil.copytree(made[0], tmp_path / "shelf")


@pytest.fixture
def catalogue(made):
    return made[1]


def vectors_by_id(path):
    return {
        modality: {
            product: vector.tolist() for product, vector in vectors_of(path, modality).items()
        }
        for modality in (TEXT, IMAGE)
    }


def kept(path):
    """The files that no compaction touches."""
    return {
        name: data
        for name, data in data_files(path).items()
        if "part-" not in name or name.startswith("products/")
    }


def check_whole(path):
    report = api.verify(path)
    assert (report.problems, report.notes) == ([], [])


# -- what it does ---------------------------------------------------------------------------------


def test_small_shards_become_one_and_dead_rows_go(shelf):
    before, others = vectors_by_id(shelf), kept(shelf)
    assert shard_ids(shelf, "text-words") == [[1, 3, 7], [2, 4, 6], [8], [9, 2], [1, 3]]
    assert shard_ids(shelf, "image-colours") == [[1, 5, 2], [7, 3], [8], [9, 4]]
    report = api.compact(OpenStore.open(shelf))
    assert report.to_json() == {
        "store": str(shelf),
        "kept_commits": 3,
        "freed": report.freed,
        "decision_files": 0,
        "spaces": [
            {"space": "text-words", "shards_before": 5, "shards": 1, "rows": 7, "dropped": 4},
            {"space": "image-colours", "shards_before": 4, "shards": 1, "rows": 6, "dropped": 2},
        ],
    }
    assert shard_ids(shelf, "text-words") == [[7, 4, 6, 9, 2, 1, 3]]
    assert shard_ids(shelf, "image-colours") == [[1, 2, 7, 3, 9, 4]]
    assert vectors_by_id(shelf) == before
    assert set(before[TEXT]) == {1, 2, 3, 4, 6, 7, 9}
    assert set(before[IMAGE]) == {1, 2, 3, 4, 7, 9}
    assert kept(shelf) == others
    assert failures(shelf, "image-colours") == {}
    check_whole(shelf)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6])
def test_no_merged_shard_has_more_rows_than_allowed(shelf, rows):
    before, shards = vectors_by_id(shelf), shard_ids(shelf, "text-words")
    api.compact(OpenStore.open(shelf), rows=rows)
    merged = [ids for ids in shard_ids(shelf, "text-words") if ids not in shards]
    assert merged
    assert max(map(len, merged)) <= rows
    assert vectors_by_id(shelf) == before
    check_whole(shelf)
    after = all_files(shelf)
    again = api.compact(OpenStore.open(shelf), rows=rows)
    assert [space.dropped for space in again.spaces] == [0, 0]
    assert all_files(shelf) == after


def test_shards_that_are_full_and_all_live_keep_their_files(shelf):
    before = data_files(shelf)
    api.compact(OpenStore.open(shelf), rows=3)
    # Of 1, 3 and 7 only 7 lives, of the second shard 2 is dead, and 8 is gone.
    assert shard_ids(shelf, "text-words") == [[9, 2], [1, 3], [7, 4, 6]]
    names = [name for name in data_files(shelf) if name.startswith("spaces/text-words/part-")]
    assert [name.split("-")[2] for name in names] == ["000003", "000004", "000005"]
    assert all(before[name] == data_files(shelf)[name] for name in names[:2])


def test_a_second_compaction_makes_no_commit_and_changes_no_byte(shelf):
    api.compact(OpenStore.open(shelf), keep=1)
    after, sequence = all_files(shelf), OpenStore.open(shelf).manifest.sequence
    report = api.compact(OpenStore.open(shelf), keep=1)
    assert all_files(shelf) == after
    assert OpenStore.open(shelf).manifest.sequence == sequence
    assert report.freed == 0
    assert [(one.shards_before, one.shards, one.dropped) for one in report.spaces] == [
        (1, 1, 0)
    ] * 2


def test_a_space_that_is_not_in_use_is_compacted_too(tmp_path):
    store = OpenStore.open(tmp_path / "shelf", create=True)
    ids = ["а", "b", "в", "1"]
    put_products(store, [row(product, f"т{product}") for product in ids])
    texts, old, new = [f"т{product}" for product in ids], units(4, 5, seed=1), units(4, 6, seed=2)
    put_space(store, "old", [(ids[:2], texts[:2], old[:2]), (ids[2:], texts[2:], old[2:])])
    halves = [(ids[at : at + 1], texts[at : at + 1], new[at : at + 1]) for at in range(4)]
    put_space(store, "new", halves, dtype="float32")
    api.compact(store)
    assert shard_ids(tmp_path / "shelf", "old") == shard_ids(tmp_path / "shelf", "new") == [ids]
    for name, expected in (("old", old.astype(np.float16)), ("new", new)):
        ((positions, vectors),) = store.open_space(name).stream(store.products)
        assert positions.tolist() == [0, 1, 2, 3]
        assert vectors.dtype == expected.dtype
        assert np.array_equal(vectors, expected)
    check_whole(tmp_path / "shelf")


def test_shards_of_more_rows_than_are_read_at_once_keep_every_vector(tmp_path):
    store, count = OpenStore.open(tmp_path / "shelf", create=True), 9000
    vectors, texts = units(count, 4), [f"т{at}" for at in range(count)]
    # Every seventh product is gone, and ten more.
    left = [at for at in range(count) if at % 7 and not 4060 <= at < 4070]
    put_products(store, [row(at, texts[at]) for at in left])
    cuts = [(0, 5000), (5000, 5010), (5010, 9000)]
    put_space(store, "s", [(list(range(a, b)), texts[a:b], vectors[a:b]) for a, b in cuts])
    api.compact(store, rows=3000)
    sizes = [len(ids) for ids in shard_ids(tmp_path / "shelf", "s")]
    assert (sizes, sum(sizes)) == ([2139, 2138, 9, 1710, 1710], len(left))
    ids, matrix = api.vectors(store, "text")
    assert ids.to_pylist() == left
    assert np.array_equal(matrix, vectors[left].astype(np.float16))
    check_whole(tmp_path / "shelf")


def test_a_store_of_products_alone_and_an_empty_one_have_nothing_to_compact(tmp_path):
    with OpenStore.open(tmp_path / "shelf", create=True).writer("test"):
        pass
    store = OpenStore.open(tmp_path / "shelf")
    assert api.compact(store).spaces == []
    put_products(store, [row(1, "чай")])
    assert api.compact(store).spaces == []
    assert store.manifest.sequence == 1


def test_a_space_whose_rows_are_all_dead_has_no_shard_left(tmp_path):
    store = OpenStore.open(tmp_path / "shelf", create=True)
    put_products(store, [row(1, "чай")])
    put_space(store, "s", [([1], ["кофе"], units(1, 4)), ([2], ["чай"], units(1, 4))])
    (done,) = api.compact(store, keep=1).spaces
    assert (done.shards, done.rows, done.dropped) == (0, 0, 2)
    assert not list((tmp_path / "shelf").glob("spaces/s/part-*"))
    assert api.vectors(store, "text").matrix.shape == (0, 4)


def test_a_damaged_shard_is_named_and_nothing_is_lost(shelf):
    file = next(shelf.glob("spaces/image-colours/part-000001-*"))
    file.write_bytes(file.read_bytes()[:-20])
    before, store = all_files(shelf), OpenStore.open(shelf)
    with pytest.raises(StoreError, match=f"{file} is damaged"):
        api.compact(store)
    # What was merged of the other space was not put where other readers look.
    assert all_files(shelf) == before
    assert OpenStore.open(shelf).manifest == store.manifest


# -- embedding afterwards -------------------------------------------------------------------------


def test_embedding_the_same_catalogue_afterwards_encodes_nothing(shelf, catalogue, stubs):
    api.compact(OpenStore.open(shelf))
    before = data_files(shelf)
    report = run(shelf, catalogue)
    assert (stubs[TEXT].seen, stubs[IMAGE].seen) == ([], [])
    assert [(one.unchanged, one.embedded, one.reused) for one in report.spaces] == [
        (7, 0, 0),
        (6, 0, 0),
    ]
    assert data_files(shelf) == before


def test_embedding_afterwards_goes_on_with_the_next_number(shelf, tmp_path, stubs):
    api.compact(OpenStore.open(shelf))
    before = vectors_by_id(shelf)
    run(shelf, catalogue_of(tmp_path / "d", [(20, "ёж", 10, None), (21, "чай", 10, GREEN)]))
    assert (stubs[TEXT].seen, stubs[IMAGE].seen) == (["ёж"], [])
    names = [file.name for file in sorted(shelf.glob("spaces/text-words/part-*"))]
    assert [name.split("-")[1] for name in names] == ["000005", "000006"]
    assert shard_ids(shelf, "text-words") == [[7, 4, 6, 9, 2, 1, 3], [20, 21]]
    after = vectors_by_id(shelf)
    assert after[TEXT].items() > before[TEXT].items()
    assert after[TEXT][21] == before[TEXT][9]
    assert after[IMAGE] == {**before[IMAGE], 21: before[IMAGE][2]}
    check_whole(shelf)


def test_what_was_dropped_is_encoded_again_when_it_comes_back(shelf, tmp_path, stubs):
    api.compact(OpenStore.open(shelf))
    run(shelf, catalogue_of(tmp_path / "d", [(8, "хлеб", 10, None)]))
    assert stubs[TEXT].seen == ["хлеб"]


# -- readers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [2, 3])
def test_a_reader_that_began_before_finishes_with_what_it_opened(shelf, keep):
    reader = OpenStore.open(shelf)
    before = api.vectors(reader, "text")
    api.compact(OpenStore.open(shelf), keep=keep)
    after = api.vectors(reader, "text")
    assert after.ids.equals(before.ids)
    assert np.array_equal(after.matrix, before.matrix)
    assert len(reader.space(TEXT).shards) == 5
    reader.refresh()
    assert len(reader.space(TEXT).shards) == 1


def test_a_reader_of_a_commit_that_was_not_kept_is_told_to_open_the_store_again(shelf):
    reader = OpenStore.open(shelf)
    report = api.compact(OpenStore.open(shelf), keep=1)
    with pytest.raises(StoreError, match="is missing from the store; ") as told:
        api.vectors(reader, "text")
    assert "another commit replaced it since this snapshot was opened, open the store again" in str(
        told.value
    )
    assert "\n" not in str(told.value)
    assert report.freed > 0
    assert not any(file.is_file() for file in (shelf / "retired").rglob("*"))
    reader.refresh()
    assert len(api.vectors(reader, "text").ids) == 7


def test_what_is_kept_for_readers_is_bounded_and_goes_when_asked(shelf):
    def retired():
        return sorted(file.name for file in shelf.glob("retired/spaces/*/part-*"))

    replaced = sorted(file.name for file in shelf.glob("spaces/*/part-*"))
    api.compact(OpenStore.open(shelf))
    assert retired() == replaced
    report = api.compact(OpenStore.open(shelf), keep=1)
    assert retired() == []
    assert report.freed > 0
    check_whole(shelf)


def test_other_readers_see_no_row_twice(shelf):
    api.compact(OpenStore.open(shelf))
    frames = [pd.read_parquet(file) for file in shelf.glob("spaces/text-words/part-*.parquet")]
    assert sorted(pd.concat(frames)["product_id"]) == [1, 2, 3, 4, 6, 7, 9]


# -- killed ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keep", "after"), [(1, False), (1, True), (3, True)], ids=["before-1", "after-1", "after-3"]
)
def test_a_compaction_stopped_at_any_change_leaves_every_vector_and_is_finished_later(
    shelf, tmp_path, keep, after
):
    before = vectors_by_id(shelf)
    whole = shutil.copytree(shelf, tmp_path / "whole")
    api.compact(OpenStore.open(whole), keep=keep)
    expected = all_files(whole)
    changes = 0
    while True:
        path = shutil.copytree(shelf, tmp_path / f"shelf{changes}")
        with stopping_at(changes, after=after) as stop:
            api.compact(OpenStore.open(path), keep=keep)
        assert vectors_by_id(path) == before, f"stopped at change {changes}"
        assert api.verify(path).ok, f"stopped at change {changes}"
        api.compact(OpenStore.open(path), keep=keep)
        assert all_files(path) == expected, f"stopped at change {changes}"
        assert vectors_by_id(path) == before, f"stopped at change {changes}"
        if not stop.happened:
            break
        changes += 1
    # Two shards and a manifest are put, nine shards leave; the oldest manifest is deleted.
    assert changes >= 12


# -- the command ----------------------------------------------------------------------------------


def test_the_command_says_what_became_of_each_space(shelf, capsys):
    assert vitrina("compact", shelf, "--keep", "1") == 0
    assert capsys.readouterr().out.splitlines() == [
        "text-words: 5 shards are 1 now, 7 rows, 4 dropped",
        "image-colours: 4 shards are 1 now, 6 rows, 2 dropped",
        f"done: 0.0 MB freed in {shelf}",
    ]
    assert not any(file.is_file() for file in (shelf / "retired").rglob("*"))
    assert vitrina("compact", shelf, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "store": str(shelf),
        "kept_commits": 3,
        "freed": 0,
        "decision_files": 0,
        "spaces": [
            {"space": "text-words", "shards_before": 1, "shards": 1, "rows": 7, "dropped": 0},
            {"space": "image-colours", "shards_before": 1, "shards": 1, "rows": 6, "dropped": 0},
        ],
    }


def test_at_least_one_commit_is_kept_and_one_row_to_a_shard(shelf, capsys):
    before = all_files(shelf)
    assert vitrina("compact", shelf, "--keep", "0") == 2
    assert vitrina("compact", shelf, "--rows", "0") == 2
    assert vitrina("compact", shelf / "nowhere") == 1
    assert "is not a store" in capsys.readouterr().err
    for wrong in ({"keep": 0}, {"keep": 4}, {"rows": 0}):
        with pytest.raises(OptionError, match=r"(keep|rows) must be"):
            api.compact(OpenStore.open(shelf), **wrong)
    assert all_files(shelf) == before


def test_a_manifest_cut_short_after_compacting_to_one_commit_is_survived(shelf):
    before = vectors_by_id(shelf)
    api.compact(OpenStore.open(shelf), keep=1)
    newest = sorted(shelf.glob("manifests/*"))[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    assert [problem.file for problem in api.verify(shelf, repair=True).problems] == [
        f"manifests/{newest.name}"
    ]
    assert vectors_by_id(shelf) == before


# -- the plan -------------------------------------------------------------------------------------


@st.composite
def shards(draw):
    """Rows and live rows of some shards, and how many rows a merged one may have."""
    rows = draw(st.lists(st.integers(1, 20), max_size=20))
    live = [draw(st.integers(0, total) | st.just(total) | st.just(0)) for total in rows]
    return rows, live, draw(st.integers(1, 12))


def stays(group, rows, live):
    return len(group) == 1 and live[group[0]] == rows[group[0]]


def compacted(plan, rows, live, size):
    """Rows of the shards that a plan makes."""
    after = []
    for group in plan:
        alive = sum(live[at] for at in group)
        after += [rows[group[0]]] if stays(group, rows, live) else piece_sizes(alive, size)
    return after


@given(shards())
def test_groups_cover_all_shards_in_order(given_shards):
    plan = plan_merges(*given_shards)
    assert [at for group in plan for at in group] == list(range(len(given_shards[0])))
    assert all(plan)


@given(shards())
def test_no_group_of_several_has_more_live_rows_than_fit(given_shards):
    _, live, size = given_shards
    for group in plan_merges(*given_shards):
        assert len(group) == 1 or sum(live[at] for at in group) <= size


@given(shards())
def test_a_shard_that_is_all_live_and_half_full_is_left_alone(given_shards):
    rows, live, size = given_shards
    for group in plan_merges(*given_shards):
        good = [at for at in group if live[at] == rows[at] and 2 * rows[at] >= size]
        assert len(group) == 1 or not good


@given(shards())
def test_every_live_row_is_kept_and_no_dead_one(given_shards):
    rows, live, size = given_shards
    assert sum(compacted(plan_merges(*given_shards), rows, live, size)) == sum(live)


@given(shards())
def test_of_two_merged_shards_side_by_side_one_is_half_full(given_shards):
    rows, live, size = given_shards
    after = compacted(plan_merges(*given_shards), rows, live, size)
    for left, right in pairwise(after):
        assert 2 * max(left, right) >= size


@given(shards())
def test_a_plan_for_what_a_plan_made_rewrites_nothing(given_shards):
    rows, live, size = given_shards
    after = compacted(plan_merges(*given_shards), rows, live, size)
    assert plan_merges(after, after, size) == [[at] for at in range(len(after))]


@given(st.integers(0, 500), st.integers(1, 40))
def test_pieces_are_as_few_as_hold_all_rows_and_of_one_size(live, size):
    pieces = piece_sizes(live, size)
    assert sum(pieces) == live
    assert len(pieces) == -(-live // size)
    assert all(0 < piece <= size for piece in pieces)
    assert not pieces or max(pieces) - min(pieces) <= 1


def test_a_plan_by_hand():
    # Full, three small ones, one half dead, a full one, and a small one without a neighbour.
    rows, live = [10, 2, 3, 1, 8, 10, 4], [10, 2, 3, 1, 4, 10, 4]
    assert plan_merges(rows, live, 10) == [[0], [1, 2, 3, 4], [5], [6]]
    assert plan_merges(rows, live, 6) == [[0], [1], [2], [3, 4], [5], [6]]
    assert plan_merges([], [], 10) == []
    assert plan_merges([3], [0], 10) == [[0]]
