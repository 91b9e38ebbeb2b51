import threading
import time

import pytest

from vitrina.parallel import map_ahead


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
