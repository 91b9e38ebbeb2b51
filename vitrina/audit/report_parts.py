"""Static parts of the audit report, as markup."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from vitrina.audit.cards import ReportCards
from vitrina.audit.filters import filters
from vitrina.audit.report_tables import Card, missing, pairs, twins, whole, worst
from vitrina.audit.report_words import HOW, NOT_SAID, SHORT, WHOLE
from vitrina.audit.results import Audit
from vitrina.page.bars import HistogramBin, bar, histogram
from vitrina.page.charts import Axis, Frame
from vitrina.page.markup import facts, section, text
from vitrina.page.words import duration
from vitrina.types import Reason

SCORES = Frame(width=640, height=440, bottom=50)


def body(audit: Audit, cards: ReportCards, title: str) -> str:
    """Markup of the page up to its data."""
    card = audit.card
    parts = (
        ("short", "In short", "In short", _short(card, cards), ""),
        ("evidence", "Evidence", "What speaks against the labels", _evidence(card), ""),
        ("pairs", "Pairs", "From which category to which", pairs(card, cards), PAIRS_HINT),
        ("worst", "Categories", "Categories with the most suspects", worst(card, cards), ""),
        ("twins", "Look-alikes", "Categories that look alike", twins(card, cards), TWINS_HINT),
        (
            "missing",
            "Gaps",
            "Products with too little to go by, or unlike their category",
            missing(card),
            MISSING_HINT,
        ),
        ("how", "How to read it", "How to read it, and what it does not say", _how(), ""),
        ("suspects", "The suspects", "The suspects", filters(cards), ""),
    )
    shown = [part for part in parts if part[3]]
    links = "".join(f'<li><a href="#{name}">{short}</a></li>' for name, short, *_ in shown)
    sections = [section(name, heading, inside, hint) for name, _, heading, inside, hint in shown]
    return "\n".join(
        (
            f'<main><header><p class="eyebrow">{text(title)}</p>'
            "<h1>Which labels are probably wrong</h1>"
            f'<p class="lead">{text(_lead(card, cards))}</p></header>',
            f'<nav aria-label="Parts of this page"><ul>{links}</ul></nav>',
            *sections,
            "<footer><p>Made by <code>vitrina audit</code>. Everything is in this one file: it "
            "loads nothing and sends nothing.</p></footer></main>\n",
        )
    )


PAIRS_HINT = (
    "Suspects by the category that they have and the one that is suggested. A pair with many "
    "suspects is rarely many slips: it is more often a rule that is understood in two ways."
)
TWINS_HINT = (
    "Products of these are told apart badly or not at all. Twins may be one category under two "
    "names; a category inside another may be a part of it."
)


MISSING_HINT = (
    "What lacks a text or photo was judged by the rest, or not at all. What is far from all others "
    "of its category may have the right label and the wrong photo or text."
)


def _lead(card: Card, cards: ReportCards) -> str:
    found = whole(card.get("suspects"), len(cards))
    if not found:
        return f"{_checked(card)}No label was found that the evidence speaks against."
    sentence = f"{found:,} label{'s look' if found > 1 else ' looks'} wrong"
    if found > len(cards):
        sentence += f"; the {len(cards):,} surest stand below, the surest first"
    return f"{_checked(card)}{sentence}, each with what speaks against it."


def _checked(card: Card) -> str:
    if "checked" not in card:
        return ""
    checked = whole(card["checked"])
    return f"{checked:,} labelled product{'s were' if checked != 1 else ' was'} checked. "


def _short(card: Card, cards: ReportCards) -> str:
    found = whole(card.get("suspects"), len(cards))
    checked = whole(card.get("checked"), whole(card.get("labelled")))
    tiles = []
    shown = f"the {len(cards):,} surest are in this report" if found > len(cards) else "all of them"
    tiles.append(("Suspects found", f"{found:,}", f"{shown}." if found else "none."))
    if sure := sum(one.score >= 0.9 for one in cards.suspects):
        tiles.append(("Nearly sure", f"{sure:,}", "suspects with a score of 90% or more."))
    if (wrong := card.get("wrong_by_confident_learning")) is not None:
        of = f"{whole(wrong) / checked:.1%} of those checked" if checked else "of all"
        note = f"{of}; a count that wants more evidence than a suspect needs."
        tiles.append(("Wrong, by confident learning", f"{whole(wrong):,}", note))
    if settled := sum(not cards.is_open(one) for one in cards.suspects):
        left = len(cards) - settled
        tiles.append(("Decided already", f"{settled:,}", f"{left:,} are still open."))
    if twins := len(card.get("twins") or ()):
        tiles.append(
            ("Look-alike categories", f"{twins:,}", f"pair{'s' if twins > 1 else ''} of them.")
        )
    inside = "".join(
        f'<li class="card tile{"" if at else " first"}"><p class="what">{what}</p>'
        f'<p class="score">{score}</p><p class="more">{more}</p></li>'
        for at, (what, score, more) in enumerate(tiles)
    )
    return f'<ul class="tiles">{inside}</ul>{_facts(card)}'


def _facts(card: Card) -> str:
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
    for name, label in (("members", "What was heard"), ("machine", "Machine"), ("store", "Store")):
        if card.get(name):
            rows.append((label, _listed(card[name])))
    return facts(rows)


def _evidence(card: Card) -> str:
    bins = [
        HistogramBin(
            float(one["low"]),
            float(one["high"]),
            int(one["count"]),
            f"{one['count']:,} suspects with a score of {one['low']:.0%} to {one['high']:.0%}",
        )
        for one in card.get("scores") or ()
    ]
    parts = []
    if most := max((one.count for one in bins), default=0):
        x = Axis.around(bins[0].low, bins[-1].high, "evidence against the label", percent=True)
        y = Axis.around(0, most, "suspects", about=4)
        # Steps below one suspect would repeat a label.
        y = (
            y
            if most > 4
            else Axis(0, most, tuple((at, f"{at}") for at in range(most + 1)), y.label)
        )
        chart = histogram(bins, x, y, label="Suspects by their score", frame=SCORES)
        parts.append(f'<div class="card plot"><h3>How sure it is</h3>{chart}</div>')
    if reasons := _reasons(card.get("reasons") or {}):
        parts.append(f'<div class="card plot"><h3>Why they are suspects</h3>{reasons}</div>')
    return f'<div class="plots">{"".join(parts)}</div>' if parts else ""


def _reasons(counts: Mapping[str, int]) -> str:
    known = {reason.value: reason for reason in Reason}
    most = max(counts.values(), default=0) or 1
    rows = []
    for name, count in sorted(counts.items(), key=lambda one: -one[1]):
        words = WHOLE[known[name]] if name in known else name
        label = SHORT[known[name]] if name in known else name
        rows.append(
            f'<li><p><b>{text(label)}</b><span class="number">{count:,}</span></p>'
            f'{bar(count / most)}<p class="more">{text(words)}</p></li>'
        )
    if not rows:
        return ""
    return (
        f'<ul class="reasons">{"".join(rows)}</ul><p class="more">A suspect may have several.</p>'
    )


def _how() -> str:
    lists = (
        f'<div class="card told"><h3>{title}</h3><ul>{"".join(f"<li>{one}</li>" for one in told)}'
        "</ul></div>"
        for title, told in (("How to read it", HOW), ("What it does not say", NOT_SAID))
    )
    return f'<div class="plots">{"".join(lists)}</div>'


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _moment(moment: str) -> str:
    try:
        return f"{datetime.fromisoformat(moment):%d.%m.%Y %H:%M %Z}".strip()
    except ValueError:
        return moment
