"""Ordered `map` on threads that computes ahead of its consumer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int], None]
"""Callback that takes the number of units of work finished since the last call."""


def no_progress(done: int) -> None:
    """Ignore progress: a `Progress` that does nothing."""


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """Map on threads, in order, at most `workers` results ahead of the consumer.

    With one worker it is a plain `map` without threads. Exceptions of `function` propagate.
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
    """Map on one thread, in order, computing the next result while the last one is in use.

    function: takes an item and a `Progress`, which it calls regularly. When the consumer stops
    early, that call raises CancelledError and ends the function. Exceptions of `function`
    propagate.
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
