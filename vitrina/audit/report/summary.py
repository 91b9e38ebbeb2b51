"""Figures of the audit report's first sections: the summary and the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from vitrina.audit.report.cards import ReportCards
from vitrina.audit.report.tables import Card, whole
from vitrina.audit.report.texts import SHORT, WHOLE
from vitrina.page.bars import HistogramBin, histogram
from vitrina.page.charts import Axis, Frame
from vitrina.page.words import duration
from vitrina.types import Reason

SCORES = Frame(width=640, height=440, bottom=50)
NEARLY_SURE = 0.9


@dataclass(frozen=True)
class ReportSummary:
    """Figures of an audit.

    Attributes:
        checked: labelled products that were checked, None where the card lacks it.
        found, shown: suspects in all, and in this report.
        sure: suspects shown with a score of at least `NEARLY_SURE`.
        settled: suspects shown that have been decided.
        wrong, wrong_share: labels that confident learning counts as wrong, and their share of the
            checked ones; None where it was not run, or none was checked.
        twins: pairs of categories that look alike.
        facts: name-value pairs of the run.
    """

    checked: int | None
    found: int
    shown: int
    sure: int
    settled: int
    wrong: int | None
    wrong_share: float | None
    twins: int
    facts: list[tuple[str, str]]

    @classmethod
    def of(cls, card: Card, cards: ReportCards) -> ReportSummary:
        """The figures of an audit's card and of the suspects shown."""
        checked = whole(card.get("checked"), whole(card.get("labelled")))
        wrong = card.get("wrong_by_confident_learning")
        return cls(
            checked=whole(card["checked"]) if "checked" in card else None,
            found=whole(card.get("suspects"), len(cards)),
            shown=len(cards),
            sure=sum(one.score >= NEARLY_SURE for one in cards.suspects),
            settled=sum(not cards.is_open(one) for one in cards.suspects),
            wrong=None if wrong is None else whole(wrong),
            wrong_share=whole(wrong) / checked if wrong is not None and checked else None,
            twins=len(card.get("twins") or ()),
            facts=_facts(card),
        )


@dataclass(frozen=True)
class ReasonCount:
    """Number of suspects that have a reason. share: of the most frequent reason's number."""

    label: str
    words: str
    count: int
    share: float


@dataclass(frozen=True)
class ReportEvidence:
    """The suspects' scores as a histogram, empty without any, and their reasons."""

    scores: Markup
    reasons: list[ReasonCount]

    @classmethod
    def of(cls, card: Card) -> ReportEvidence:
        """The evidence of an audit's card."""
        return cls(_scores(card), _reasons(card.get("reasons") or {}))


def _facts(card: Card) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, label in (("products", "Products"), ("labelled", "Labelled"), ("checked", "Checked")):
        if name in card:
            rows.append((label, f"{whole(card[name]):,}"))
    if "time" in card:
        rows.append(("Made", _moment(str(card["time"]))))
    if "took" in card:
        rows.append(("Took", duration(float(card["took"]))))
    for name, label in (("features", "Features"), ("folds", "Folds"), ("seed", "Seed")):
        if name in card:
            rows.append((label, _listed(card[name])))
    for name, label in (("members", "Models"), ("machine", "Machine"), ("store", "Store")):
        if card.get(name):
            rows.append((label, _listed(card[name])))
    return rows


def _scores(card: Card) -> Markup:
    bins = [
        HistogramBin(
            float(one["low"]),
            float(one["high"]),
            int(one["count"]),
            f"{one['count']:,} suspects with a score of {one['low']:.0%} to {one['high']:.0%}",
        )
        for one in card.get("scores") or ()
    ]
    most = max((one.count for one in bins), default=0)
    if not most:
        return Markup()
    x = Axis.around(bins[0].low, bins[-1].high, "evidence against the label", percent=True)
    y = Axis.around(0, most, "suspects", about=4)
    if most <= 4:
        # Steps below one suspect would repeat a label.
        y = Axis(0, most, tuple((at, f"{at}") for at in range(most + 1)), y.label)
    return histogram(bins, x, y, label="Suspects by their score", frame=SCORES)


def _reasons(counts: Mapping[str, int]) -> list[ReasonCount]:
    known = {reason.value: reason for reason in Reason}
    most = max(counts.values(), default=0) or 1
    return [
        ReasonCount(
            label=SHORT[known[name]] if name in known else name,
            words=WHOLE[known[name]] if name in known else name,
            count=count,
            share=count / most,
        )
        for name, count in sorted(counts.items(), key=lambda one: -one[1])
    ]


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _moment(moment: str) -> str:
    try:
        return f"{datetime.fromisoformat(moment):%d.%m.%Y %H:%M %Z}".strip()
    except ValueError:
        return moment
