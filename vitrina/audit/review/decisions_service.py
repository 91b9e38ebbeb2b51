"""Decision service: saves reviewers' verdicts, and detects conflicting ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vitrina.audit.results import Audit, Suspect
from vitrina.audit.review.categories import CategoryList
from vitrina.audit.review.decision_log import DecisionLog
from vitrina.audit.review.queue import Filter, Queue
from vitrina.audit.review.session import Session, Sessions
from vitrina.store.decisions import Decision
from vitrina.types import Action, CategoryId


@dataclass(frozen=True)
class Verdict:
    """A reviewer's verdict on one or more suspects.

    known: by rank of each suspect, the key of the decision that the reviewer was shown, "" for
    none. category: the target of a move, None for the suggested category.
    """

    action: Action
    known: Mapping[int, str]
    reviewer: str
    category: CategoryId | None = None
    language: str = ""


@dataclass(frozen=True)
class SavedDecisions:
    """The outcome of a verdict.

    made: decisions that were saved. agreed: equal decisions that the reviewer had made before.
    beaten: suspects that were settled otherwise meanwhile, each with that decision.
    """

    made: tuple[Decision, ...] = ()
    agreed: tuple[Decision, ...] = ()
    beaten: tuple[tuple[Suspect, Decision], ...] = ()


@dataclass(frozen=True)
class Progress:
    """Numbers of suspects that match a filter: all, settled, settled by this reviewer, and left,
    including skipped ones. pace: the reviewer's products per hour, None while unknown."""

    all: int
    settled: int
    mine: int
    left: int
    pace: float | None

    @property
    def minutes(self) -> float | None:
        """Minutes to settle the rest at this pace; None while unknown or with nothing left."""
        return 60 * self.left / self.pace if self.pace and self.left else None


class DecisionsService:
    """Saves and undoes decisions on the suspects of one audit."""

    def __init__(
        self,
        audit: Audit,
        categories: CategoryList,
        queue: Queue,
        log: DecisionLog,
        sessions: Sessions,
    ) -> None:
        self.audit, self.categories, self.queue = audit, categories, queue
        self.log, self.sessions = log, sessions

    def decide(self, session: Session, verdict: Verdict) -> SavedDecisions:
        """Save a verdict, except on products that were settled meanwhile.

        A decision is replaced only if the verdict names its key, so that the reviewer has seen it.
        Raises StoreError if the disk fails; then nothing is saved.
        """
        made: list[Decision] = []
        agreed: list[Decision] = []
        beaten: list[tuple[Suspect, Decision]] = []
        with self.log.lock:
            self.log.refresh()
            for rank, known in verdict.known.items():
                one = self.queue.by_rank[rank]
                new = self._decision(one, verdict)
                standing = self.queue.settled(one)
                if standing is None or standing.key == known:
                    made.append(new)
                elif standing.category == new.category and standing.reviewer == new.reviewer:
                    # A repeated request: its response was lost, or the page is open in two tabs.
                    agreed.append(standing)
                else:
                    beaten.append((one, standing))
            self.log.add(made)
        if made:
            session.note(tuple(made), self.sessions.clock())
            self.queue.release([self.audit.by_product[one.product_id] for one in made])
        return SavedDecisions(tuple(made), tuple(agreed), tuple(beaten))

    def _decision(self, one: Suspect, verdict: Verdict) -> Decision:
        action, category = verdict.action, None
        if action is Action.MOVE:
            category = one.suggested if verdict.category is None else verdict.category
        if action is Action.KEEP or category == one.given:
            action, category = Action.KEEP, one.given
        return Decision(
            one.product_id,
            action,
            one.given,
            category,
            suggested=one.suggested,
            reviewer=verdict.reviewer,
            shown={
                "audit": self.audit.key,
                "rank": one.rank,
                "score": one.score,
                "reasons": [reason.value for reason in one.reasons],
                "suggested": one.suggested,
                "given_probability": one.given_probability,
                "suggested_probability": one.suggested_probability,
                "batch": one.batch if len(verdict.known) > 1 else 0,
                "language": verdict.language,
            },
        )

    def undo(self, session: Session, reviewer: str) -> tuple[Decision, ...]:
        """Undo the last decisions of this session that are not undone yet; () if there are none.

        Raises StoreError if the disk fails; then the call can be repeated.
        """
        with self.log.lock:
            self.log.refresh()
            undone = {one.undoes for one in self.log.all}
            while session.done:
                last = session.done[-1]
                not_undone = tuple(one for one in last if one.key not in undone)
                self.log.add([one.undone(reviewer) for one in not_undone])
                session.take_back(last)
                if not_undone:
                    return not_undone
        return ()

    def undo_one(self, key: str, reviewer: str) -> Decision | None:
        """Undo the decision with a key; None if it is unknown or undone already."""
        with self.log.lock:
            self.log.refresh()
            undone = {one.undoes for one in self.log.all}
            for one in self.log.all:
                if one.key == key and one.action is not Action.UNDO and key not in undone:
                    self.log.add([one.undone(reviewer)])
                    return one
        return None

    def progress(self, session: Session, reviewer: str, wanted: Filter) -> Progress:
        """Progress over the suspects that match a filter."""
        matching = self.queue.matching(wanted)
        settled = [found for one in matching if (found := self.queue.settled(one)) is not None]
        mine = sum(one.reviewer == reviewer for one in settled)
        left = len(matching) - len(settled)
        return Progress(len(matching), len(settled), mine, left, session.pace)

    def decided(self, wanted: Filter) -> Sequence[tuple[Suspect, Decision]]:
        """Current decisions on the suspects that match a filter, the latest first."""
        found = [
            (one, standing)
            for one in self.queue.matching(wanted)
            if (standing := self.log.standing.get(one.product_id)) is not None
        ]
        return sorted(found, key=lambda pair: pair[1].time, reverse=True)
