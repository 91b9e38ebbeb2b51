"""Exact search, pair by pair scores and ranking, against numpy in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.vectors import CELL, check_found, fused, fused_rows, nearest, units
from vitrina.index import exact, score
from vitrina.index.exact import ExcludedRows, exact_search
from vitrina.index.results import SearchResult
from vitrina.index.score import ranked, rows_known, score_pairs


def found(*answer):
    return SearchResult(*answer, None)


def picks(draw, count, most):
    """Some of the 24 vectors of `CELL`, each perhaps many times."""
    return draw(st.lists(st.integers(0, len(CELL) - 1), min_size=count, max_size=most))


@st.composite
def searches(draw):
    """Rows and queries full of ties, a part of the rows to look at, and codes that bar."""
    rows, queries = picks(draw, 1, 60), picks(draw, 1, 8)
    at = draw(st.sets(st.integers(0, len(rows) - 1)).map(sorted))
    kinds = draw(st.integers(0, 2))
    codes = [
        tuple(
            np.array(draw(st.lists(st.integers(-1, 3), min_size=size, max_size=size)))
            for size in (len(rows), len(queries))
        )
        for _ in range(kinds)
    ]
    return CELL[rows], CELL[queries], np.array(at, dtype=np.int64), codes


def barring(codes, rows, queries):
    """What `ExcludedRows` means, as a matrix: (q, n) bool."""
    barred = np.zeros((queries, rows), dtype=bool)
    for of_rows, of_queries in codes:
        barred |= (of_rows == of_queries[:, None]) & (of_queries >= 0)[:, None]
    return barred


@given(
    searches(),
    st.integers(1, 70),
    st.sampled_from([1, 3, 16, 8192]),
    st.sampled_from([1, 100, 1 << 24]),
)
def test_exact_search_is_what_numpy_gives_ties_and_all(case, k, block_rows, tied_pairs):
    base, queries, at, codes = case
    barred = ExcludedRows([rows for rows, _ in codes], [own for _, own in codes])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "BLOCK_ROWS", block_rows)
        patch.setattr(exact, "TIED_PAIRS", tied_pairs)
        positions, scores = exact_search(fused_rows(base), queries, at, k, barred)
    limits = barring(codes, len(base), len(queries))
    expected, values = nearest(base, queries, k, barred=limits, at=at)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(scores, values)
    assert scores.dtype == np.float32


@given(searches(), st.integers(1, 30), st.sampled_from([2, 7]), st.data())
def test_of_two_modalities_and_where_one_is_missing(case, k, block_rows, data):
    text, queries, at, _ = case
    image = CELL[data.draw(st.lists(st.integers(0, 23), min_size=len(text), max_size=len(text)))]
    has_image = image[:, 0] > 0
    present = [np.ones(len(text), dtype=bool), has_image]
    both = np.hstack([queries, queries[::-1]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "BLOCK_ROWS", block_rows)
        rows = fused_rows(text, image, present=present)
        positions, scores = exact_search(rows, both, at, k)
    expected, values = nearest(fused([text, image], present), both, k, at=at)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(scores, values, atol=1e-6)


@pytest.mark.parametrize("block_rows", [50, 333, 8192])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_exact_search_over_many_rows(monkeypatch, dtype, block_rows):
    monkeypatch.setattr(exact, "BLOCK_ROWS", block_rows)
    vectors = units(2000, 24).astype(dtype)
    queries = units(40, 24, seed=1)
    at = np.flatnonzero(np.arange(2000) % 7)
    answer = exact_search(fused_rows(vectors), queries, at, 12)
    check_found(found(*answer), fused([vectors]), queries, 12, at=at)


def test_a_tie_that_reaches_far_past_what_is_asked_for():
    # Every second row is the same; in another block a matrix product gives it other last bits.
    vectors = units(3000, 33)
    vectors[::2] = vectors[0]
    for queries in (vectors[:1], vectors[:41]):
        positions, scores = exact_search(fused_rows(vectors), queries, np.arange(3000), 5)
        assert positions[0].tolist() == [0, 2, 4, 6, 8]
        assert len(set(scores[0].tolist())) == 1


def test_queries_whose_ties_go_on_share_their_looks(monkeypatch):
    vectors = np.repeat(units(6, 16), 50, axis=0)
    asked = []

    def read(at):
        asked.append(len(at))
        return vectors[at]

    monkeypatch.setattr(exact, "TIED_PAIRS", 300 * 40)
    at = np.arange(300)
    answer = exact_search(fused_rows(vectors), vectors[:120], at, 3, read=read)
    check_found(found(*answer), fused([vectors]), vectors[:120], 3, at=at)
    # All queries once, and then 40 at a time.
    assert asked == [300] * 4


def test_vectors_at_hand_are_not_read_again():
    vectors = units(60, 8)
    asked = []

    def read(at):
        asked.append(at)
        return vectors[at]

    at = np.arange(10, 60)
    answer = exact_search(fused_rows(vectors), vectors[:4], at, 3, read=read)
    check_found(found(*answer), fused([vectors]), vectors[:4], 3, at=at)
    np.testing.assert_array_equal(np.concatenate(asked), at)


def test_nothing_to_ask_or_to_look_at():
    vectors = units(5, 4)
    nothing = np.empty(0, dtype=np.int64)
    positions, scores = exact_search(fused_rows(vectors), vectors[:2], nothing, 3)
    assert positions.tolist() == [[-1] * 3] * 2
    assert scores.tolist() == [[0] * 3] * 2
    positions, scores = exact_search(fused_rows(vectors), vectors[:0], np.arange(5), 3)
    assert positions.shape == scores.shape == (0, 3)


# -- Barred ---------------------------------------------------------------------------------------


@given(searches(), st.data())
def test_what_is_barred_among_candidates_and_in_blocks(case, data):
    base, queries, at, codes = case
    barred = ExcludedRows([rows for rows, _ in codes], [own for _, own in codes])
    expected = barring(codes, len(base), len(queries))
    pairs = [pair for who, where in barred.block(at) for pair in zip(who, where, strict=True)]
    marked = np.zeros((len(queries), len(at)), dtype=bool)
    marked[tuple(np.array(pairs, dtype=np.int64).reshape(-1, 2).T)] = True
    np.testing.assert_array_equal(marked, expected[:, at])
    some = np.array(data.draw(st.lists(st.integers(0, len(queries) - 1), max_size=9)), dtype=int)
    candidates = data.draw(st.lists(st.integers(-1, len(base) - 1), min_size=3, max_size=3))
    candidates = np.tile(candidates, (len(some), 1))
    there = np.take_along_axis(expected[some], np.maximum(candidates, 0), 1) & (candidates >= 0)
    np.testing.assert_array_equal(barred.of(some).candidates(candidates), there)


# -- scores and ranks -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 0.5)])
def test_a_pair_is_scored_by_its_exact_inner_product(dtype, weights):
    text, image = units(50, 24, seed=1).astype(dtype), units(50, 7, seed=2).astype(dtype)
    present = [np.arange(50) % 3 > 0, np.arange(50) % 4 > 0]
    rows = fused_rows(text, image, present=present, weights=weights)
    queries = units(20, 31, seed=3)
    positions = np.random.default_rng(0).integers(-1, 50, (20, 30))
    scores = score_pairs(rows, queries, positions)
    expected = queries.astype(np.float64) @ fused([text, image], present, weights).T
    expected = np.take_along_axis(expected, np.maximum(positions, 0), 1)
    nothing = (positions < 0) | ~(present[0] | present[1])[positions]
    assert nothing[positions >= 0].any()
    np.testing.assert_allclose(scores[~nothing], expected[~nothing], atol=1e-6)
    assert np.isneginf(scores[nothing]).all()


def test_a_score_does_not_depend_on_what_else_is_asked(monkeypatch):
    vectors, queries = units(500, 57).astype(np.float16), units(300, 57, seed=1)
    positions = np.random.default_rng(0).integers(0, 500, (300, 40))
    whole = score_pairs(fused_rows(vectors), queries, positions)
    monkeypatch.setattr(score, "ALONE", 0)
    np.testing.assert_array_equal(score_pairs(fused_rows(vectors), queries, positions), whole)
    for row in (0, 7, 299):
        one = score_pairs(fused_rows(vectors), queries[row : row + 1], positions[row : row + 1])
        np.testing.assert_array_equal(one[0], whole[row])
    # The same vector elsewhere scores the same to the last bit.
    copies = np.repeat(vectors[:1], 9, axis=0)
    scores = score_pairs(fused_rows(copies), queries[:1], np.arange(9)[None, :])
    assert len(set(scores[0].tolist())) == 1


@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from([-np.inf, -0.5, 0, 0.5])), max_size=9),
    st.integers(1, 12),
)
def test_ranked_sorts_by_score_and_then_by_position(pairs, k):
    positions = np.array([[at for at, _ in pairs]], dtype=np.int64).reshape(1, -1)
    scores = np.array([[value for _, value in pairs]], dtype=np.float32).reshape(1, -1)
    best, values = ranked(positions, scores, k)
    order = sorted((-value, at) for at, value in pairs if value > -np.inf)[:k]
    missing = k - len(order)
    assert best.tolist() == [[at for _, at in order] + [-1] * missing]
    assert values.tolist() == [[-value for value, _ in order] + [0] * missing]


@pytest.mark.parametrize("block_rows", [4, 65_536])
def test_rows_of_zeros_are_as_good_as_missing(block_rows):
    text, image = units(10, 3, seed=1), units(10, 2, seed=2)
    has_text, has_image = np.arange(10) % 2 == 0, np.arange(10) % 5 == 0
    text[4], image[5] = 0, 0
    rows = fused_rows(text, image, present=[has_text, has_image], weights=(1.0, 2.0))
    # Of 0 there are both; 4 and 5 have zeros alone, the other odd ones nothing.
    assert rows_known(rows, block_rows).tolist() == [0, 2, 6, 8]
    assert rows_known(rows.take(np.array([9, 8, 4])), block_rows).tolist() == [1]
    assert rows_known(rows.take(np.empty(0, dtype=int)), block_rows).tolist() == []
