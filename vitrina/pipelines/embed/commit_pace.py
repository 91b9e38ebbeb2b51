"""When an embedding run commits: a commit names all files of the store, so few are made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SHARDS = 64
"""Most shards between two commits."""
SECONDS = 30.0
"""Time between two commits, after which the next shard is committed: the most that a killed run
has to redo, besides the shard in progress."""
SHARE = 0.05
"""Largest share of the time that may be spent on commits; those of a huge store wait longer."""


class CommitPace:
    """Time and finished shards since the last commit."""

    def __init__(self) -> None:
        self.pending = 0
        self._next = time.monotonic() + SECONDS

    def is_due(self) -> bool:
        """Count one finished shard; return True if it is time to commit."""
        self.pending += 1
        return self.pending >= SHARDS or time.monotonic() >= self._next

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Time a commit, and begin anew after it."""
        started = time.monotonic()
        # Not tried again if it fails.
        self.pending = 0
        yield
        now = time.monotonic()
        self._next = now + max(SECONDS, (now - started) / SHARE)
