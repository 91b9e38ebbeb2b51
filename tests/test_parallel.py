import threading
import time

import pytest

from vitrina.parallel import map_ahead, no_progress, one_ahead


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_order(workers):
    def slow_first(at):
        time.sleep(0.02 if at % 5 == 0 else 0)
        return at * at

    assert list(map_ahead(slow_first, range(23), workers)) == [at * at for at in range(23)]
    assert list(map_ahead(slow_first, [], workers)) == []


@pytest.mark.parametrize("workers", [2, 3])
def test_no_more_is_begun_than_workers_ahead_of_what_was_taken(workers):
    begun, lock = [], threading.Lock()

    def note(at):
        with lock:
            begun.append(at)
        return at

    for taken, at in enumerate(map_ahead(note, range(50), workers), 1):
        time.sleep(0.002)
        assert at == taken - 1
        assert len(begun) <= taken + workers


def test_what_is_raised_comes_at_its_place():
    def fail_at_three(at):
        if at == 3:
            raise OSError("third")
        return at

    results = map_ahead(fail_at_three, range(10), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="third"):
        next(results)


def test_who_stops_taking_stops_the_work():
    begun = []
    results = map_ahead(lambda at: begun.append(at) or at, range(1000), 2)
    next(results)
    results.close()
    assert len(begun) <= 4


def test_the_next_is_made_while_the_last_is_used():
    made, order = threading.Event(), []

    def work(at, _):
        order.append(at)
        if at == 1:
            made.set()
        return at * at

    results = one_ahead(work, range(3), no_progress)
    assert next(results) == 0
    assert made.wait(5)
    assert list(results) == [1, 4]
    assert order == [0, 1, 2]
    assert list(one_ahead(work, [], no_progress)) == []


def test_no_more_than_one_is_ahead():
    begun = []
    for taken in one_ahead(lambda at, _: begun.append(at) or at, range(6), no_progress):
        time.sleep(0.01)
        assert begun[-1] <= taken + 1


def test_what_is_no_longer_wanted_is_not_finished():
    beats, told = [], []

    def long(at, progress):
        for beat in range(10_000):
            if at:
                time.sleep(0.001)
                beats.append(beat)
            progress(1)
        return at

    results = one_ahead(long, range(2), told.append)
    assert next(results) == 0
    results.close()
    assert len(beats) < 9_000
    assert len(told) <= 10_000 + len(beats)


def test_a_fault_comes_out_where_its_result_would():
    def faulty(at, _):
        if at == 1:
            raise KeyError("broken")
        return at

    results = one_ahead(faulty, range(3), no_progress)
    assert next(results) == 0
    with pytest.raises(KeyError, match="broken"):
        next(results)
