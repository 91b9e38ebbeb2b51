"""Review sessions: the decisions of one browser, for undo, and its pace."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Lock

from vitrina.store.decisions import Decision

_KEPT = 1000
_PACED = 60
_IDLE = 120.0
"""Seconds: a longer pause between decisions was a break and counts as this much."""
_TELLING = 5
"""Decisions needed for a pace."""


@dataclass
class Session:
    """A session. done: decisions that `undo` can take back, the last at the end; each entry was one
    keystroke. moments: times of the last entries in seconds, with their numbers of decisions."""

    key: str
    done: list[tuple[Decision, ...]] = field(default_factory=list)
    moments: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_PACED))

    def note(self, decisions: tuple[Decision, ...], now: float) -> None:
        """Record decisions made with one keystroke. now: seconds."""
        self.done.append(decisions)
        self.moments.append((now, len(decisions)))

    def take_back(self, decisions: tuple[Decision, ...]) -> None:
        """Remove decisions that were undone."""
        self.done.remove(decisions)
        if self.moments:
            self.moments.pop()

    @property
    def pace(self) -> float | None:
        """Products per hour over the last decisions, without long pauses; None while unknown."""
        times = [at for at, _ in self.moments]
        gaps = [min(later - at, _IDLE) for at, later in pairwise(times)]
        count = sum(number for _, number in list(self.moments)[1:])
        if len(times) < _TELLING or sum(gaps) <= 0:
            return None
        return 3600 * count / sum(gaps)


class Sessions:
    """The latest sessions; the least recently used are dropped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._all: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    def of(self, key: str | None) -> Session:
        """The session with a key, or a new one: clients can't choose their key."""
        with self._lock:
            found = self._all.get(key or "")
            if found is None:
                found = Session(secrets.token_urlsafe(18))
                self._all[found.key] = found
            self._all.move_to_end(found.key)
            while len(self._all) > _KEPT:
                self._all.popitem(last=False)
            return found
