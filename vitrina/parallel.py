"""Doing the next few things while the last is being used."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int], None]
"""Told how many more units of work are done."""


def unwatched(done: int) -> None:
    """A `Progress` that nobody looks at."""


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """`map` on threads, in order, never more than `workers` results ahead of what was taken.

    With one worker it is a plain `map`, without a thread. Raises what `function` raises.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def one_ahead(
    function: Callable[[Item, Progress], Result], items: Iterable[Item], progress: Progress
) -> Iterator[Result]:
    """`map` on a thread, in order, where the next result is made while the last is being used.

    function: takes an item and a `Progress`, which it calls now and then; once the results are no
    longer wanted that call ends it. Raises what `function` raises.
    """
    unwanted = threading.Event()

    def watched(done: int) -> None:
        if unwanted.is_set():
            raise CancelledError
        progress(done)

    waiting: Future[Result] | None = None
    with ThreadPoolExecutor(1) as pool:
        try:
            for item in items:
                done, waiting = waiting, pool.submit(function, item, watched)
                if done:
                    yield done.result()
            if waiting:
                yield waiting.result()
        finally:
            unwanted.set()
