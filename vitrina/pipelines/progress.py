"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

SECONDS_BETWEEN_LINES = 10.0


@dataclass
class Meter:
    """Counts work towards a total. Use as a context manager; silent when `quiet`.

    title: what is done. total: how many units, None where that is not known. unit: of what.
    """

    title: str
    total: int | None = None
    unit: str = "products"
    quiet: bool = True
    done: int = 0
    _before: int = 0
    _started: float = field(default_factory=time.monotonic)
    _printed: float = field(default_factory=time.monotonic)
    _bar: Progress | None = None
    _task: TaskID | None = None

    def __enter__(self) -> Meter:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} {task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(self.title, total=self.total, rate="")
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
        if self._bar and self._task is not None:
            self._bar.update(self._task, advance=count, rate=f"{self.rate:.0f}/s")
        elif time.monotonic() - self._printed > SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            print(f"{self.title}: {self._status()}", file=sys.stderr, flush=True)

    def resume(self, count: int) -> None:
        """Count units that an earlier run has done; they say nothing of this one's speed."""
        self.done += count
        self._before += count
        if self._bar and self._task is not None:
            self._bar.reset(self._task, completed=self.done)

    def say(self, line: str) -> None:
        """Print a line that stays, above the bar where there is one."""
        if self.quiet:
            return
        if self._bar:
            self._bar.console.print(line, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Units per second so far."""
        return (self.done - self._before) / max(self.seconds, 1e-9)

    def _status(self) -> str:
        if self.total is None:
            return f"{self.done} {self.unit}, {self.rate:.0f}/s"
        left = (self.total - self.done) / max(self.rate, 1e-9)
        return f"{self.done}/{self.total} {self.unit}, {self.rate:.0f}/s, {left:.0f} s left"
