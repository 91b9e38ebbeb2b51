"""What reviewers say lands in the store at once, is never overwritten, and is what is learnt."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.audits import audited, undecided
from vitrina import api
from vitrina.audit.results import Audit
from vitrina.errors import StoreError
from vitrina.store.decisions import (
    Decision,
    _later,
    add_decisions,
    decision_files,
    merge_decisions,
)
from vitrina.store.repair import repair
from vitrina.store.store import OpenStore
from vitrina.store.verify import verify
from vitrina.types import Action


@pytest.fixture(scope="module")
def made(embedded_sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("decisions") / "store"
    return shutil.copytree(embedded_sample, path)


@pytest.fixture
def store(made):
    return undecided(made)


def said(store, row, action, category=None, **more):
    labels = store.products.categories()
    had = labels.ids[labels.codes[row]]
    category = had if action is Action.KEEP else category
    decision = Decision(store.products.ids[row].as_py(), action, had, category, **more)
    add_decisions(store.files, store.products, [decision])
    return decision


def other(store, row):
    labels = store.products.categories()
    return labels.ids[(labels.codes[row] + 1) % len(labels.ids)]


def test_a_decision_is_what_is_learnt(store):
    labels = store.products.categories()
    wanted = other(store, 3)
    said(store, 3, Action.MOVE, wanted)
    said(store, 5, Action.KEEP)
    said(store, 7, Action.SKIP)
    now = store.labels()
    changed = [row for row in range(len(now.codes)) if now.codes[row] != labels.codes[row]]
    assert changed == [3]
    assert now.ids[now.codes[3]] == wanted
    assert (now.ids, now.names) == (labels.ids, labels.names)


def test_the_last_word_counts_and_may_be_taken_back(store):
    one, two = other(store, 3), store.products.categories().ids[-1]
    first = said(store, 3, Action.MOVE, one, reviewer="Анна")
    second = said(store, 3, Action.MOVE, two, reviewer="Борис")
    now = store.labels()
    assert now.ids[now.codes[3]] == two
    add_decisions(store.files, store.products, [second.undone("Борис")])
    now = store.labels()
    assert now.ids[now.codes[3]] == one
    add_decisions(store.files, store.products, [first.undone("Анна")])
    assert (store.labels().codes == store.products.categories().codes).all()
    # All four are still told of.
    assert [one.action for one in store.decisions().all] == [
        Action.MOVE,
        Action.MOVE,
        Action.UNDO,
        Action.UNDO,
    ]


def test_a_later_decision_stands_whatever_its_clock_says(store):
    one, two = other(store, 3), store.products.categories().ids[-1]
    now = datetime.now(UTC)
    said(store, 3, Action.MOVE, one, reviewer="A", time=now)
    later = said(store, 3, Action.MOVE, two, reviewer="B", time=now - timedelta(minutes=10))
    # Another product's clock is its own.
    elsewhere = said(store, 5, Action.KEEP, time=now - timedelta(hours=1))
    standing = store.decisions().standing
    assert standing[later.product_id].reviewer == "B"
    assert standing[later.product_id].time == now + timedelta(microseconds=1)
    assert standing[elsewhere.product_id].time == elsewhere.time
    # Taking it back counts as later too, and brings the earlier one back.
    undone = replace(later.undone("B"), time=now - timedelta(days=1))
    add_decisions(store.files, store.products, [undone])
    assert store.decisions().standing[later.product_id].reviewer == "A"
    assert store.decisions().all[-1].action is Action.UNDO
    # And a clock that is far ahead does not keep the last word.
    said(store, 3, Action.MOVE, one, reviewer="C", time=now + timedelta(days=400))
    said(store, 3, Action.KEEP, reviewer="D")
    assert store.decisions().standing[later.product_id].reviewer == "D"
    # Made one file, they say the same.
    before = store.decisions()
    merge_decisions(store.files)
    assert store.decisions() == before


@given(
    moments=st.lists(st.tuples(st.integers(0, 2), st.integers(-5, 5)), min_size=1, max_size=12),
    at_once=st.integers(1, 4),
)
def test_the_order_of_adding_is_the_order_of_times(moments, at_once):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = [
        Decision(product, Action.SKIP, 0, time=start + timedelta(seconds=seconds))
        for product, seconds in moments
    ]
    there: list[Decision] = []
    for at in range(0, len(made), at_once):
        new = made[at : at + at_once]
        recorded = _later(new, there)
        assert [one.key for one in recorded] == [
            one.key for one in sorted(new, key=lambda one: one.time)
        ]
        there += recorded
    for product in range(3):
        times = [one.time for one in there if one.product_id == product]
        assert times == sorted(set(times))
    # A decision keeps its own time unless an earlier one is in the way.
    for one in there:
        (given_as,) = [first for first in made if first.key == one.key]
        assert one.time >= given_as.time


def test_a_decision_is_read_back_as_it_was(store):
    before = said(
        store,
        3,
        Action.MOVE,
        other(store, 3),
        reviewer="Анна <b>",
        suggested=other(store, 3),
        shown={"score": 0.5, "reasons": ["model"], "audit": "k"},
    )
    assert store.decisions().all == (before,)


def test_the_owners_later_word_stands(store):
    labels = store.products.categories()
    given = labels.ids[labels.codes[3]]
    # What was shown was another category than the catalogue has by now.
    elsewhere = other(store, 3)
    decision = Decision(store.products.ids[3].as_py(), Action.MOVE, elsewhere, labels.ids[-1])
    assert given not in (elsewhere, labels.ids[-1])
    add_decisions(store.files, store.products, [decision])
    assert (store.labels().codes == labels.codes).all()


def test_a_decision_of_a_product_that_is_gone_changes_nothing(store):
    labels = store.products.categories()
    kind = type(store.products.ids[0].as_py())
    decision = Decision(kind(987654321), Action.MOVE, labels.ids[0], labels.ids[1])
    add_decisions(store.files, store.products, [decision])
    assert (store.labels().codes == labels.codes).all()


def test_a_category_that_lost_its_last_product_comes_back(store):
    labels = store.products.categories()
    said(store, 3, Action.MOVE, max(labels.ids) + 1)
    now = store.labels()
    assert now.ids == (*labels.ids, max(labels.ids) + 1)
    assert now.names[-1] == ""
    assert now.codes[3] == len(labels.ids)


def test_files_are_merged_and_say_the_same(store):
    for row in range(6):
        said(store, row, Action.MOVE, other(store, row))
    before = store.decisions().all
    assert len(decision_files(store.files)) == 6
    assert api.compact(store).decision_files == 6
    assert len(decision_files(store.files)) == 1
    assert store.decisions().all == before
    assert merge_decisions(store.files) == 1


def test_a_decision_in_two_files_counts_once(store):
    decision = said(store, 3, Action.KEEP)
    add_decisions(store.files, store.products, [decision, said(store, 4, Action.KEEP)])
    assert len(store.decisions().all) == 2
    merge_decisions(store.files)
    name = decision_files(store.files)[0]
    assert len(store.decisions().all) == 2
    # Once merged, it stands in the file once too.
    import pyarrow.parquet as pq

    assert pq.read_table(store.files.local(name)).num_rows == 2


def test_a_writer_does_not_keep_a_reviewer_waiting(store):
    with store.writer("embed"):
        said(store, 3, Action.KEEP)
    assert len(store.decisions().all) == 1


def test_a_damaged_file_is_named_and_put_aside(store):
    said(store, 3, Action.KEEP)
    said(store, 4, Action.KEEP)
    name = decision_files(store.files)[0]
    path = store.files.local(name)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match=r"is damaged.*backup"):
        store.decisions()
    report = verify(store)
    assert [problem.file for problem in report.problems] == [name]
    repair(store, report)
    assert verify(store).ok
    assert len(store.decisions().all) == 1
    assert path.with_name(f"{path.name}.damaged").exists()
    path.with_name(f"{path.name}.damaged").unlink()


@pytest.mark.parametrize(
    ("action", "parts", "message"),
    [
        (Action.KEEP, {}, "needs a category"),
        (Action.MOVE, {}, "needs a category"),
        (Action.KEEP, {"category": 2}, "can't be kept"),
        (Action.SKIP, {"category": 1}, "has no category"),
        (Action.UNDO, {}, "an undoing names"),
        (Action.SKIP, {"undoes": "x"}, "an undoing names"),
    ],
)
def test_parts_that_do_not_fit_are_refused(action, parts, message):
    with pytest.raises(StoreError, match=message):
        Decision(1, action, 1, **parts)


def test_an_audit_is_read_back_as_it_was(store):
    audited(store)
    first = Audit.of(store)
    assert [one.rank for one in first.suspects] == list(range(1, 13))
    audited(store, count=4)
    second = Audit.of(OpenStore.open(store.place))
    assert second.suspects == Audit.of(store).suspects
    assert len(second.suspects) == 4
    assert verify(store).ok


def test_a_store_without_an_audit_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="run `vitrina audit"):
        Audit.of(OpenStore.open(tmp_path / "none", create=True))
