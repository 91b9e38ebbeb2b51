"""One browser's visit: what it decided, to take it back, and how fast it goes."""

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
"""Seconds: a longer pause between decisions was a pause from work, and counts as this much."""
_TELLING = 5
"""How many decisions it takes before a pace says anything."""


@dataclass
class Session:
    """A visit. done: what `undo` takes back, the last at the end; each entry was one keystroke."""

    key: str
    done: list[tuple[Decision, ...]] = field(default_factory=list)
    moments: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_PACED))

    def note(self, decisions: tuple[Decision, ...], now: float) -> None:
        """Remember what was decided at once."""
        self.done.append(decisions)
        self.moments.append((now, len(decisions)))

    def take_back(self, decisions: tuple[Decision, ...]) -> None:
        """Forget what was undone."""
        self.done.remove(decisions)
        if self.moments:
            self.moments.pop()

    @property
    def pace(self) -> float | None:
        """Products an hour over the last decisions, pauses left out; None while it is unknown."""
        times = [at for at, _ in self.moments]
        gaps = [min(later - at, _IDLE) for at, later in pairwise(times)]
        count = sum(number for _, number in list(self.moments)[1:])
        if len(times) < _TELLING or sum(gaps) <= 0:
            return None
        return 3600 * count / sum(gaps)


class Sessions:
    """The visits of late; those that came longest ago are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._all: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    def of(self, key: str | None) -> Session:
        """The visit with a key, or a new one: nobody chooses his own key."""
        with self._lock:
            found = self._all.get(key or "")
            if found is None:
                found = Session(secrets.token_urlsafe(18))
                self._all[found.key] = found
            self._all.move_to_end(found.key)
            while len(self._all) > _KEPT:
                self._all.popitem(last=False)
            return found
