"""Where decisions are made: what a reviewer says, beside what was said meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vitrina.audit.results import Audit, Suspect
from vitrina.audit.review.categories import CategoryList
from vitrina.audit.review.decision_log import Log
from vitrina.audit.review.queue import Filter, Queue
from vitrina.audit.review.session import Session, Sessions
from vitrina.store.decisions import Decision
from vitrina.types import Action, CategoryId


@dataclass(frozen=True)
class Verdict:
    """What a reviewer said.

    known: by rank of each suspect that he said it of, the key of the decision that stood when he
    was shown it, "" for none. category: where to, for a move that is not to `suggested`.
    """

    action: Action
    known: Mapping[int, str]
    reviewer: str
    category: CategoryId | None = None
    language: str = ""


@dataclass(frozen=True)
class SavedDecisions:
    """What came of it.

    made: the decisions that are in the store now. agreed: those that stood already and say the
    same. beaten: suspects that were settled otherwise meanwhile, each with how.
    """

    made: tuple[Decision, ...] = ()
    agreed: tuple[Decision, ...] = ()
    beaten: tuple[tuple[Suspect, Decision], ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far it is. Of the suspects under a filter: all, settled, settled by this reviewer, and
    those left, skipped ones too. pace: his products an hour, None while unknown."""

    all: int
    settled: int
    mine: int
    left: int
    pace: float | None

    @property
    def minutes(self) -> float | None:
        """How long the rest takes at this pace."""
        return 60 * self.left / self.pace if self.pace and self.left else None


class Desk:
    """Takes decisions on the suspects of one audit."""

    def __init__(
        self, audit: Audit, categories: CategoryList, queue: Queue, log: Log, sessions: Sessions
    ) -> None:
        self.audit, self.categories, self.queue = audit, categories, queue
        self.log, self.sessions = log, sessions

    def decide(self, session: Session, verdict: Verdict) -> SavedDecisions:
        """Put a verdict into the store, but for products that were settled meanwhile.

        Those are never overwritten unasked: a verdict that names the decision it replaces is one
        on a product whose decision was seen. Raises StoreError if the disk fails; then nothing
        was decided.
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
                    # The answer to the first time was lost on the way, or it stands in two tabs.
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
        """Take back the last of this visit that is not taken back yet; () if there is none.

        Raises StoreError if the disk fails; then it can be tried again.
        """
        with self.log.lock:
            self.log.refresh()
            undone = {one.undoes for one in self.log.all}
            while session.done:
                last = session.done[-1]
                still = tuple(one for one in last if one.key not in undone)
                self.log.add([one.undone(reviewer) for one in still])
                session.take_back(last)
                if still:
                    return still
        return ()

    def undo_one(self, key: str, reviewer: str) -> Decision | None:
        """Take back one decision by its key; None if there is none such, or it was already."""
        with self.log.lock:
            self.log.refresh()
            undone = {one.undoes for one in self.log.all}
            for one in self.log.all:
                if one.key == key and one.action is not Action.UNDO and key not in undone:
                    self.log.add([one.undone(reviewer)])
                    return one
        return None

    def progress(self, session: Session, reviewer: str, wanted: Filter) -> Progress:
        """How far the suspects under a filter are."""
        matching = self.queue.matching(wanted)
        settled = [told for one in matching if (told := self.queue.settled(one)) is not None]
        mine = sum(one.reviewer == reviewer for one in settled)
        left = len(matching) - len(settled)
        return Progress(len(matching), len(settled), mine, left, session.pace)

    def decided(self, wanted: Filter) -> Sequence[tuple[Suspect, Decision]]:
        """What stands of the suspects under a filter, the latest first."""
        found = [
            (one, standing)
            for one in self.queue.matching(wanted)
            if (standing := self.log.standing.get(one.product_id)) is not None
        ]
        return sorted(found, key=lambda pair: pair[1].time, reverse=True)
