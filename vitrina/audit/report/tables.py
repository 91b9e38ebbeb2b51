"""Rows of the audit report's tables: pairs of categories, worst categories, look-alikes, gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vitrina.audit.report.cards import ReportCards
from vitrina.types import CategoryId

PAIRS = 12
"""Pairs of categories in the table that is always visible."""
MORE = 200
"""Further pairs in the table that unfolds."""
WORST = 12
TWINS = 40
IDS = 200
"""Product ids in one list."""
EXAMPLES = 3
GAPS = {
    "without_both": "Without a usable text and photo",
    "without_text": "Without a usable text",
    "without_photo": "Without a usable photo",
    "foreign_text": "Text unlike its category",
    "foreign_image": "Photo unlike its category",
}
"""Labels of the card's lists of products, in the order of the page."""

Card = Mapping[str, Any]
"""An audit's card, or a part of it, as JSON values."""


@dataclass(frozen=True)
class TableRows:
    """Rows of a table. found: how many there are in all."""

    rows: list[PairRow] | list[WorstRow] | list[TwinsRow]
    found: int


@dataclass(frozen=True)
class PairRow:
    """Suspects of one given and one suggested category, by path. share: of the first row's
    number. examples: product ids."""

    given_id: CategoryId
    suggested_id: CategoryId
    given: str
    suggested: str
    count: int
    share: float
    examples: str


@dataclass(frozen=True)
class WorstRow:
    """A category with many suspects. share: of its products."""

    name: str
    products: int
    suspects: int
    share: float


@dataclass(frozen=True)
class TwinsRow:
    """Two categories that look alike. inside: the first seems to be a part of the other."""

    one: str
    other: str
    inside: bool
    products: int
    share: float


@dataclass(frozen=True)
class Gap:
    """Products that lack something. ids: of the first ones. more: number of the others."""

    label: str
    count: int
    ids: list[str]
    more: int


def pairs(card: Card, cards: ReportCards) -> list[TableRows]:
    """Suspects by given and suggested category: the first pairs, then more that unfold."""
    found: Sequence[Card] = card.get("pairs") or ()
    most = max((whole(one.get("count")) for one in found), default=0) or 1
    rows = [
        PairRow(
            given_id=one["given"],
            suggested_id=one["suggested"],
            given=cards.name(one["given"]),
            suggested=cards.name(one["suggested"]),
            count=whole(one.get("count")),
            share=whole(one.get("count")) / most,
            examples=", ".join(str(key) for key in (one.get("products") or ())[:EXAMPLES]),
        )
        for one in found[: PAIRS + MORE]
    ]
    parts = (
        TableRows(rows[:PAIRS], len(found)),
        TableRows(rows[PAIRS:], len(found) - PAIRS),
    )
    return [part for part in parts if part.rows]


def worst(card: Card, cards: ReportCards) -> TableRows:
    """The categories with the largest shares of suspects."""
    found: Sequence[Card] = card.get("categories") or ()
    rows = []
    for one in found[:WORST]:
        products, suspects = whole(one.get("products")), whole(one.get("suspects"))
        share = suspects / products if products else 0.0
        rows.append(WorstRow(cards.name(one["id"]), products, suspects, share))
    return TableRows(rows, len(found))


def twins(card: Card, cards: ReportCards) -> TableRows:
    """Categories that look like duplicates of one another."""
    found: Sequence[Card] = card.get("twins") or ()
    rows = [
        TwinsRow(
            one=cards.name(one["one"]),
            other=cards.name(one["other"]),
            inside=one.get("kind") == "inside",
            products=whole(one.get("products")),
            share=float(one.get("share") or 0),
        )
        for one in found[:TWINS]
    ]
    return TableRows(rows, len(found))


def missing(card: Card) -> list[Gap]:
    """Products without a usable text or photo, and outliers."""
    gaps = []
    for name, label in GAPS.items():
        part: Card = card.get(name) or {}
        count = whole(part.get("count"))
        ids = [str(key) for key in (part.get("products") or ())[:IDS]]
        if count:
            gaps.append(Gap(label, count, ids, max(0, count - len(ids))))
    return gaps


def whole(value: Any, default: int = 0) -> int:
    """A number of a card as an integer. default: for a missing one."""
    return default if value is None else round(float(value))
