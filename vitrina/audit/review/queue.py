"""Which suspects are open, which of them a filter lets through, and who has which."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from urllib.parse import urlencode

from vitrina.audit.results import Audit, Suspect
from vitrina.audit.review.categories import segments
from vitrina.audit.review.decision_log import Log
from vitrina.store.decisions import Decision
from vitrina.types import Action, CategoryId, ProductId, Reason

LEASE = 300.0
"""Seconds for which a product that one session was shown is not handed to another."""


@dataclass(frozen=True)
class Filter:
    """Which suspects are asked for.

    category: an id, a path's beginning or any run of its parts, of the given category or the
    suggested one. reason: among its reasons. least: the lowest score. batches: only those that
    have look-alikes.
    """

    category: str = ""
    reason: Reason | None = None
    least: float = 0.0
    batches: bool = False

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Filter:
        """Read it from an address; what makes no sense is taken for not asked."""
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
        """It as a part of an address."""
        parts = {"category": self.category, "reason": self.reason or ""}
        parts |= {"least": f"{self.least:g}" if self.least else ""}
        parts |= {"batches": "1" if self.batches else ""}
        return urlencode({key: value for key, value in parts.items() if value})

    def __bool__(self) -> bool:
        return self != Filter()


class Queue:
    """The suspects of an audit, in the order in which they are to be decided.

    labels: the category of each suspect in the catalogue by now. One whose label has changed
    since the audit is in question no longer.
    """

    def __init__(
        self,
        audit: Audit,
        labels: Mapping[ProductId, CategoryId | None],
        log: Log,
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
        """The suspects that a filter lets through, decided or not."""
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
        # All parts in a row; the last may be the beginning of a segment.
        return bool(part) and any(
            path[at : at + len(part) - 1] == part[:-1]
            and path[at + len(part) - 1].startswith(part[-1])
            for at in range(len(path) - len(part) + 1)
        )

    def settled(self, one: Suspect) -> Decision | None:
        """The decision that settles a suspect, if there is one about the label that it has."""
        standing = self._log.standing.get(one.product_id)
        told = standing is not None and standing.category is not None
        return standing if told and standing and standing.given == one.given else None

    def skipped(self, one: Suspect) -> Decision | None:
        """The decision to put a suspect off, if that is the last word on it."""
        standing = self._log.standing.get(one.product_id)
        return standing if standing is not None and standing.action is Action.SKIP else None

    def open(self, wanted: Filter) -> Sequence[Suspect]:
        """Those to be decided: by rank, then those that were skipped, the longest ago first."""
        standing = self._log.standing
        known, seen, found = self._opened
        # One request asks for the same several times over.
        if known is not standing or seen != wanted:
            found = self._open(wanted)
            self._opened = (standing, wanted, found)
        return found

    def _open(self, wanted: Filter) -> Sequence[Suspect]:
        left = [one for one in self.matching(wanted) if self.settled(one) is None]
        later = {one.rank: word for one in left if (word := self.skipped(one)) is not None}
        fresh = [one for one in left if one.rank not in later]
        put_off = [one for one in left if one.rank in later]
        return fresh + sorted(put_off, key=lambda one: later[one.rank].time)

    def alike(self, one: Suspect) -> Sequence[Suspect]:
        """The suspects of its batch, itself too."""
        return self._batches[one.batch] if one.batch else [one]

    def free(self, session: str, suspects: Sequence[Suspect]) -> list[Suspect]:
        """Those that no other session was shown lately."""
        now = self._clock()
        with self._lock:
            return [one for one in suspects if self._holder(one, now) in (None, session)]

    def _holder(self, one: Suspect, now: float) -> str | None:
        session, until = self._leases.get(one.rank, (None, 0.0))
        return session if until > now else None

    def hand_out(
        self, session: str, wanted: Filter, beside: int | None = None, step: int = 0
    ) -> Suspect | None:
        """Take the first suspect that is free, for this session.

        beside: a rank; then the one `step` places after it, or before it, and at either end the
        last one there.
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
        """Hold some for a session as far as no other has them; tell whether it has them all."""
        now = self._clock()
        with self._lock:
            ours = [one for one in suspects if self._holder(one, now) in (None, session)]
            self._leases |= {one.rank: (session, now + LEASE) for one in ours}
        return len(ours) == len(suspects)

    def release(self, suspects: Sequence[Suspect]) -> None:
        """Nobody holds them any longer."""
        with self._lock:
            for one in suspects:
                self._leases.pop(one.rank, None)
