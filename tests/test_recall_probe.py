"""Recall by hand, and queries whose true neighbours are kept up to date as rows come and go."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.vectors import CELL, fused, fused_rows, nearest, units
from vitrina.index.exact import ExcludedRows
from vitrina.index.recall_probe import KEPT, RECALL_AT, Probe, Recall

NOTHING = np.empty(0, dtype=np.int64)


def asked(vectors, among, queries, seed=0):
    among, queries = (np.array(rows, dtype=np.int64) for rows in (among, queries))
    return Probe.ask(fused_rows(vectors), among, queries, seed)


def made(scores, *, floor=-np.inf):
    """A probe of one query whose true neighbours score so; they stand at rows 0, 1, 2..."""
    kept = np.zeros((1, KEPT), dtype=np.float32)
    kept[0, : len(scores)] = scores
    positions = np.where(np.arange(KEPT) < len(scores), np.arange(KEPT), -1)[None, :]
    one = np.ones((1, 4), dtype=np.float32) / 2
    return Probe(one, np.array([-1]), positions, kept, np.array([floor], "f4"), np.array([True]))


# -- recall ---------------------------------------------------------------------------------------


def test_wilsons_interval_by_hand():
    # Of 50 queries 40 found everything and 10 half: a mean of 0.9.
    recall = Recall.of(np.repeat([1.0, 0.5], [40, 10]))
    z = 1.959964
    middle = (0.9 + z**2 / 100) / (1 + z**2 / 50)
    half = z * math.sqrt(0.9 * 0.1 / 50 + z**2 / (4 * 50**2)) / (1 + z**2 / 50)
    assert (recall.at, recall.queries) == (10, 50)
    assert recall.value == pytest.approx(0.9)
    assert (recall.low, recall.high) == pytest.approx((middle - half, middle + half))
    # A table of the interval for 45 of 50 gives 0.786 to 0.957.
    assert recall.to_json() == {
        "at": 10,
        "value": 0.9,
        "low": pytest.approx(0.7864, abs=1e-4),
        "high": pytest.approx(0.9565, abs=1e-4),
        "queries": 50,
    }


def test_the_ends_of_the_interval():
    z2 = 1.959964**2
    everything, nothing = Recall.of(np.ones(20)), Recall.of(np.zeros(20))
    assert (everything.value, everything.high) == (1, 1)
    assert everything.low == pytest.approx(20 / (20 + z2))
    assert (nothing.value, nothing.low) == (0, 0)
    assert nothing.high == pytest.approx(z2 / (20 + z2))
    for count in range(1, 200):
        assert Recall.of(np.ones(count)).high == 1
        assert Recall.of(np.zeros(count)).low == 0
    assert Recall.of(np.zeros(0)) == Recall(10, 0.0, 0.0, 1.0, 0)


def test_shares_by_hand():
    # The tenth best scores 0.5, as does the eleventh; what scores less is no true neighbour.
    truth = [0.9, 0.8, 0.7, *[0.6] * 6, 0.5, 0.5, 0.4]
    found = np.array([[0.9, 0.4, 0.6, -np.inf, 0.5, 0.5 - 5e-6, 0.5 - 2e-5]], dtype=np.float32)
    assert made(truth).prefixes(found).tolist() == [[0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.4]]
    assert made(truth).shares(found).tolist() == [0.4]
    # More ties than there are places count once.
    assert made(truth).shares(np.full((1, 14), 0.5, "f4")).tolist() == [1.0]


def test_shares_where_there_are_fewer_than_ten():
    found = np.array([[0.9, 0.1, -0.2, -np.inf]], dtype=np.float32)
    assert made([0.9, 0.3, -0.2]).prefixes(found).round(6).tolist() == [
        [0.333333, 0.666667, 1.0, 1.0]
    ]
    # Where there is nothing to find, all of it was found.
    assert made([]).shares(found).tolist() == [1.0]


# -- the truth ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_truth_is_that_of_exact_search(dtype):
    vectors = units(300, 12).astype(dtype)
    probe = asked(vectors, range(200), range(200, 300))
    expected, values = nearest(fused([vectors]), probe.queries, KEPT, at=np.arange(200))
    np.testing.assert_array_equal(probe.positions, expected)
    np.testing.assert_allclose(probe.scores, values, atol=1e-6)
    np.testing.assert_array_equal(probe.floor, probe.scores[:, -1])
    np.testing.assert_allclose(probe.queries, fused([vectors])[200:], atol=1e-6)
    assert probe.own.tolist() == [-1] * 100
    assert probe.tuning.sum() == 50
    assert probe.good.all()


def test_a_query_among_the_rows_is_not_its_own_neighbour():
    vectors = units(60, 8)
    probe = asked(vectors, range(60), [3, 59])
    barred = np.arange(60) == np.array([[3], [59]])
    expected, _ = nearest(fused([vectors]), vectors[[3, 59]], KEPT, barred=barred)
    np.testing.assert_array_equal(probe.positions, expected)
    placed = probe.placed(np.array([3, 59]))
    assert (placed.own.tolist(), probe.own.tolist()) == ([3, 59], [-1, -1])


def test_a_seed_decides_which_half_is_tuned_on():
    vectors = units(120, 8)
    one, same, other = (
        asked(vectors, range(99), range(99, 120), seed).tuning for seed in (1, 1, 2)
    )
    assert one.tolist() == same.tolist() != other.tolist()
    assert one.sum() == other.sum() == 10
    probe = asked(vectors, range(99), range(99, 120), 1)
    halves = [probe.half(tuning) for tuning in (True, False)]
    assert [len(half) for half in halves] == [10, 11]
    np.testing.assert_array_equal(halves[0].queries, probe.queries[probe.tuning])
    np.testing.assert_array_equal(halves[1].positions, probe.positions[~probe.tuning])


def test_a_list_that_holds_all_there_is_has_no_floor():
    probe = asked(units(40, 8), range(30), range(30, 40))
    assert (probe.positions[:, :30] >= 0).all()
    assert (probe.positions[:, 30:] == -1).all()
    assert np.isneginf(probe.floor).all()
    assert probe.good.all()


# -- as rows come and go --------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.data())
def test_the_truth_kept_up_to_date_is_the_truth_found_anew(data):
    """Rows of few contents, so that most of them tie; some come, some go, again and again."""
    count = data.draw(st.integers(40, 160))
    seed = data.draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    vectors = CELL[rng.integers(0, 24, count)] if seed % 2 else units(count, 4, seed)
    queries = units(6, 4, seed + 1)
    rows = fused_rows(np.vstack([queries, vectors]))
    there = np.zeros(len(rows), dtype=bool)
    there[6 : 6 + data.draw(st.integers(1, 60))] = True
    # Some of the queries are rows themselves, so that their lists are one shorter.
    inside = data.draw(st.integers(0, 6))
    there[:inside] = True
    probe = Probe.ask(rows, np.flatnonzero(there), np.arange(6), 0)
    probe = probe.placed(np.where(there[:6], np.arange(6), -1))
    done = int(np.flatnonzero(there).max()) + 1
    dead = np.zeros(len(rows), dtype=bool)
    for _ in range(data.draw(st.integers(1, 6))):
        more = min(data.draw(st.integers(0, 30)), len(rows) - done)
        living = np.flatnonzero(there)
        dying = rng.choice(living, rng.integers(0, len(living) // 2 + 1), replace=False)
        dead[dying], there[dying] = True, False
        fresh = np.arange(done, done + more)
        there[fresh], done = True, done + more
        probe = probe.without_rows(dead).with_rows(rows, fresh)
        anew = Probe.ask(rows, np.flatnonzero(there), np.arange(6), 0)
        good = probe.good
        full = (anew.positions[:, RECALL_AT - 1] >= 0)[good]
        # What is known of a good query is right; ties at the floor may stand in another order.
        ten, true = probe.scores[good, :RECALL_AT], anew.scores[good, :RECALL_AT]
        np.testing.assert_array_equal(ten, true)
        assert ((probe.positions[good, :RECALL_AT] >= 0).all(axis=1) == full).all()
        above = probe.scores > np.maximum(probe.floor, anew.floor)[:, None]
        above &= probe.positions >= 0
        assert (probe.positions[above] == anew.positions[above]).all()
        shares = anew.shares(np.where(probe.positions >= 0, probe.scores, -np.inf)[:, :10])
        assert (shares[good] == 1).all()


def test_a_query_whose_neighbours_have_gone_is_good_no_more():
    vectors = units(100, 8)
    probe = asked(vectors, range(90), range(90, 100))
    dead = np.zeros(100, dtype=bool)
    dead[probe.positions[0, : KEPT - 9]] = True
    after = probe.without_rows(dead)
    assert not after.good[0]
    assert len(after.half(True)) + len(after.half(False)) == after.good.sum()
    np.testing.assert_array_equal(after.floor, probe.floor)
    # A row that comes back below the floor tells nothing: others there were forgotten.
    far = int(nearest(vectors, probe.queries[:1], 90, at=np.arange(90))[0][0, -1])
    far = after.with_rows(fused_rows(vectors), np.array([far]))
    assert not far.good[0]
    # As many as went, above the floor, and it is good again.
    back = after.with_rows(fused_rows(vectors), probe.positions[0, : KEPT - 9])
    assert back.good[0]
    np.testing.assert_array_equal(back.positions[0], probe.positions[0])


def test_no_new_rows_change_nothing():
    probe = asked(units(50, 8), range(40), range(40, 50))
    assert probe.with_rows(fused_rows(units(50, 8)), NOTHING) is probe
    after = probe.without_rows(np.zeros(50, dtype=bool))
    np.testing.assert_array_equal(after.positions, probe.positions)
    np.testing.assert_array_equal(after.scores, probe.scores)


def test_a_query_that_becomes_a_row_is_not_its_own_neighbour():
    vectors = units(60, 8)
    queries = np.arange(50, 60)
    probe = asked(vectors, range(50), queries).placed(queries)
    probe = probe.with_rows(fused_rows(vectors), queries)
    anew = asked(vectors, range(60), queries)
    np.testing.assert_array_equal(probe.positions, anew.positions)
    np.testing.assert_array_equal(probe.scores, anew.scores)
    assert not (probe.positions == queries[:, None]).any()
    # Once its product is gone, it is a query like any other.
    dead = np.arange(60) == 53
    assert probe.without_rows(dead).own.tolist() == [50, 51, 52, -1, 54, 55, 56, 57, 58, 59]


# -- on disk --------------------------------------------------------------------------------------


@pytest.mark.parametrize("queries", [0, 1, 25])
def test_what_is_written_is_read(tmp_path, queries):
    vectors = units(100, 9)
    probe = asked(vectors, range(20, 60), range(queries))
    probe = replace(probe, own=np.arange(queries) - 1)
    probe.write(tmp_path / "queries.parquet")
    again = Probe.read(tmp_path / "queries.parquet", 9, 100, "build it again")
    for name in ("queries", "own", "positions", "scores", "floor", "tuning"):
        ours, theirs = getattr(probe, name), getattr(again, name)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)
    # It can be worked with: what Arrow lends can't be written to.
    again.without_rows(np.zeros(100, dtype=bool)).with_rows(fused_rows(vectors), np.arange(60, 100))


def test_barring_takes_positions_of_rows():
    # What `ask` relies on: row 2 bars itself, and -1 bars nothing.
    barred = ExcludedRows([np.arange(4)], [np.array([2, -1])])
    assert barred.candidates(np.array([[1, 2, -1], [2, 3, -1]])).tolist() == [
        [False, True, False],
        [False, False, False],
    ]
