"""The tables of an audit's report: pairs of categories, the worst of them, look-alikes, gaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vitrina.audit.cards import ReportCards
from vitrina.page.bars import bar
from vitrina.page.markup import category, element, scrolling, text

PAIRS = 12
"""Pairs of categories in a table that is read at once."""
MORE = 200
"""Pairs in the one that is unfolded."""
WORST = 12
TWINS = 40
IDS = 200
"""Products told by their ids in one list."""

Card = Mapping[str, Any]
"""An audit's card, or a part of it: JSON's types."""


def pairs(card: Card, cards: ReportCards) -> str:
    """Suspects by the category that they have and the one suggested: the first, then the rest."""
    found: Sequence[Card] = card.get("pairs") or ()
    if not found:
        return ""
    most = max(whole(one.get("count")) for one in found) or 1
    first, rest = found[:PAIRS], found[PAIRS : PAIRS + MORE]
    told = _pairs(first, most, cards, _first(len(first), len(found), "pairs"))
    if rest:
        more = _pairs(rest, most, cards, _first(len(rest), len(found) - PAIRS, "further pairs"))
        told += f'<details class="rest"><summary>{len(rest):,} more pairs</summary>{more}</details>'
    return told


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
    """The categories of which the largest share is suspect."""
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
    """Categories that look like one another's duplicates."""
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
    """Products that lack what they could be judged by, in lists to unfold."""
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
    told = "".join(
        element("th", head, scope="col", class_="words" if at in words else None)
        for at, head in enumerate(heads)
    )
    named = f"<caption><span>{caption}</span></caption>" if caption else ""
    return f"{named}<thead><tr>{told}</tr></thead><tbody>{''.join(rows)}</tbody>"


def _first(shown: int, found: int, what: str) -> str:
    """What a table holds; what: its rows, in the plural, and perhaps how they are ordered."""
    if shown < found:
        return f"The first {shown:,} of {found:,} {what}."
    return f"All {found:,} {what}." if found > 1 else ""


def whole(value: Any, default: int = 0) -> int:
    """A number of a card as a whole one; default: for one that is not there."""
    return default if value is None else round(float(value))
