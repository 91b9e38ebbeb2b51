"""The least effort that reaches a goal: what is predicted of it is what a search then has."""

from dataclasses import replace

import numpy as np
import pytest

from support.vectors import built, clustered, entries_of, fused_rows, rows_of, units
from vitrina.index import tune as room
from vitrina.index.recall_probe import Probe
from vitrina.index.results import Effort
from vitrina.index.search import VectorIndex
from vitrina.index.tune import measure, speed, tune
from vitrina.types import IndexKind

FACTORIES = ("IVF16,Flat", "PCA8,IVF16,SQ4", "OPQ8_16,IVF16,PQ8x4fs")


@pytest.fixture(scope="module", params=FACTORIES)
def made(request):
    """An index of 1500 rows and 300 queries that are among them."""
    made_of = built(rows_of(clustered(1500, 16)), request.param, recall=0.9)
    index = made_of.index
    asked = np.arange(0, 1500, 5)
    probe = Probe.ask(index.rows, np.arange(1500), asked, 0)
    return index, probe.placed(asked)


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    # How fast it is takes time to tell, and matters little here.
    monkeypatch.setattr(room, "BATCH", 50)


def share(index, probe, effort):
    """The recall of whole searches, query by query."""
    found = index.with_effort(effort).search_rows(probe.queries, 10, own=probe.own)
    return probe.shares(np.where(found.positions >= 0, found.scores, -np.inf))


@pytest.mark.parametrize("breadth", [1, 3, 16])
def test_what_is_predicted_is_what_a_search_has(made, breadth):
    index, probe = made
    predicted = room.reach(index, probe, breadth)
    for width in (16, 40, 200):
        actual, then = share(index, probe, Effort(breadth, width)), predicted[:, width - 1]
        # A search that finds fewer than ten looks on; and among equals of FAISS's shortest codes
        # others come first as more are asked for.
        assert abs(actual.mean() - then.mean()) < 0.005
        if index.engine.kind is IndexKind.IVF_FLAT and breadth > 1:
            np.testing.assert_allclose(actual, then, atol=1e-9)


@pytest.mark.parametrize("goal", [0.7, 0.9, 0.99])
def test_the_goal_is_reached_on_the_queries_that_it_is_tuned_on(made, goal):
    index, probe = made
    effort = tune(index, probe, goal)
    ours = probe.half(tuning=True)
    shares = share(index, ours, effort)
    assert shares.mean() >= goal + shares.std() / np.sqrt(len(ours)) or shares.mean() == 1
    assert effort.candidates in room.WIDTHS
    assert effort.breadth <= index.engine.most_effort
    # On others it is about as good.
    recall, rate = measure(index.with_effort(effort), probe)
    others = share(index, probe.half(tuning=False), effort)
    assert recall.value == pytest.approx(others.mean())
    assert recall.high >= goal - 0.03
    assert rate > 0


def test_less_is_asked_for_with_less_effort(made):
    index, probe = made
    little, much = (tune(index, probe, goal) for goal in (0.5, 0.99))
    assert little.breadth < much.breadth or little.candidates < much.candidates


def test_where_nothing_reaches_the_goal_it_does_its_most(made, monkeypatch):
    monkeypatch.setattr(room, "WIDTHS", (2, 5))
    index, probe = made
    assert tune(index, probe, 0.9) == Effort(16, 5)


def test_an_exact_index_needs_no_tuning():
    index = built(rows_of(clustered(50, 8)), "Flat").index
    probe = Probe.ask(index.rows, np.arange(50), np.arange(10), 0)
    assert tune(index, probe, 0.99) == Effort(1, 10)


def test_without_queries_it_does_its_most(made):
    index, probe = made
    nothing = replace(probe, tuning=np.zeros(300, dtype=bool))
    assert tune(index, nothing, 0.9) == Effort(16, room.WIDTHS[-1])
    assert speed(index, nothing.half(tuning=True)) == 0.0


def test_what_came_later_is_found_without_any_effort():
    # All true neighbours lie in the delta; the base alone would be searched in vain.
    base, queries = units(400, 16), units(30, 16, seed=1)
    near = np.repeat(queries, 12, axis=0) + 0.05 * units(360, 16, seed=2)
    rows = fused_rows(np.vstack([base, near, queries]).astype(np.float32))
    engine = built(rows.rows.take(np.arange(400)), "PCA2,IVF16,SQ4").index.engine
    dead = np.arange(790) >= 760
    ids = entries_of(range(790)).ids
    index = VectorIndex(engine, rows, ids, dead, Effort(1, 1), {}, "memory")
    probe = Probe.ask(rows, np.arange(760), np.arange(760, 790), 0)
    effort = tune(index, probe, 0.99)
    assert effort.candidates == room.WIDTHS[0]
    assert effort.breadth <= 2
    assert measure(index.with_effort(Effort(1, 1)), probe)[0].value == 1.0


def test_no_more_candidates_than_needed():
    # Lists of whole vectors: whatever is among the lists comes first.
    made_of = built(rows_of(clustered(1500, 16)), "IVF16,Flat", recall=0.9)
    assert made_of.index.effort.candidates == room.WIDTHS[0]
