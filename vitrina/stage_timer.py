"""Where the time of a long job goes: a run's wall-clock by stage, and threads' time within one.

A run is timed by `timed_run`, and whatever is called in it may count itself to a stage by `stage`,
without being handed anything. Stages may be nested; each second belongs to the innermost alone, so
they sum to the run's length, with what belongs to none as `OTHER`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")

OTHER = "other"
"""Time of a run that belongs to no stage."""


@dataclass
class Stages:
    """Seconds by stage, summed over the threads that were at it; safe to use from many.

    workers: how many threads a stage may have at once; one where it is not said.
    """

    workers: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count what is done inside to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + taken

    def shares(self) -> dict[str, float]:
        """The part of all threads' time that each stage took, largest first; they sum to 1."""
        total = sum(self.seconds.values())
        largest_first = sorted(self.seconds.items(), key=lambda item: -item[1])
        return {stage: round(taken / total, 4) for stage, taken in largest_first if total}

    @property
    def bottleneck(self) -> str | None:
        """The stage that the others wait for: it took longest for the threads it may have."""
        return max(
            self.seconds,
            key=lambda stage: self.seconds[stage] / self.workers.get(stage, 1),
            default=None,
        )


class RunTimer:
    """The wall-clock of one run, on one thread: each second belongs to one stage."""

    def __init__(self) -> None:
        self._started = self._since = time.perf_counter()
        self._stack = [OTHER]
        self._seconds: dict[str, float] = {}
        self._ended = False

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what is done inside to a stage, but for what inner stages take of it."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def enter(self, name: str) -> None:
        """Begin a stage, which is left by `leave`."""
        self._charge()
        self._stack.append(name)
        # In the order in which they begin.
        self._seconds.setdefault(name, 0.0)

    def leave(self) -> None:
        """Leave the stage that was entered last."""
        self._charge()
        self._stack.pop()

    @property
    def total(self) -> float:
        """Seconds from the run's beginning to its end, or to now."""
        self._charge()
        return self._since - self._started

    def end(self) -> None:
        """Count no more: the run is over."""
        self._charge()
        self._ended = True

    def seconds(self) -> dict[str, float]:
        """Seconds by stage so far, in the order in which stages began, `OTHER` last; they sum to
        the run's length."""
        self._charge()
        found = {name: taken for name, taken in self._seconds.items() if name != OTHER}
        found[OTHER] = self._seconds.get(OTHER, 0.0)
        return {name: round(taken, 2) for name, taken in found.items()}

    def _charge(self) -> None:
        now = self._since if self._ended else time.perf_counter()
        name = self._stack[-1]
        self._seconds[name] = self._seconds.get(name, 0.0) + now - self._since
        self._since = now


_RUN: ContextVar[RunTimer | None] = ContextVar("run", default=None)


@contextmanager
def timed_run() -> Iterator[RunTimer]:
    """Time a run; what it calls on this thread counts itself by `stage`. A run within a run is
    timed by itself, and its time belongs to the outer one's stage."""
    timer = RunTimer()
    token = _RUN.set(timer)
    try:
        yield timer
    finally:
        timer.end()
        _RUN.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count what is done inside to a stage of the run that is timed on this thread, if any is."""
    timer = _RUN.get()
    if timer is None:
        yield
        return
    with timer.stage(name):
        yield


def so_far() -> dict[str, float]:
    """Seconds by stage of the run that is timed on this thread; none where none is."""
    timer = _RUN.get()
    return {} if timer is None else timer.seconds()


def timed_each(name: str, items: Iterable[Item]) -> Iterator[Item]:
    """Give items, so that making each of them counts to a stage, and using them does not."""
    timer, waiting = _RUN.get(), iter(items)
    if timer is None:
        yield from waiting
        return
    while True:
        timer.enter(name)
        try:
            item = next(waiting)
        except StopIteration:
            return
        finally:
            timer.leave()
        yield item


def told(seconds: Mapping[str, float]) -> str:
    """Stages on one line, with their share of the run; those of no length are left out."""
    total = sum(seconds.values())
    return ", ".join(
        f"{name} {taken:.1f} s ({taken / total:.0%})"
        for name, taken in seconds.items()
        if taken >= 0.05 and total
    )
