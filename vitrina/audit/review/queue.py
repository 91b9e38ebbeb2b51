"""The review queue: open suspects, filters, and leases of suspects to sessions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from urllib.parse import urlencode

from vitrina.audit.results import Audit, Suspect
from vitrina.audit.review.categories import segments
from vitrina.audit.review.decision_log import DecisionLog
from vitrina.store.decisions import Decision
from vitrina.types import Action, CategoryId, ProductId, Reason

LEASE = 300.0
"""Seconds for which a suspect shown in one session is not handed to another."""


@dataclass(frozen=True)
class Filter:
    """A filter of suspects.

    category: of the given or the suggested category, the id or consecutive parts of its path, the
    last of which may be incomplete. reason: one of the suspect's reasons. least: the lowest score.
    batches: only suspects with others in their batch.
    """

    category: str = ""
    reason: Reason | None = None
    least: float = 0.0
    batches: bool = False

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Filter:
        """Read a filter from a query string; invalid values are ignored."""
        try:
            reason = Reason(query.get("reason", ""))
        except ValueError:
            reason = None
        try:
            least = float(query.get("least", "") or 0)
        except ValueError:
            least = 0.0
        least = least if 0 <= least <= 1 else 0.0
        category = " ".join(query.get("category", "")[:300].split())
        return cls(category, reason, least, query.get("batches", "") == "1")

    @property
    def query(self) -> str:
        """The filter as a query string."""
        parts = {"category": self.category, "reason": self.reason or ""}
        parts |= {"least": f"{self.least:g}" if self.least else ""}
        parts |= {"batches": "1" if self.batches else ""}
        return urlencode({key: value for key, value in parts.items() if value})

    def __bool__(self) -> bool:
        return self != Filter()


class Queue:
    """The suspects of an audit, in the order in which they are to be decided.

    labels: the current category of each suspect. A suspect whose label has changed since the audit
    is dropped. clock: seconds, for leases.
    """

    def __init__(
        self,
        audit: Audit,
        labels: Mapping[ProductId, CategoryId | None],
        log: DecisionLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names, self._log, self._clock = audit.names, log, clock
        self.suspects = tuple(
            one for one in audit.suspects if labels.get(one.product_id) == one.given
        )
        self.by_rank = {one.rank: one for one in self.suspects}
        self._batches: dict[int, list[Suspect]] = {}
        for one in self.suspects:
            self._batches.setdefault(one.batch, []).append(one)
        self._leases: dict[int, tuple[str, float]] = {}
        self._lock = Lock()
        self._opened: tuple[object, Filter, Sequence[Suspect]] = (None, Filter(), ())
        self.matching = lru_cache(maxsize=64)(self._matching)

    def _matching(self, wanted: Filter) -> tuple[Suspect, ...]:
        """The suspects that match a filter, decided or not."""
        keys = {key for one in self.suspects for key in (one.given, one.suggested)}
        within = {key for key in keys if not wanted.category or self._within(key, wanted.category)}
        return tuple(
            one
            for one in self.suspects
            if one.score >= wanted.least
            and (wanted.reason is None or wanted.reason in one.reasons)
            and (not wanted.batches or len(self.alike(one)) > 1)
            and not within.isdisjoint((one.given, one.suggested))
        )

    def _within(self, key: CategoryId, wanted: str) -> bool:
        if str(key) == wanted:
            return True
        path, part = segments(self._names.get(key, "")), segments(wanted)
        # Consecutive parts; the last may be the beginning of a segment.
        return bool(part) and any(
            path[at : at + len(part) - 1] == part[:-1]
            and path[at + len(part) - 1].startswith(part[-1])
            for at in range(len(path) - len(part) + 1)
        )

    def settled(self, one: Suspect) -> Decision | None:
        """The decision that settles a suspect with its current label, if any."""
        standing = self._log.standing.get(one.product_id)
        decided = standing is not None and standing.category is not None
        return standing if decided and standing and standing.given == one.given else None

    def skipped(self, one: Suspect) -> Decision | None:
        """The decision to skip a suspect, if that is the latest one on it."""
        standing = self._log.standing.get(one.product_id)
        return standing if standing is not None and standing.action is Action.SKIP else None

    def open(self, wanted: Filter) -> Sequence[Suspect]:
        """Open suspects: by rank, then the skipped ones, those skipped longest ago first."""
        standing = self._log.standing
        known, seen, found = self._opened
        # Cached, since one request calls this several times.
        if known is not standing or seen != wanted:
            found = self._open(wanted)
            self._opened = (standing, wanted, found)
        return found

    def _open(self, wanted: Filter) -> Sequence[Suspect]:
        left = [one for one in self.matching(wanted) if self.settled(one) is None]
        later = {one.rank: skip for one in left if (skip := self.skipped(one)) is not None}
        fresh = [one for one in left if one.rank not in later]
        skipped = [one for one in left if one.rank in later]
        return fresh + sorted(skipped, key=lambda one: later[one.rank].time)

    def alike(self, one: Suspect) -> Sequence[Suspect]:
        """The suspects of its batch, including itself."""
        return self._batches[one.batch] if one.batch else [one]

    def free(self, session: str, suspects: Sequence[Suspect]) -> list[Suspect]:
        """The suspects that no other session holds."""
        now = self._clock()
        with self._lock:
            return [one for one in suspects if self._holder(one, now) in (None, session)]

    def _holder(self, one: Suspect, now: float) -> str | None:
        session, until = self._leases.get(one.rank, (None, 0.0))
        return session if until > now else None

    def hand_out(
        self, session: str, wanted: Filter, beside: int | None = None, step: int = 0
    ) -> Suspect | None:
        """Lease the first free suspect to a session; None if there is none.

        beside: a rank; then lease the one `step` places after it, or before it, up to the first or
        the last one.
        """
        left = self.open(wanted)
        now = self._clock()
        with self._lock:
            free = [one for one in left if self._holder(one, now) in (None, session)]
            if not free:
                return None
            at = 0
            if beside is not None:
                ranks = [one.rank for one in free]
                known = beside in ranks
                here = ranks.index(beside) if known else sum(rank < beside for rank in ranks)
                at = here + step - (step > 0 and not known)
            one = free[min(max(at, 0), len(free) - 1)]
            self._leases[one.rank] = (session, now + LEASE)
            return one

    def take(self, session: str, suspects: Sequence[Suspect]) -> bool:
        """Lease suspects to a session unless another holds them; True if it got them all."""
        now = self._clock()
        with self._lock:
            ours = [one for one in suspects if self._holder(one, now) in (None, session)]
            self._leases |= {one.rank: (session, now + LEASE) for one in ours}
        return len(ours) == len(suspects)

    def release(self, suspects: Sequence[Suspect]) -> None:
        """End the leases of suspects."""
        with self._lock:
            for one in suspects:
                self._leases.pop(one.rank, None)
