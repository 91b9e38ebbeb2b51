"""Where the time of a long job goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


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
