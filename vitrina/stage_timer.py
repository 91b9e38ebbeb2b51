"""Stage timers: wall-clock time of a run by stage, and thread time within a stage.

`timed_run` times a run. Code called inside it marks its stage with `stage`; no timer is passed
around. Stages may be nested. Each second counts for the innermost stage only, and time outside all
stages counts as `OTHER`, so the stages sum to the run's length.
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
    """Thread-safe stage timer; a stage's seconds are summed over its threads.

    workers: the number of threads a stage may use at once; 1 by default.
    """

    workers: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's time to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + taken

    def shares(self) -> dict[str, float]:
        """Share of the total thread time by stage, largest first; the shares sum to 1."""
        total = sum(self.seconds.values())
        largest_first = sorted(self.seconds.items(), key=lambda item: -item[1])
        return {stage: round(taken / total, 4) for stage, taken in largest_first if total}

    @property
    def bottleneck(self) -> str | None:
        """The stage with the most seconds per worker; None if nothing was timed."""
        return max(
            self.seconds,
            key=lambda stage: self.seconds[stage] / self.workers.get(stage, 1),
            default=None,
        )


class RunTimer:
    """Wall-clock timer of one run on one thread; each second belongs to one stage."""

    def __init__(self) -> None:
        self._started = self._since = time.perf_counter()
        self._stack = [(OTHER, self._since)]
        self._seconds: dict[str, float] = {}
        self._ended = False

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the block's time to a stage, less the time of inner stages."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def enter(self, name: str) -> None:
        """Begin a stage; `leave` ends it."""
        self._charge()
        self._stack.append((name, self._since))
        # In the order in which they begin.
        self._seconds.setdefault(name, 0.0)

    def leave(self) -> None:
        """End the stage that was entered last."""
        self._charge()
        self._stack.pop()

    @property
    def current(self) -> tuple[str, float]:
        """The innermost stage, and the seconds since it began; may be read in another thread."""
        name, since = self._stack[-1]
        return name, time.perf_counter() - since

    @property
    def total(self) -> float:
        """Seconds from the run's start to its end, or to now."""
        self._charge()
        return self._since - self._started

    def end(self) -> None:
        """Stop the timer."""
        self._charge()
        self._ended = True

    def seconds(self) -> dict[str, float]:
        """Seconds by stage so far, in order of first entry with `OTHER` last; their sum is the
        run's length."""
        self._charge()
        found = {name: taken for name, taken in self._seconds.items() if name != OTHER}
        found[OTHER] = self._seconds.get(OTHER, 0.0)
        return {name: round(taken, 2) for name, taken in found.items()}

    def _charge(self) -> None:
        now = self._since if self._ended else time.perf_counter()
        name = self._stack[-1][0]
        self._seconds[name] = self._seconds.get(name, 0.0) + now - self._since
        self._since = now


_RUN: ContextVar[RunTimer | None] = ContextVar("run", default=None)


@contextmanager
def timed_run() -> Iterator[RunTimer]:
    """Time a run; code that it calls on this thread marks stages with `stage`.

    A nested run has its own timer, and its time also counts for the outer run's current stage.
    """
    timer = RunTimer()
    token = _RUN.set(timer)
    try:
        yield timer
    finally:
        timer.end()
        _RUN.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the block's time to a stage of the run timed on this thread, if there is one."""
    timer = _RUN.get()
    if timer is None:
        yield
        return
    with timer.stage(name):
        yield


def so_far() -> dict[str, float]:
    """Return the seconds by stage of the run timed on this thread; empty if there is none."""
    timer = _RUN.get()
    return {} if timer is None else timer.seconds()


def timed_each(name: str, items: Iterable[Item]) -> Iterator[Item]:
    """Yield items, adding the time to produce them, but not to use them, to a stage."""
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


def stages_line(seconds: Mapping[str, float]) -> str:
    """Format stages on one line with their share of the run; stages under 0.05 s are left out."""
    total = sum(seconds.values())
    return ", ".join(
        f"{name} {taken:.1f} s ({taken / total:.0%})"
        for name, taken in seconds.items()
        if taken >= 0.05 and total
    )
