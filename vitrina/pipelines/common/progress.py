"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitrina.page.words import duration

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

SECONDS_BETWEEN_LINES = 10.0
RECENT_SECONDS = 30.0
"""Seconds that the rate is averaged over, so that it follows a slowdown."""
LEAST_SECONDS = 3.0
"""Seconds of measured work below which no rate and no time left are shown."""


@dataclass
class Meter:
    """Counts work towards a total. Use as a context manager; silent when `quiet`.

    title: name of the work. total: number of units, None if unknown. unit: name of a unit.
    per_pass: units in one pass over the data, for work with many passes; progress is then shown in
    passes, each a `pass_name`.
    """

    title: str
    total: int | None = None
    unit: str = "products"
    quiet: bool = True
    per_pass: int | None = None
    pass_name: str = "pass"
    done: int = 0
    _started: float = field(default_factory=time.monotonic)
    _printed: float = field(default_factory=time.monotonic)
    _marks: deque[tuple[float, int]] = field(default_factory=deque)
    _bar: Progress | None = None
    _task: TaskID | None = None

    def __enter__(self) -> Meter:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[status]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(self.title, total=self.total, status="")
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, count: int) -> None:
        """Count some more units as done."""
        self.done += count
        if self.quiet:
            return
        self._mark()
        if self._bar and self._task is not None:
            self._bar.update(self._task, advance=count, status=self.status())
        elif time.monotonic() - self._printed > SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            print(f"{self.title}: {self.status()}", file=sys.stderr, flush=True)

    def resume(self, count: int) -> None:
        """Count units that an earlier run has done; they are left out of the rate."""
        self.done += count
        self._marks.clear()
        if self._bar and self._task is not None:
            self._bar.reset(self._task, completed=self.done)

    def say(self, line: str) -> None:
        """Print a permanent line, above the bar if there is one."""
        if self.quiet:
            return
        if self._bar:
            self._bar.console.print(line, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def status(self) -> str:
        """Progress, and the rate and the time left once they are measured."""
        rate = self._rate()
        speed = "" if rate is None else f", {rate:,.{0 if rate >= 9.95 else 1}f} {self.unit}/s"
        left = ""
        if rate and self.total is not None:
            left = f", {duration(max(0, self.total - self.done) / rate)} left"
        return f"{self._place()}{speed}{left}"

    def _place(self) -> str:
        if self.total is None:
            return f"{self.done:,} {self.unit}"
        if self.per_pass:
            passes = max(1, -(-self.total // self.per_pass))
            return f"{self.pass_name} {min(self.done // self.per_pass + 1, passes)}/{passes}"
        return f"{self.done:,}/{self.total:,} {self.unit}"

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
