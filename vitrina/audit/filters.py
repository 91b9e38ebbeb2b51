"""Filters of the report's suspects, and a plain table for browsers without JavaScript."""

from __future__ import annotations

from collections import Counter

from vitrina.audit.cards import ReportCards
from vitrina.audit.report_words import SHORT, WHOLE
from vitrina.page.markup import element, scrolling, text
from vitrina.types import Reason


def filters(cards: ReportCards) -> str:
    """Filter controls and the container that the script fills, and a table where no script runs."""
    if not len(cards):
        return '<p class="card empty">There is no suspect to show.</p>'
    return (
        f"<noscript>{scrolling('The first suspects', cards.table())}</noscript>"
        '<div class="card filters" id="filters" hidden="" role="search" aria-label="Filters">'
        f"{_reasons(cards)}{_category()}{_score(cards)}{_state(cards)}</div>"
        '<div class="bar-of-filters" id="count" hidden="">'
        '<p aria-live="polite"><b id="shown"></b> <span id="chosen"></span></p>'
        '<button type="button" id="clear" hidden="">Show all</button></div>'
        '<div id="cards"></div>'
    )


def _reasons(cards: ReportCards) -> str:
    counts = Counter(reason for one in cards.suspects for reason in set(one.reasons))
    buttons = "".join(
        element(
            "button",
            f"{SHORT[reason]} <small>{counts[reason]:,}</small>",
            type="button",
            title=WHOLE[reason],
            aria_pressed="false",
            data_reason=str(at),
        )
        for at, reason in enumerate(Reason)
        if counts[reason]
    )
    if not buttons:
        return ""
    return _chips("Reason", buttons, "choice grow")


def _category() -> str:
    return (
        '<div class="choice grow find"><label class="label" for="category">Category, given or '
        'suggested</label><input id="category" type="text" autocomplete="off" spellcheck="false" '
        'placeholder="Type a part of its name" role="combobox" aria-expanded="false" '
        'aria-controls="found" aria-autocomplete="list"/>'
        '<ul id="found" role="listbox" aria-label="Categories" hidden=""></ul></div>'
    )


def _score(cards: ReportCards) -> str:
    low = int(100 * min((one.score for one in cards.suspects if one.score >= 0), default=0.0))
    return (
        '<div class="choice"><label class="label" for="score">Evidence of at least '
        f'<output id="least" for="score">{low}%</output></label>'
        f'<input id="score" type="range" min="{low}" max="99" step="1" value="{low}"/></div>'
    )


def _state(cards: ReportCards) -> str:
    open_count = sum(map(cards.is_open, cards.suspects))
    if open_count == len(cards):
        return ""
    buttons = "".join(
        element(
            "button",
            f"{text(label)} <small>{count:,}</small>",
            type="button",
            aria_pressed="true" if state == "all" else "false",
            data_state=state,
        )
        for state, label, count in (
            ("all", "All", len(cards)),
            ("open", "Still open", open_count),
            ("decided", "Decided", len(cards) - open_count),
        )
    )
    return _chips("Decision", buttons, "choice")


def _chips(label: str, buttons: str, kind: str) -> str:
    inside = f'<span class="label">{label}</span><div class="chips">{buttons}</div>'
    return element("div", inside, class_=kind, role="group", aria_label=label)
