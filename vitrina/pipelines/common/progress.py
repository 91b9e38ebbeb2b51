"""Progress of long work: what is being done, how much of it, and the seconds left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitrina.page.words import duration
from vitrina.pipelines.common.progress_display import SCREEN, State, is_quiet
from vitrina.stage_timer import OTHER, RunTimer, timed_run

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

RECENT_SECONDS = 30.0
"""Seconds that the rate is averaged over, so that it follows a slowdown."""
LEAST_SECONDS = 3.0
"""Seconds of measured work below which no rate and no time left are shown."""
LONG_STAGE = 2.0
"""Seconds from which a stage without a count is shown."""


@dataclass(eq=False)
class Meter:
    """Counts work towards a total. Use as a context manager; silent when `quiet`.

    title: name of the work. total: number of units, None if unknown. unit: name of a unit. quiet:
    None for the default, see `default_quiet`. per_pass: units in one pass over the data, for work
    with many passes; progress is then shown in passes, each a `pass_name`. note: shown at the end
    of the line.
    """

    title: str
    total: int | None = None
    unit: str = "products"
    quiet: bool | None = True
    per_pass: int | None = None
    pass_name: str = "pass"
    done: int = 0
    note: str = ""
    _started: float = field(default_factory=lambda: time.monotonic())
    _marks: deque[tuple[float, int]] = field(default_factory=deque)
    _shown: AbstractContextManager[None] | None = None

    def __enter__(self) -> Meter:
        self.quiet = is_quiet(self.quiet)
        if not self.quiet:
            self._shown = SCREEN.showing(self)
            self._shown.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown is not None:
            self._shown.__exit__(None, None, None)
            self._shown = None

    def advance(self, count: int) -> None:
        """Count some more units as done."""
        self.done += count
        if self._shown is not None:
            self._mark()
            SCREEN.tick()

    def resume(self, count: int) -> None:
        """Count units that an earlier run has done; they are left out of the rate."""
        self.done += count
        self._marks.clear()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def state(self) -> State:
        """Progress now, for a display."""
        share = min(1.0, self.done / self.total) if self.total else None
        return State(self.title, self.status(), share)

    def outcome(self) -> str:
        """The amount and the time, once it has ended."""
        amount = f"{self.done:,} {self.unit}, " if self.done and not self.per_pass else ""
        return f"{self.title}: {amount}{duration(self.seconds)}"

    def status(self) -> str:
        """Progress, with the rate and the time left once they are measured."""
        rate = self._rate()
        parts = [self._place()]
        if rate is not None:
            unit = f" {self.unit}" if self.per_pass else ""
            parts.append(f"{rate:,.{0 if rate >= 9.95 else 1}f}{unit}/s")
        if rate and self.total is not None:
            left = max(0, self.total - self.done) / rate
            parts += [f"{duration(left)} left"] if left else []
        elif self.seconds >= LEAST_SECONDS:
            parts.append(duration(self.seconds))
        return ", ".join(parts) + (f" ({self.note})" if self.note else "")

    def _place(self) -> str:
        if self.total is None:
            return f"{self.done:,} {self.unit}"
        if self.per_pass:
            passes = max(1, -(-self.total // self.per_pass))
            return f"{self.pass_name} {min(self.done // self.per_pass + 1, passes)} of {passes}"
        return f"{self.done:,} of {self.total:,} {self.unit}"

    def _mark(self) -> None:
        """Record the time and the count. The first mark is only the start of the measurement, which
        excludes compilation of models and filling of caches."""
        now = time.monotonic()
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and now - self._marks[1][0] > RECENT_SECONDS:
            self._marks.popleft()

    def _rate(self) -> float | None:
        """Recent units per second; None while too little is measured."""
        if len(self._marks) < 2:
            return None
        (since, before), (now, done) = self._marks[0], self._marks[-1]
        if now - since < LEAST_SECONDS:
            return None
        return (done - before) / (now - since)


@contextmanager
def timed_job(title: str, quiet: bool | None) -> Iterator[RunTimer]:
    """Time a run, as `timed_run` does, and show the stage that it is in while no `Meter` counts.

    title: of the job, such as "training". quiet: as of `Meter`.
    """
    with timed_run() as run:
        if is_quiet(quiet):
            yield run
            return
        with SCREEN.showing(_Job(title, run)):
            yield run


@dataclass(eq=False)
class _Job:
    """A job in its current stage."""

    title: str
    run: RunTimer

    def state(self) -> State | None:
        name, seconds = self.run.current
        if seconds < LONG_STAGE:
            return None
        what = "" if name == OTHER else f"{name}, "
        return State(self.title, f"{what}{duration(seconds)}")

    def outcome(self) -> str:
        return f"{self.title}: {duration(self.run.total)}"
