"""Suspects as data for the report's script: an index for filtering, and chunks of whole cards.

Everything is JSON in elements that browsers do not execute. The script parses a chunk only when one
of its cards scrolls into view, and inserts it as text, never as markup.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from vitrina.audit.report.texts import SHORT, WHOLE, decided
from vitrina.audit.results import Audit, AuditNeighbour, Suspect
from vitrina.page.words import plain
from vitrina.store.decisions import Decision
from vitrina.types import CategoryId, ProductId, Reason

CHUNK = 100
"""Suspects in one chunk: few enough to parse between two frames."""
NEIGHBOURS = 6
"""Neighbours, and copies, that a card shows."""
PLAIN = 50
"""Suspects in the table for browsers without JavaScript."""


class ReportCards:
    """The cards of an audit's first suspects.

    `products`: all products whose photos and titles the cards show, in the order in which they are
    needed; a card refers to them by position.
    """

    def __init__(self, audit: Audit, decisions: Mapping[ProductId, Decision], most: int) -> None:
        self.suspects = audit.suspects[:most]
        self._names, self._decisions = _rootless(audit.names), decisions
        self._batches = Counter(one.batch for one in audit.suspects if one.batch)
        mentioned = (key for one in self.suspects for key in _mentioned(one))
        self._numbers = {key: number for number, key in enumerate(dict.fromkeys(mentioned))}
        named = (key for one in self.suspects for key in _categories(one))
        self._codes = {key: code for code, key in enumerate(dict.fromkeys(named))}

    @cached_property
    def products(self) -> list[ProductId]:
        """Ids of all products on the cards, without repeats."""
        return list(self._numbers)

    def __len__(self) -> int:
        """The number of suspects."""
        return len(self.suspects)

    def is_open(self, one: Suspect) -> bool:
        """True while no decision has settled the category."""
        decision = self._decisions.get(one.product_id)
        return decision is None or decision.category is None

    def name(self, key: CategoryId) -> str:
        """A category's path without the common root, or its id where it has no path."""
        return self._names.get(key) or plain(str(key))

    def index(self) -> dict[str, Any]:
        """Data for the script's filters, one column each, and the texts that it shows."""
        bits = {reason: 1 << at for at, reason in enumerate(Reason)}
        return {
            "chunk": CHUNK,
            "categories": [self.name(key) for key in self._codes],
            "ids": [plain(str(key)) for key in self._codes],
            "reasons": [{"short": SHORT[one], "whole": WHOLE[one]} for one in Reason],
            "given": [self._codes[one.given] for one in self.suspects],
            "suggested": [self._codes[one.suggested] for one in self.suspects],
            "score": [_rounded(one.score) for one in self.suspects],
            "why": [sum({bits[reason] for reason in one.reasons}) for one in self.suspects],
            "open": [int(self.is_open(one)) for one in self.suspects],
        }

    def chunks(self, titles: Mapping[ProductId, str]) -> Iterator[list[dict[str, Any]]]:
        """The cards, `CHUNK` at a time. titles: by product."""
        for start in range(0, len(self.suspects), CHUNK):
            yield [self._card(one, titles) for one in self.suspects[start : start + CHUNK]]

    def _card(self, one: Suspect, titles: Mapping[ProductId, str]) -> dict[str, Any]:
        kinds = [*Reason]
        card: dict[str, Any] = {
            "rank": one.rank,
            "product": self._numbers[one.product_id],
            "id": plain(str(one.product_id)),
            "title": plain(one.title),
            "given": self._codes[one.given],
            "suggested": self._codes[one.suggested],
            "score": _rounded(one.score),
            "given_probability": _rounded(one.given_probability),
            "suggested_probability": _rounded(one.suggested_probability),
            "reasons": [kinds.index(reason) for reason in one.reasons],
            "evidence": [[_kind(kind), _rounded(value)] for kind, value in one.evidence.items()],
            "neighbours": self._neighbours(one.neighbours, titles),
        }
        if one.text_category is not None:
            card["text"] = self._codes[one.text_category]
        if one.image_category is not None:
            card["image"] = self._codes[one.image_category]
        if one.copies:
            card["copies"] = self._neighbours(one.copies, titles)
            card["more_copies"] = max(0, len(one.copies) - NEIGHBOURS)
        if mates := self._batches[one.batch] - 1 if one.batch else 0:
            card["mates"] = mates
        if decision := self._decisions.get(one.product_id):
            settled = decision.category
            name = "" if settled is None else self.name(settled)
            card["decision"] = plain(decided(decision, name))
        return card

    def _neighbours(
        self, near: Sequence[AuditNeighbour], titles: Mapping[ProductId, str]
    ) -> list[list[Any]]:
        """Neighbours or copies as lists, not objects: there are tens of thousands of them."""
        return [
            [
                self._numbers[one.product_id],
                plain(str(one.product_id)),
                plain(titles.get(one.product_id) or ""),
                -1 if one.category_id is None else self._codes[one.category_id],
                _rounded(one.score),
            ]
            for one in near[:NEIGHBOURS]
        ]

    def why(self, one: Suspect) -> str:
        """A suspect's reasons as text."""
        return "; ".join(WHOLE[reason] for reason in one.reasons)


def _rootless(names: Mapping[CategoryId, str]) -> dict[CategoryId, str]:
    """Paths by category, without their root where all share it."""
    paths = {key: plain(name) for key, name in names.items() if name}
    parts = [path.partition("->") for path in paths.values()]
    if len({root for root, _, _ in parts}) == 1 and all(rest for _, _, rest in parts):
        return {key: path.partition("->")[2].strip() for key, path in paths.items()}
    return paths


def _mentioned(one: Suspect) -> Iterable[ProductId]:
    yield one.product_id
    for near in (*one.neighbours[:NEIGHBOURS], *one.copies[:NEIGHBOURS]):
        yield near.product_id


def _categories(one: Suspect) -> Iterable[CategoryId]:
    yield from (one.given, one.suggested)
    named = (one.text_category, one.image_category)
    near = (two.category_id for two in (*one.neighbours[:NEIGHBOURS], *one.copies[:NEIGHBOURS]))
    yield from (key for key in (*named, *near) if key is not None)


def _kind(kind: str) -> str:
    known = {reason.value: words for reason, words in SHORT.items()}
    return known.get(kind, plain(kind))


def _rounded(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
