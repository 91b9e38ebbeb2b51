"""What a search gives: who is found, in which order, who is left out. Every kind is in
`test_index_kinds`."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.vectors import (
    CELL,
    IMAGE,
    TEXT,
    built,
    check_found,
    entries_of,
    flat,
    fused,
    fused_rows,
    nearest,
    rows_of,
    units,
)
from vitrina.errors import StoreError
from vitrina.index import search
from vitrina.index.build import Goal, build
from vitrina.index.card import Parameters
from vitrina.index.engine import Engine
from vitrina.index.exact import ExcludedRows
from vitrina.index.fuse import Fusion
from vitrina.index.results import Effort, Neighbour
from vitrina.index.search import VectorIndex
from vitrina.typed_json import convert_json
from vitrina.types import IndexKind


def parted(vectors, base, dead=(), ids=None):
    """An exact index whose first rows are the base, the others the delta."""
    engine = Engine.train("Flat", vectors.shape[1], vectors[:0], 0)
    engine.extend([vectors[:base]])
    gone = np.zeros(len(vectors), dtype=bool)
    gone[list(dead)] = True
    ids = pa.array(range(len(vectors)) if ids is None else ids)
    return VectorIndex(engine, fused_rows(vectors), ids, gone, Effort(1, 10), {}, "memory")


# -- who is found ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [4_000_000, 50])
def test_search_is_what_brute_force_gives(monkeypatch, cells):
    monkeypatch.setattr(search, "CELLS", cells)
    monkeypatch.setattr(search, "BLOCK_QUERIES", 16)
    vectors, queries = units(200, 12), units(50, 12, seed=9)
    found = flat(vectors).search(queries, 7)
    np.testing.assert_array_equal(found.positions, nearest(vectors, queries, 7)[0])
    check_found(found, fused([vectors]), queries, 7)
    assert (found.positions.dtype, found.scores.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("as_string", [False, True])
def test_ids_keep_their_type(as_string):
    ids = [str(at * 3) if as_string else at * 3 for at in range(20)]
    vectors = units(20, 5)
    index = flat(vectors, ids)
    found = index.search(vectors[4:5], 2, exclude=[ids[4]])
    barred = (np.arange(20) == 4)[None, :]
    expected = nearest(vectors, vectors[4:5], 2, barred=barred)[0][0]
    assert found.ids(0) == [ids[at] for at in expected]
    score = float(found.scores[0, 0])
    assert found.neighbours(0)[0] == Neighbour(ids[expected[0]], score, 1)
    assert [one.rank for one in found.neighbours(0)] == [1, 2]
    np.testing.assert_allclose(index.vector(ids[7]), vectors[7:8], atol=1e-6)
    # An integer and its digits are one id: a store's integers may have become strings.
    same, other = (12 if as_string else "12"), ("012" if as_string else "+12")
    np.testing.assert_allclose(index.vector(same), vectors[4:5], atol=1e-6)
    assert index.vector(other) is None
    assert index.positions([ids[3], None, other, same, ids[0]]).tolist() == [3, -1, -1, 4, 0]
    if not as_string:
        with pytest.raises(ValueError, match="int64"):
            index.vector(2**63)


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_ties_stand_in_the_order_of_the_index(batch):
    # Twenty contents, each at forty scattered rows: ties run far past what is asked for.
    contents = units(20, 33)
    which = np.random.default_rng(3).integers(0, 20, 800)
    index = flat(contents[which])
    queries = contents[which[:60]]
    expected = nearest(contents[which], queries, 5)[0]
    for start in range(0, 60, batch):
        found = index.search(queries[start : start + batch], 5)
        np.testing.assert_array_equal(found.positions, expected[start : start + batch])


def test_a_product_is_left_out_amid_its_duplicates():
    contents = units(10, 8)
    which = np.random.default_rng(4).integers(0, 10, 300)
    vectors = contents[which]
    index = flat(vectors, [f"p{at}" for at in range(300)])
    found = index.search(vectors, 4, exclude=[f"p{at}" for at in range(300)])
    own = np.eye(300, dtype=bool)
    np.testing.assert_array_equal(found.positions, nearest(vectors, vectors, 4, barred=own)[0])
    assert not (found.positions == np.arange(300)[:, None]).any()


def test_exclusion_is_query_by_query():
    vectors = units(6, 4)
    index = flat(vectors, list("abcdef"))
    found = index.search(vectors[[2, 2, 2]], 1, exclude=["c", None, "not there"])
    assert found.ids(0) != ["c"]
    assert found.ids(1) == found.ids(2) == ["c"]


def test_more_than_there_are():
    vectors = units(3, 4)
    index = flat(vectors, [10, 20, 30])
    found = index.search(vectors[:2], 5, exclude=[10, None])
    barred = np.array([[True, False, False], [False] * 3])
    check_found(found, fused([vectors]), vectors[:2], 5, barred=barred)
    assert found.positions[0].tolist()[2:] == [-1, -1, -1]
    assert found.scores[0].tolist()[2:] == [0, 0, 0]
    assert sorted(found.ids(0)) == [20, 30]
    assert len(found.neighbours(1)) == 3


def test_a_query_of_zeros_has_no_neighbours():
    vectors = units(5, 4)
    queries = np.vstack([vectors[:1], np.zeros_like(vectors[:1]), vectors[3:4]])
    found = flat(vectors).search(queries, 2)
    assert len(found) == 3
    assert found.positions[[0, 2], 0].tolist() == [0, 3]
    assert found.positions[1].tolist() == [-1, -1]
    assert found.scores[1].tolist() == [0, 0]
    assert found.ids(1) == []


def test_no_queries_give_no_rows():
    index = flat(units(5, 4))
    found = index.search(np.zeros((0, 4), dtype=np.float32), 3, exclude=[])
    assert found.positions.shape == found.scores.shape == (0, 3)


def test_queries_of_other_numbers_and_layouts():
    vectors = units(50, 6)
    index, queries = flat(vectors), units(9, 6, seed=1)
    expected = index.search(queries, 4).positions
    for other in (queries.astype(np.float64), np.asfortranarray(queries)):
        np.testing.assert_array_equal(index.search(other, 4).positions, expected)


def test_a_search_that_makes_no_sense_is_refused():
    vectors = units(5, 4)
    index = flat(vectors)
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        index.search(vectors, 0)
    with pytest.raises(ValueError, match=r"queries must be \(q, 4\), not \(5, 3\)"):
        index.search(vectors[:, :3], 1)
    with pytest.raises(ValueError, match="1 ids to exclude for 5 queries"):
        index.search(vectors, 1, exclude=[0])


# -- the base, the delta, the dead, and filters ---------------------------------------------------


@st.composite
def cases(draw):
    """An index in parts, and what may be found of it: many ties."""
    count = draw(st.integers(1, 50))
    which = draw(st.lists(st.integers(0, 23), min_size=count, max_size=count))
    base = draw(st.integers(0, count))
    dead = draw(st.sets(st.integers(0, count - 1), max_size=count // 2))
    mask = st.lists(st.booleans(), min_size=count, max_size=count)
    allowed = draw(st.none() | mask.map(np.array))
    return CELL[which], base, dead, allowed


@settings(max_examples=200)
@given(
    cases(),
    st.lists(st.integers(0, 23), max_size=5),
    st.integers(1, 60),
    st.sampled_from([0, 10, 20_000]),
    st.data(),
)
def test_base_and_delta_are_one_index(case, asked, k, few, data):
    vectors, base, dead, allowed = case
    queries = CELL[asked].reshape(-1, 4)
    own = data.draw(st.lists(st.integers(-1, len(vectors) - 1), min_size=len(asked), max_size=9))
    own = np.array(own[: len(asked)], dtype=np.int64)
    codes = np.arange(len(vectors)) % 7
    barred = ExcludedRows([codes], [codes[own]])
    bars = (codes == codes[own][:, None]) | (np.arange(len(vectors)) == own[:, None])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "FEW", few)
        index = parted(vectors, base, dead)
        found = index.search_rows(queries, k, own=own, allowed=allowed, barred=barred)
    free = ~index.dead if allowed is None else ~index.dead & allowed
    positions, scores = nearest(vectors, queries, k, barred=bars, at=np.flatnonzero(free))
    np.testing.assert_array_equal(found.positions, positions)
    np.testing.assert_array_equal(found.scores, scores)
    assert len(index) == len(vectors) - len(dead)


def test_of_a_product_that_changed_only_the_live_row_is_known():
    vectors = units(6, 4)
    index = parted(vectors, 4, dead=[1, 2], ids=["a", "b", "c", "d", "b", "e"])
    assert index.positions(["a", "b", "c", "d", "e"]).tolist() == [0, 4, -1, 3, 5]
    np.testing.assert_allclose(index.vector("b"), vectors[4:5], atol=1e-6)
    assert index.vector("c") is None
    assert index.search(vectors[1:2], 6, exclude=["b"]).positions[0].tolist()[4:] == [-1, -1]
    assert 4 not in index.search(vectors[4:5], 6, exclude=["b"]).positions


@pytest.mark.parametrize("base", [0, 5])
def test_when_all_are_dead_nothing_is_found(base):
    vectors = units(5, 4)
    found = parted(vectors, base, dead=range(5)).search(vectors, 2)
    assert (found.positions == -1).all()
    assert (found.scores == 0).all()


def test_a_filter_that_leaves_nothing():
    index = flat(units(5, 4))
    found = index.search(units(2, 4), 2, allowed=np.zeros(5, dtype=bool))
    assert (found.positions == -1).all()


# -- building in memory ---------------------------------------------------------------------------


def test_an_exact_index_says_so():
    vectors = units(400, 16)
    made = built(rows_of(vectors))
    assert made.index.engine.kind is IndexKind.FLAT
    assert (len(made.index), made.index.dim) == (400, 16)
    assert made.index.effort.to_json(IndexKind.FLAT) == {}
    assert made.probe is None
    assert (made.recall.value, made.recall.at, made.recall.queries) == (1.0, 10, 200)
    assert [line["factory"] for line in made.tried] == ["Flat"]
    assert made.tried[0]["recall"] == 1.0


def test_recall_takes_any_of_equals_for_right():
    # Every row three times: which of them is found makes no difference.
    made = built(rows_of(np.repeat(units(50, 16), 3, axis=0)))
    assert made.recall.value == 1.0


def test_rows_without_a_vector_are_left_out():
    text, image = units(40, 6, seed=1), units(40, 4, seed=2)
    has_text, has_image = np.arange(40) % 2 == 0, np.arange(40) % 3 == 0
    text[4] = 0
    rows = rows_of(text, image, present=[has_text, has_image])
    made = built(rows, ids=range(100, 140), weights=(2.0, 1.0))
    kept = [at for at in range(40) if at != 4 and (has_text[at] or has_image[at])]
    assert made.index.product_ids.to_pylist() == [100 + at for at in kept]
    assert made.entries.ids.equals(made.index.product_ids)
    assert made.entries.places[TEXT][1].tolist() == kept
    assert (made.index.modalities, made.index.fusion.weights) == ((TEXT, IMAGE), (2.0, 1.0))
    base = fused([text, image], [has_text, has_image], (2.0, 1.0))
    for at in range(40):
        vector = made.index.vector(100 + at)
        assert (vector is None) == (at not in kept)
        if vector is not None:
            np.testing.assert_allclose(vector, base[at : at + 1], atol=1e-6)
    queries = base[kept].astype(np.float32)
    check_found(made.index.search(queries, 6), base[kept], queries, 6)


def test_an_index_of_nothing_is_refused():
    nothing = rows_of(np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(StoreError, match="no product has a text vector to index; run"):
        built(nothing)
    neither = [np.zeros(2, dtype=bool)] * 2
    with pytest.raises(StoreError, match="no product has a text or image vector to index"):
        built(rows_of(units(2, 3), units(2, 3), present=neither))


def test_arguments_that_disagree_are_refused():
    rows = rows_of(units(3, 3))
    with pytest.raises(ValueError, match="2 entries for 3 rows"):
        build(rows, entries_of([1, 2]), Goal(), fusion=Fusion.plain((1.0,)))
    with pytest.raises(ValueError, match="longer"):
        build(rows, entries_of([1, 2, 3]), Goal(), fusion=Fusion.plain((1.0, 1.0)))


def test_another_effort_leaves_the_index_as_it_was():
    index = flat(units(30, 4))
    other = index.with_effort(Effort(3, 20))
    assert (index.effort, other.effort) == (Effort(1, 10), Effort(3, 20))
    assert replace(other, effort=index.effort).engine is index.engine
    assert Effort(8, 50).to_json(IndexKind.IVF_PQ) == {"nprobe": 8, "candidates": 50}
    assert Effort(8, 50).to_json(IndexKind.HNSW) == {"efSearch": 8, "candidates": 50}
    for kind in (IndexKind.IVF_FLAT, IndexKind.HNSW):
        told = Effort(8, 50).to_json(kind)
        assert convert_json(told, Parameters, "it", "mend it").effort == Effort(8, 50)
