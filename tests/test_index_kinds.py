"""Every kind of index against exact search: at full effort the same ids and scores, as it is tuned
the recall that it claims."""

from dataclasses import replace
from functools import cache

import faiss
import numpy as np
import pytest

from support.vectors import (
    built,
    check_found,
    clustered,
    entries_of,
    fused,
    fused_rows,
    nearest,
    recall_of,
    rows_of,
)
from vitrina.errors import StoreError
from vitrina.index import search
from vitrina.index.build import Goal, build
from vitrina.index.engine import EXTRA_BYTES, Engine, sample_rows
from vitrina.index.exact import ExcludedRows
from vitrina.index.fuse import Fusion
from vitrina.index.recall_probe import QUERIES, Probe, Recall
from vitrina.index.results import Effort
from vitrina.index.tune import measure
from vitrina.types import IndexKind

ROWS, GOAL = 1800, 0.95
KINDS = {
    "Flat": IndexKind.FLAT,
    "HNSW16,SQ8": IndexKind.HNSW,
    "PCA16,HNSW16,SQ8": IndexKind.HNSW,
    "IVF16,SQfp16": IndexKind.IVF_FLAT,
    "IVF16,Flat": IndexKind.IVF_FLAT,
    "IVF16_HNSW8,Flat": IndexKind.IVF_FLAT,
    "OPQ16_32,IVF16,PQ16x4fs": IndexKind.IVF_PQ,
    "IVF16,PQ16x4fs": IndexKind.IVF_PQ,
    "IVF16,PQ8": IndexKind.IVF_PQ,
    "PCA16,SQ8": IndexKind.OTHER,
}
ONE, BOTH = "text, float16", "text and image, float32"
CASES = [
    *((ONE, factory) for factory in KINDS),
    *((BOTH, factory) for factory in KINDS if factory.endswith(("t", "SQ8", "x4fs"))),
]


@cache
def catalogue(name):
    """The vectors of more products than any index holds, and which of them there are."""
    if name == ONE:
        return [clustered(ROWS + 300, 48).astype(np.float16)], None
    numbers = np.arange(ROWS + 300)
    vectors = [clustered(ROWS + 300, 32, seed=1), clustered(ROWS + 300, 16, seed=2)]
    # Some have neither, but none of those to come.
    return vectors, [numbers % 11 > 0, (numbers % 3 > 0) | (numbers >= ROWS)]


@cache
def made(name, factory):
    """An index of the first products, whose rows stand in an order of its own; and the recall of
    each query that it was measured by, at that time."""
    vectors, present = catalogue(name)
    rows = rows_of(*vectors, present=present).take(np.arange(ROWS))
    seen = []

    def measured(index, probe):
        ours, live = probe.half(tuning=False), np.flatnonzero(~index.dead)
        base = index.read(np.arange(len(index.dead))).astype(np.float64)
        own = np.arange(len(base)) == ours.own[:, None]
        found = index.search_rows(ours.queries, 10, own=ours.own)
        seen.append(recall_of(found, base, ours.queries, at=live, barred=own))
        return measure(index, probe)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vitrina.index.build.measure", measured)
        # How fast it is takes time to tell, and matters little here.
        patch.setattr("vitrina.index.tune.BATCH", 50)
        return built(rows, factory, recall=GOAL, seed=1), seen[0]


class Case:
    """An index, and the truth about its rows in their order and about those to come."""

    def __init__(self, name, factory):
        self.factory = factory
        self.vectors, self.present = catalogue(name)
        self.built, self.shares = made(name, factory)
        self.index = self.built.index
        order = next(iter(self.built.entries.places.values()))[1]
        self.order = np.concatenate([order, np.arange(ROWS, ROWS + 300)])
        self.everything = fused(self.vectors, self.present)[self.order]
        self.base = self.everything[: len(order)]
        # Some new ones, and some that the index holds.
        self.queries = np.vstack([self.everything[-50:], self.base[::97]]).astype(np.float32)

    @property
    def most(self):
        """The index at full effort."""
        engine = self.index.engine
        return self.index.with_effort(Effort(engine.most_effort, len(engine)))

    def unreached(self, index):
        """Which rows no search of the queries comes to, (q, n) bool: a graph may have a node that
        no other links to."""
        found = index.search(self.queries, len(index.dead)).positions
        reached = np.zeros((len(self.queries), len(index.dead) + 1), dtype=bool)
        np.put_along_axis(reached, found, True, axis=1)
        away = ~reached[:, :-1] & ~index.dead
        assert away.mean() < (0.005 if index.engine.kind is IndexKind.HNSW else 1e-9)
        return away

    def grown(self, index):
        """The index with the first 100 of the products to come as its delta."""
        rows = fused_rows(*self.vectors, present=self.present)
        rows = rows.take(self.order[: len(self.base) + 100])
        ids = entries_of(range(len(rows))).ids
        return replace(
            index, rows=rows, product_ids=ids, dead=np.zeros(len(rows), dtype=bool)
        ), self.everything[: len(rows)]


def in_turn(name, factory):
    """A case as a parameter, slow if it is not the first of its kind."""
    first = next(one for one, kind in KINDS.items() if kind is KINDS[factory])
    marks = [] if factory == first else [pytest.mark.slow]
    return pytest.param((name, factory), id=f"{name} - {factory}", marks=marks)


@pytest.fixture(params=[in_turn(*one) for one in CASES])
def case(request):
    return Case(*request.param)


def check_scores(found, base, queries):
    """That whatever was found has its exact score, best first, and stands there once."""
    there = found.positions >= 0
    exact = np.take_along_axis(queries.astype(np.float64) @ base.T, found.positions, 1)
    np.testing.assert_allclose(found.scores[there], exact[there], atol=1e-5)
    assert (np.diff(np.where(there, found.scores, -2), axis=1) <= 0).all()
    for row in found.positions:
        assert len(set(row[row >= 0].tolist())) == (row >= 0).sum()


# -- at full effort -------------------------------------------------------------------------------


def test_at_full_effort_it_finds_what_exact_search_does(case):
    assert case.index.engine.kind is KINDS[case.factory]
    assert len(case.index) == len(case.base) == len(case.index.engine)
    away = case.unreached(case.most)
    for k in (1, 15):
        found = case.most.search(case.queries, k)
        check_found(found, case.base, case.queries, k, barred=away)


def test_at_full_effort_with_bars_and_filters(case, monkeypatch):
    monkeypatch.setattr(search, "FEW", 0)
    rng = np.random.default_rng(0)
    shops = rng.integers(0, 9, len(case.base))
    own = np.concatenate([np.full(50, -1), np.arange(len(case.base))[::97]])
    theirs = np.where(own >= 0, shops[own], -1)
    bars = (shops == theirs[:, None]) & (own >= 0)[:, None]
    barred = ExcludedRows([shops], [theirs])
    bars |= case.unreached(case.most)
    for share in (1, 0.5, 0.05):
        allowed = rng.random(len(case.base)) < share
        found = case.most.search_rows(case.queries, 8, own=own, allowed=allowed, barred=barred)
        at = np.flatnonzero(allowed)
        check_found(found, case.base, case.queries, 8, barred=bars, at=at)


def test_the_dead_are_not_found_and_the_delta_is(case):
    index, base = case.grown(case.most)
    index.dead[np.random.default_rng(1).random(len(base)) < 0.3] = True
    found = index.search(case.queries, 10)
    away, live = case.unreached(index), np.flatnonzero(~index.dead)
    check_found(found, base, case.queries, 10, at=live, barred=away)
    assert (found.positions >= len(case.base)).any()


# -- at any effort --------------------------------------------------------------------------------


@pytest.mark.parametrize("effort", [Effort(1, 1), Effort(2, 40)])
def test_at_any_effort_scores_are_exact_and_limits_hold(case, monkeypatch, effort):
    monkeypatch.setattr(search, "FEW", 0)
    index, base = case.grown(case.index.with_effort(effort))
    rng = np.random.default_rng(2)
    index.dead[rng.random(len(base)) < 0.2] = True
    allowed = rng.random(len(base)) < 0.4
    own = index.positions([None] * 50 + np.arange(len(case.base))[::97].tolist())
    shops = np.arange(len(base)) % 5
    barred = ExcludedRows([shops], [np.where(own >= 0, own % 5, 3)])
    found = index.search_rows(case.queries, 12, own=own, allowed=allowed, barred=barred)
    check_scores(found, base, case.queries)
    at = found.positions
    there = at >= 0
    assert there[:, :12].all()
    assert (~index.dead & allowed)[at[there]].all()
    assert not (there & (at == own[:, None])).any()
    assert not (there & (shops[at] == barred.queries[0][:, None])).any()
    # What came later is always found, however little effort is made.
    late = np.flatnonzero(~index.dead & allowed & (np.arange(len(base)) >= len(case.base)))
    bars = shops == barred.queries[0][:, None]
    best, scores = nearest(base, case.queries, 1, barred=bars, at=late)
    expected = (best[:, 0] >= 0) & (scores[:, 0] > found.scores[:, -1] + 1e-5)
    assert expected.any()
    assert (at == best).any(axis=1)[expected].all()


def test_few_rows_of_a_filter_are_searched_exactly(case):
    index = case.index.with_effort(Effort(1, 1))
    allowed = np.random.default_rng(3).random(len(case.base)) < 0.05
    found = index.search(case.queries, 9, allowed=allowed)
    check_found(found, case.base, case.queries, 9, at=np.flatnonzero(allowed))


def test_as_many_are_found_as_are_asked_for(case):
    index = case.index.with_effort(Effort(1, 1))
    for k in (40, 300):
        found = index.search(case.queries[::9], k)
        assert (found.positions >= 0).all()
        check_scores(found, case.base, case.queries[::9])


@pytest.mark.parametrize("factory", ["Flat", "IVF16,Flat", "OPQ16_32,IVF16,PQ16x4fs"])
def test_more_is_asked_for_than_there_are(factory):
    case = Case(ONE, factory)
    found = case.index.search(case.queries[:3], ROWS + 10)
    check_found(found, case.base, case.queries[:3], ROWS + 10)


# -- as it is tuned -------------------------------------------------------------------------------


def test_it_reaches_its_goal_on_queries_that_it_never_saw(case):
    queries = case.everything[-200:].astype(np.float32)
    found = case.index.search(queries, 10)
    assert recall_of(found, case.base, queries).mean() >= GOAL - 0.05
    check_scores(found, case.base, queries)


def test_behind_a_filter_it_finds_as_much(case, monkeypatch):
    monkeypatch.setattr(search, "FEW", 0)
    queries = case.everything[-200:].astype(np.float32)
    for share in (0.3, 0.1):
        allowed = np.random.default_rng(4).random(len(case.base)) < share
        found = case.index.search(queries, 10, allowed=allowed)
        shares = recall_of(found, case.base, queries, at=np.flatnonzero(allowed))
        assert shares.mean() >= GOAL - 0.1


def test_the_recall_that_it_claims_is_what_it_has(case):
    recall, shares = case.built.recall, case.shares
    assert recall == Recall.of(shares)
    assert recall.low < recall.value <= recall.high
    assert recall.high >= GOAL
    if case.factory == "Flat":
        asked = min(QUERIES, len(case.base))
        assert (recall.value, recall.queries) == (1.0, asked - asked // 2)
        assert case.built.probe is None
        return
    # The queries were no part of the index when they were asked; they stand last in it.
    held = len(case.base) // 20
    assert len(case.built.probe) == held
    assert recall.queries == held - held // 2
    assert sorted(case.built.probe.own) == list(range(len(case.base) - held, len(case.base)))
    anew = Probe.ask(
        case.index.rows,
        np.arange(len(case.base)),
        case.built.probe.own,
        seed=1,
    )
    np.testing.assert_array_equal(case.built.probe.positions, anew.positions)
    np.testing.assert_array_equal(case.built.probe.tuning, anew.tuning)


def test_what_was_tried_is_told(case):
    (line,) = case.built.tried
    assert line["factory"] == case.factory
    assert line["parameters"] == case.index.effort.to_json(case.index.engine.kind)
    assert line["recall"] == round(case.built.recall.value, 5)
    assert line["queries_per_second"] == round(case.built.queries_per_second) > 0


def test_of_several_the_fastest_that_reaches_the_goal_is_kept(monkeypatch):
    # As if these were the sizes from which on something else than exact search is built.
    monkeypatch.setattr("vitrina.index.choose.FLAT_NUMBERS", 1000)
    monkeypatch.setattr("vitrina.index.choose.NARROW", 16)
    done = []
    vectors = clustered(1200, 48).astype(np.float16)
    best = build(
        rows_of(vectors),
        entries_of(range(1200)),
        Goal(recall=0.9),
        fusion=Fusion.plain((1.0,)),
        progress=done.append,
    )
    assert [line["factory"] for line in best.tried] == ["OPQ24_48,IVF128,PQ24x4fs", "HNSW32,SQ8"]
    (kept,) = (line for line in best.tried if line["factory"] == best.index.engine.factory)
    assert kept["recall"] == round(best.recall.value, 5)
    for line in best.tried:
        assert line["recall"] < 0.9 or line["queries_per_second"] <= kept["queries_per_second"]
    # All but those held out, counted once though two indexes were built.
    assert 1138 <= sum(done) <= 1140


@pytest.mark.parametrize("factory", ["IVF16,Flat", "OPQ16_32,IVF16,PQ16x4fs", "PCA16,HNSW16,SQ8"])
def test_the_same_seed_builds_the_same_index(factory):
    vectors, queries = clustered(600, 48), clustered(40, 48, seed=9)
    one, same, other = (
        built(rows_of(vectors), factory, recall=0.5, seed=seed) for seed in (0, 0, 1)
    )
    assert one.index.product_ids.equals(same.index.product_ids)
    assert not one.index.product_ids.equals(other.index.product_ids)
    ours, theirs = (two.index.with_effort(Effort(1, 20)).search(queries, 9) for two in (one, same))
    np.testing.assert_array_equal(ours.positions, theirs.positions)
    assert one.recall.queries == same.recall.queries == 15


# -- few rows, and what can't be built ------------------------------------------------------------


@pytest.mark.parametrize("factory", ["IVF2,Flat", "HNSW8", "IVF2_HNSW4,SQ8"])
@pytest.mark.parametrize("rows", [4, 19, 20, 40])
def test_of_few_rows_all_are_found(factory, rows):
    # Of fewer than forty none is left to tune on, so the most effort is made.
    vectors = clustered(rows, 16)
    made_of = built(rows_of(vectors), factory)
    assert len(made_of.probe) == rows // 20
    base = vectors[made_of.index.product_ids.to_numpy()]
    check_found(made_of.index.search(base, rows), fused([base]), base, rows)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("Nonsense", r"can't make an index 'Nonsense': could not parse index string Nonsense$"),
        ("IVF16,PQ7x4fs", r"can't make an index 'IVF16,PQ7x4fs': .*multiple of the number"),
        ("PCA99,Flat", r"can't train 'PCA99,Flat': .*PCA matrix cannot output 99 dimensions"),
        ("OPQ16_64,IVF16,PQ16x4fs", "48 dimensions can't become 64 in 16 parts"),
        ("IVF600,Flat", "600 lists need at least as many training rows, not 285"),
        ("IVF4,PQ8x12", r"can't train 'IVF4,PQ8x12': .*Number of training points \(285\)"),
    ],
)
def test_what_faiss_refuses(factory, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        built(rows_of(clustered(300, 48)), factory)
    assert "/project/" not in str(caught.value)


def test_memory_that_is_too_small():
    rows = rows_of(clustered(300, 48))
    with pytest.raises(StoreError, match="no index of 300 vectors of 48 fits into 0 MB"):
        build(rows, entries_of(range(300)), Goal(memory=1000), fusion=Fusion.plain((1.0,)))


# -- the engine by itself -------------------------------------------------------------------------


def test_written_and_read_it_answers_the_same(case, tmp_path):
    case.index.engine.write(tmp_path / "index.faiss")
    before = case.index.search(case.queries, 10)
    for mapped in (True, False):
        engine = Engine.read(tmp_path / "index.faiss", case.factory, mapped=mapped)
        assert (engine.kind, engine.dim, len(engine)) == (KINDS[case.factory], 48, len(case.base))
        assert engine.most_effort == case.index.engine.most_effort
        found = replace(case.index, engine=engine).search(case.queries, 10)
        np.testing.assert_array_equal(found.positions, before.positions)
        np.testing.assert_array_equal(found.scores, before.scores)


def test_rows_can_be_added_to_what_was_read(case, tmp_path):
    case.index.engine.write(tmp_path / "index.faiss")
    engine = Engine.read(tmp_path / "index.faiss", case.factory, mapped=False)
    index, base = case.grown(case.most)
    engine.extend([index.read(np.arange(len(case.base), len(base)))])
    assert len(engine) == len(base)
    index = replace(index, engine=engine, effort=Effort(engine.most_effort, len(base)))
    found, away = index.search(case.queries, 10), case.unreached(index)
    check_found(found, base, case.queries, 10, barred=away)
    # As a part of the base they are found as the others are: mostly.
    late = base[len(case.base) :].astype(np.float32)
    found = index.with_effort(case.index.effort).search(late, 1)
    assert (found.positions[:, 0] >= len(case.base)).mean() > 0.9
    # What was written is as it was.
    assert len(Engine.read(tmp_path / "index.faiss", case.factory)) == len(case.base)


@pytest.mark.parametrize(
    ("rows", "dim", "factory", "sample"),
    [
        (1000, 48, "IVF16,Flat", 1000),
        (10**6, 48, "Flat", 65_536),
        (10**7, 48, "PCA16,IVF4096_HNSW32,PQ8", 131_072),
        (10**7, 48, "IVF16384,SQfp16", 524_288),
        (10**7, 8192, "IVF16384,SQfp16", 32_768),
        (10**7, 8192, "IVF65536,SQfp16", 65_536),
    ],
)
def test_how_many_rows_are_learnt_from(rows, dim, factory, sample):
    assert sample_rows(rows, dim, factory) == sample


@pytest.fixture(scope="module", params=["OPQ32_64,IVF256,PQ32x4fs", "IVF256,PQ32"])
def large_table(request, tmp_path_factory):
    """The file of an index of 3,000 rows, and its factory."""
    vectors = clustered(3000, 64)
    engine = Engine.train(request.param, 64, vectors, 0)
    engine.fill([vectors])
    path = tmp_path_factory.mktemp("table") / "index.faiss"
    engine.write(path)
    return path, request.param


@pytest.mark.parametrize("mapped", [True, False])
def test_an_index_whose_derived_table_is_larger_than_its_file_is_read(large_table, mapped):
    path, factory = large_table
    assert len(Engine.read(path, factory, mapped=mapped)) == 3000
    if factory.endswith("PQ32"):
        assert path.stat().st_size + EXTRA_BYTES < 4 * 256 * 32 * 256


@pytest.mark.parametrize("more", [1, 300, 1500])
def test_rows_added_to_short_codes_lie_in_the_lists_where_faiss_would_put_them(tmp_path, more):
    vectors, later = clustered(3000, 32), clustered(more, 32, seed=5)
    ours = Engine.train("OPQ16_32,IVF64,PQ16x4fs", 32, vectors, 0)
    ours.fill([vectors])
    ours.write(tmp_path / "index.faiss")
    theirs = faiss.read_index(str(tmp_path / "index.faiss"))
    ours.extend([later[: more // 2], later[more // 2 :]])
    theirs.add(later)
    ours.write(tmp_path / "index.faiss")
    ours = faiss.read_index(str(tmp_path / "index.faiss"))
    assert ours.ntotal == theirs.ntotal == 3000 + more
    for number in range(64):
        lists = [faiss.extract_index_ivf(index).invlists for index in (ours, theirs)]
        ids = [
            faiss.rev_swig_ptr(one.get_ids(number), one.list_size(number)).tolist() for one in lists
        ]
        assert sorted(ids[0]) == sorted(ids[1])
    for index in (ours, theirs):
        faiss.extract_index_ivf(index).nprobe = 8
    np.testing.assert_array_equal(ours.search(later, 10)[0], theirs.search(later, 10)[0])
