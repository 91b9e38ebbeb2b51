"""Time is counted to the stage that took it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from vitrina.stage_timer import OTHER, Stages, stage, stages_line, timed_each, timed_run


def test_shares_sum_to_one_and_the_largest_comes_first() -> None:
    stages = Stages(seconds={"read": 1.0, "encode": 6.0, "write": 1.0})
    assert stages.shares() == {"encode": 0.75, "read": 0.125, "write": 0.125}
    assert next(iter(stages.shares())) == "encode"
    assert stages.bottleneck == "encode"


def test_a_stage_with_many_threads_is_waited_for_less() -> None:
    stages = Stages(workers={"decode": 8}, seconds={"decode": 16.0, "encode": 3.0})
    assert stages.bottleneck == "encode"
    assert next(iter(stages.shares())) == "decode"


def test_nothing_done_is_nothing_told() -> None:
    assert Stages().shares() == {}
    assert Stages(seconds={"read": 0.0}).shares() == {}
    assert Stages().bottleneck is None


def test_threads_add_up() -> None:
    stages = Stages()

    def work(_: int) -> None:
        with stages.timed("decode"):
            time.sleep(0.01)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert stages.seconds["decode"] >= 0.08


def test_a_stage_that_fails_took_its_time_all_the_same() -> None:
    stages = Stages()
    with pytest.raises(KeyError), stages.timed("read"):
        raise KeyError
    assert "read" in stages.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the time on."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def test_every_second_of_a_run_belongs_to_one_stage(clock: Callable[[float], None]) -> None:
    with timed_run() as run:
        clock(1)
        with stage("reading"):
            clock(2)
            with stage("hashing"):
                clock(4)
            clock(8)
        with stage("encoding"):
            clock(16)
        with stage("hashing"):
            clock(32)
        clock(64)
        seconds = run.seconds()
        assert run.total == 127
    assert seconds == {"reading": 10, "hashing": 36, "encoding": 16, OTHER: 65}
    assert [*seconds] == ["reading", "hashing", "encoding", OTHER]
    assert stages_line(seconds) == (
        "reading 10.0 s (8%), hashing 36.0 s (28%), encoding 16.0 s (13%), other 65.0 s (51%)"
    )


def test_a_stage_that_still_runs_is_counted(clock: Callable[[float], None]) -> None:
    with timed_run() as run, stage("saving"):
        clock(3)
        assert run.seconds() == {"saving": 3, OTHER: 0}
        clock(2)
    assert run.seconds() == {"saving": 5, OTHER: 0}


def test_a_stage_that_fails_gives_its_place_back(clock: Callable[[float], None]) -> None:
    with timed_run() as run:
        with suppress(ValueError), stage("fitting"):
            clock(3)
            raise ValueError
        clock(1)
    assert run.seconds() == {"fitting": 3, OTHER: 1}


def test_a_run_within_a_run_is_timed_by_itself(clock: Callable[[float], None]) -> None:
    with timed_run() as outer, stage("embedding"):
        with timed_run() as inner, stage("reading"):
            clock(5)
        with stage("comparing"):
            clock(1)
    assert inner.seconds() == {"reading": 5, OTHER: 0}
    assert outer.seconds() == {"embedding": 5, "comparing": 1, OTHER: 0}


def test_where_nothing_is_timed_and_on_other_threads_a_stage_does_nothing(
    clock: Callable[[float], None],
) -> None:
    def work() -> None:
        with stage("elsewhere"):
            clock(7)

    work()
    with timed_run() as run, ThreadPoolExecutor(1) as pool, stage("waiting"):
        pool.submit(work).result()
    assert run.seconds() == {"waiting": 7, OTHER: 0}
    assert stages_line({}) == stages_line({OTHER: 0.0}) == ""


def test_making_items_is_told_from_using_them(clock: Callable[[float], None]) -> None:
    def made() -> Iterator[int]:
        for at in range(3):
            clock(10)
            yield at
        clock(5)

    with timed_run() as run, stage("reading"):
        for _ in timed_each("hashing", made()):
            clock(1)
    assert run.seconds() == {"reading": 3, "hashing": 35, OTHER: 0}
    assert [*timed_each("hashing", made())] == [0, 1, 2]


def test_an_item_that_fails_gives_its_stage_back(clock: Callable[[float], None]) -> None:
    def failing() -> Iterator[int]:
        yield 1
        clock(2)
        raise KeyError

    with timed_run() as run:
        with suppress(KeyError):
            for _ in timed_each("hashing", failing()):
                clock(1)
        clock(4)
    assert run.seconds() == {"hashing": 2, OTHER: 5}
