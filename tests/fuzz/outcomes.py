"""Outcomes of fuzzed inputs, and the table that sums them up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What became of one input."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    CRASHED = "crashed"
    TRACEBACK = "traceback"
    HUNG = "hung"
    TOO_LARGE = "too large"
    WRONGLY_ACCEPTED = "wrongly accepted"
    # The fuzzer itself failed, and the input says nothing.
    BROKEN = "broken"

    @property
    def failed(self) -> bool:
        return self not in (Outcome.ACCEPTED, Outcome.REFUSED)


class WronglyAcceptedError(Exception):
    """Damaged or hostile input had an effect that it must not have."""


@dataclass(frozen=True)
class Case:
    """One input: what it is made from."""

    target: str
    form: str
    seed: int
    number: int

    @property
    def name(self) -> str:
        return f"{self.form}-{self.seed}-{self.number}"

    @property
    def sound(self) -> bool:
        return self.form == "sound"

    @property
    def command(self) -> str:
        return (
            f"make fuzz CLASS={self.target} FORM={self.form} SEED={self.seed} NUMBER={self.number}"
        )


@dataclass(frozen=True)
class Result:
    """The outcome of one case. kind: what results with one cause have in common. detail: for the
    person who mends it. how: what was done to the input. seconds: of CPU time. peak: bytes resident
    at most."""

    case: Case
    outcome: Outcome
    kind: str
    detail: str
    how: str
    seconds: float
    peak: int

    @property
    def failed(self) -> bool:
        """Whether it is not what the input should have led to."""
        refused = self.case.sound and self.outcome is Outcome.REFUSED
        return self.outcome.failed or refused

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Result:
        return cls(**{**value, "case": Case(**value["case"]), "outcome": Outcome(value["outcome"])})


_COLUMNS = [
    ("class", "left"),
    ("form", "left"),
    ("tried", "right"),
    *((outcome.value, "right") for outcome in Outcome if outcome is not Outcome.BROKEN),
    ("CPU ms each", "right"),
    ("peak MB", "right"),
]


class Table:
    """Counts by class and form, printed as Markdown."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[Result]] = defaultdict(list)

    def add(self, result: Result) -> None:
        self._rows[result.case.target, result.case.form].append(result)

    @property
    def results(self) -> Iterable[Result]:
        return (result for results in self._rows.values() for result in results)

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.failed]

    def count(self, outcome: Outcome) -> int:
        return sum(result.outcome is outcome for result in self.results)

    def lines(self) -> list[str]:
        """One row for each form, and a last one for each class."""
        rows = [[name for name, _ in _COLUMNS]]
        rows.append(["---" if side == "left" else "---:" for _, side in _COLUMNS])
        by_class: dict[str, list[Result]] = defaultdict(list)
        for (target, form), results in sorted(self._rows.items()):
            by_class[target] += results
            rows.append(_row(target, form, results))
        rows += [_row(f"**{name}**", "all", results) for name, results in by_class.items()]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        if broken := self.count(Outcome.BROKEN):
            lines.append(f"\n{broken} inputs could not be made: a fault of the fuzzer")
        refused = sum(result.case.sound and not result.outcome.failed for result in self.failures)
        if refused:
            lines.append(f"\n{refused} sound inputs were refused")
        return lines


def _row(target: str, form: str, results: list[Result]) -> list[str]:
    counts = [
        sum(result.outcome is outcome for result in results)
        for outcome in Outcome
        if outcome is not Outcome.BROKEN
    ]
    seconds = sum(result.seconds for result in results)
    return [
        target,
        form,
        str(len(results)),
        *map(str, counts),
        f"{1000 * seconds / len(results):.0f}",
        f"{max(result.peak for result in results) / 1e6:.0f}",
    ]
