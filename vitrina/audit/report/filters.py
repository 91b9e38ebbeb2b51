"""Choices that the filters of the report's suspects offer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from vitrina.audit.report.cards import ReportCards
from vitrina.audit.report.texts import SHORT, WHOLE
from vitrina.types import Reason


@dataclass(frozen=True)
class ReasonChoice:
    """Button for the suspects with a reason. bit: the reason's in the index of the suspects."""

    bit: int
    label: str
    words: str
    count: int


@dataclass(frozen=True)
class FilterChoices:
    """Choices of the filters.

    Attributes:
        reasons: those that some suspect has.
        low: the lowest score in percent.
        states: (name, label, count) of decided and open suspects; empty if all are open.
    """

    reasons: list[ReasonChoice]
    low: int
    states: list[tuple[str, str, int]]

    @classmethod
    def of(cls, cards: ReportCards) -> FilterChoices:
        """The choices for the suspects shown."""
        counts = Counter(reason for one in cards.suspects for reason in set(one.reasons))
        scores = [one.score for one in cards.suspects if one.score >= 0]
        open_count = sum(map(cards.is_open, cards.suspects))
        states = [
            ("all", "All", len(cards)),
            ("open", "Still open", open_count),
            ("decided", "Decided", len(cards) - open_count),
        ]
        return cls(
            reasons=[
                ReasonChoice(bit, SHORT[reason], WHOLE[reason], counts[reason])
                for bit, reason in enumerate(Reason)
                if counts[reason]
            ],
            low=int(100 * min(scores, default=0.0)),
            states=[] if open_count == len(cards) else states,
        )
