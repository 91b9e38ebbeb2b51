"""Tables of the audit report: pairs of categories, worst categories, look-alikes, gaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vitrina.audit.cards import ReportCards
from vitrina.page.bars import bar
from vitrina.page.markup import category, element, scrolling, text

PAIRS = 12
"""Pairs of categories in the table that is always visible."""
MORE = 200
"""Further pairs in the table that unfolds."""
WORST = 12
TWINS = 40
IDS = 200
"""Product ids in one list."""

Card = Mapping[str, Any]
"""An audit's card, or a part of it, as JSON values."""


def pairs(card: Card, cards: ReportCards) -> str:
    """Suspects by given and suggested category: the first pairs, then more that unfold."""
    found: Sequence[Card] = card.get("pairs") or ()
    if not found:
        return ""
    most = max(whole(one.get("count")) for one in found) or 1
    first, rest = found[:PAIRS], found[PAIRS : PAIRS + MORE]
    markup = _pairs(first, most, cards, _first(len(first), len(found), "pairs"))
    if rest:
        more = _pairs(rest, most, cards, _first(len(rest), len(found) - PAIRS, "further pairs"))
        markup += (
            f'<details class="rest"><summary>{len(rest):,} more pairs</summary>{more}</details>'
        )
    return markup


def _pairs(found: Sequence[Card], most: int, cards: ReportCards, caption: str) -> str:
    rows = []
    for one in found:
        count = whole(one.get("count"))
        examples = ", ".join(str(key) for key in (one.get("products") or ())[:3])
        cells = (
            f'<th scope="row">{category(cards.name(one["given"]))}</th>'
            f'<td class="words">{category(cards.name(one["suggested"]))}</td>'
            f'<td>{count:,}</td><td class="bars">{bar(count / most)}</td>'
            f'<td class="words few">{text(examples)}</td>'
        )
        pair = {"data_given": str(one["given"]), "data_suggested": str(one["suggested"])}
        rows.append(element("tr", cells, **pair))
    heads = ("Given", "Suggested →", "Suspects", "", "Such as products")
    inside = _table(heads, rows, caption, words=(0, 1, 4))
    return scrolling("Pairs of categories", f'<table class="wide pairs">{inside}</table>')


def worst(card: Card, cards: ReportCards) -> str:
    """The categories with the largest shares of suspects."""
    found: Sequence[Card] = card.get("categories") or ()
    rows = []
    for one in found[:WORST]:
        products, suspects = whole(one.get("products")), whole(one.get("suspects"))
        share = suspects / products if products else 0.0
        rows.append(
            f'<tr><th scope="row">{category(cards.name(one["id"]))}</th><td>{products:,}</td>'
            f'<td>{suspects:,}</td><td>{share:.0%}</td><td class="bars">{bar(share)}</td></tr>'
        )
    if not rows:
        return ""
    heads = ("Category", "Products", "Suspects", "Share", "")
    inside = _table(heads, rows, _first(len(rows), len(found), "categories, the worst first"))
    return scrolling("Categories", f'<table class="wide">{inside}</table>')


def twins(card: Card, cards: ReportCards) -> str:
    """Categories that look like duplicates of one another."""
    found: Sequence[Card] = card.get("twins") or ()
    rows = []
    for one in found[:TWINS]:
        share = float(one.get("share") or 0)
        kind = "seems to be a part of" if one.get("kind") == "inside" else "looks the same as"
        rows.append(
            f'<tr><th scope="row">{category(cards.name(one["one"]))}</th>'
            f'<td class="words few">{kind}</td>'
            f'<td class="words">{category(cards.name(one["other"]))}</td>'
            f"<td>{whole(one.get('products')):,}</td><td>{share:.0%}</td>"
            f'<td class="bars">{bar(share)}</td></tr>'
        )
    if not rows:
        return ""
    heads = ("Category", "", "Other category", "Products", "Alike", "")
    inside = _table(heads, rows, _first(len(rows), len(found), "pairs"), words=(0, 1, 2))
    return scrolling("Categories that look alike", f'<table class="wide">{inside}</table>')


def missing(card: Card) -> str:
    """Products without a usable text or photo, and outliers, in lists that unfold."""
    lists = []
    for name, label in (
        ("without_both", "Without a usable text and photo"),
        ("without_text", "Without a usable text"),
        ("without_photo", "Without a usable photo"),
        ("foreign_text", "Text unlike its category"),
        ("foreign_image", "Photo unlike its category"),
    ):
        one: Card = card.get(name) or {}
        count = whole(one.get("count"))
        if not count:
            continue
        ids = [text(str(key)) for key in (one.get("products") or ())[:IDS]]
        more = f" and {count - len(ids):,} more" if count > len(ids) and ids else ""
        inside = f"<p>{', '.join(ids)}{more}</p>" if ids else ""
        lists.append(
            f'<details class="card"><summary>{label} <b>{count:,}</b></summary>{inside}</details>'
        )
    if not lists:
        return ""
    return f'<div class="missing">{"".join(lists)}</div>'


def _table(
    heads: Iterable[str], rows: Sequence[str], caption: str, words: Sequence[int] = (0,)
) -> str:
    header = "".join(
        element("th", head, scope="col", class_="words" if at in words else None)
        for at, head in enumerate(heads)
    )
    named = f"<caption><span>{caption}</span></caption>" if caption else ""
    return f"{named}<thead><tr>{header}</tr></thead><tbody>{''.join(rows)}</tbody>"


def _first(shown: int, found: int, what: str) -> str:
    """A table's caption. what: its rows, in the plural, and perhaps their order."""
    if shown < found:
        return f"The first {shown:,} of {found:,} {what}."
    return f"All {found:,} {what}." if found > 1 else ""


def whole(value: Any, default: int = 0) -> int:
    """A number of a card as an integer. default: for a missing one."""
    return default if value is None else round(float(value))
