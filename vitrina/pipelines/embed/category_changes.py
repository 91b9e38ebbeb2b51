"""Changes of a source's category tree from one reading of its catalogue to the next.

A category id can get another name, another parent, or another meaning altogether. Only the last
one is dangerous: training data with the id no longer holds. It is distinguished from a renaming by
the words of both names and by the products that stayed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from vitrina.classifier.tree import ARROW, common_root
from vitrina.data.text import normalise_title
from vitrina.types import CategoryId

LISTED = 5
"""Categories to name in a line, at most."""
SHARED_STEM = 0.75
"""Share of the shorter word that two forms of one word have in common at their beginning."""
SHORTEST_STEM = 4
TELLING = 3
"""Known products from which their moving away speaks louder than a word that both names share."""
FEW_STAYED = 0.2

_WORD = re.compile(r"\w+")


class ChangeKind(StrEnum):
    """A kind of change: no product had the category before, it has another name, another parent or
    another meaning, no product has it any more, or it has several names in one catalogue."""

    NEW = "new"
    RENAMED = "renamed"
    MOVED = "moved"
    REUSED = "reused"
    EMPTIED = "emptied"
    AMBIGUOUS = "ambiguous"


_TITLES = {
    ChangeKind.REUSED: (
        "category id means another category now",
        "category ids mean other categories now",
    ),
    ChangeKind.AMBIGUOUS: (
        "category id has several names in the catalogue",
        "category ids have several names in the catalogue",
    ),
    ChangeKind.RENAMED: ("category was renamed", "categories were renamed"),
    ChangeKind.MOVED: ("category was moved", "categories were moved"),
    ChangeKind.NEW: ("category is new", "categories are new"),
    ChangeKind.EMPTIED: (
        "category has no products any more",
        "categories have no products any more",
    ),
}


@dataclass(frozen=True)
class CategoryChange:
    """One category. before and after: its paths, "" for none. products: of today's catalogue."""

    kind: ChangeKind
    category_id: CategoryId
    before: str
    after: str
    products: int

    def __str__(self) -> str:
        if self.kind in (ChangeKind.NEW, ChangeKind.EMPTIED):
            return f"{self.category_id} {self.after or self.before}".strip()
        joint = " and " if self.kind is ChangeKind.AMBIGUOUS else " is now "
        return f"{self.category_id} {self.before!r}{joint}{self.after!r}"


@dataclass(frozen=True)
class CategoryChanges:
    """All of them, as `compare_categories` found them."""

    all: tuple[CategoryChange, ...] = ()

    def of(self, kind: ChangeKind) -> tuple[CategoryChange, ...]:
        """Those of one kind, the categories with most products first."""
        chosen = [one for one in self.all if one.kind is kind]
        return tuple(sorted(chosen, key=lambda one: (-one.products, str(one.category_id))))

    def lines(self) -> list[str]:
        """A line for each kind, for a terminal."""
        lines = []
        for kind, titles in _TITLES.items():
            if some := self.of(kind):
                title = titles[len(some) > 1]
                told = "; ".join(map(str, some[:LISTED]))
                more = f"; and {len(some) - LISTED} more" if len(some) > LISTED else ""
                lines.append(f"{len(some)} {title}: {told}{more}")
        return lines

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """By kind, as `--json` prints it."""
        return {
            kind.value: [
                {
                    "category_id": one.category_id,
                    "before": one.before or None,
                    "after": one.after or None,
                    "products": one.products,
                }
                for one in self.of(kind)
            ]
            for kind in ChangeKind
        }


@dataclass
class CategoryTally:
    """A catalogue's categories, counted row by row.

    Attributes:
        names: of each category id, the first name it has, "" for none.
        others: further names of the same id.
        products: how many products have it.
        moves: how many products whose text is as it was went from one category to another, or
            stayed: by their category of before and of now.
        mentioned: how many products the catalogue mentions, by their category of before.
    """

    names: dict[CategoryId, str] = field(default_factory=dict)
    others: dict[CategoryId, set[str]] = field(default_factory=dict)
    products: Counter[CategoryId] = field(default_factory=Counter)
    moves: Counter[tuple[CategoryId, CategoryId | None]] = field(default_factory=Counter)
    mentioned: Counter[CategoryId] = field(default_factory=Counter)

    def add(self, rows: Iterable[tuple[CategoryId | None, str]]) -> None:
        """Count the category and its name of some products."""
        for (category, name), count in Counter(rows).items():
            if category is None:
                continue
            self.products[category] += count
            known = self.names.setdefault(category, name)
            if name and known != name:
                if known:
                    self.others.setdefault(category, set()).add(name)
                else:
                    self.names[category] = name


def compare_categories(
    before: Mapping[CategoryId, frozenset[str]],
    sizes: Mapping[CategoryId, int],
    tally: CategoryTally,
    *,
    prune: bool,
) -> CategoryChanges:
    """Find what happened to each category of a source.

    before: of each category id, the names that its products had. sizes: how many had it. prune:
    whether products that the catalogue does not mention are dropped.
    """
    if not tally.products:
        return CategoryChanges()
    paths = [*tally.names.values(), *(name for names in before.values() for name in names)]
    comparison = _Comparison(common_root([*filter(None, map(_segments, paths))]), tally)
    found = []
    for key, after in tally.names.items():
        count = tally.products[key]
        if others := tally.others.get(key):
            told = ", ".join(sorted(others))
            found.append(CategoryChange(ChangeKind.AMBIGUOUS, key, after, told, count))
        if not before:
            continue
        if key not in before:
            found.append(CategoryChange(ChangeKind.NEW, key, "", after, count))
            continue
        names = before[key] - {""}
        if names and after and not names.intersection({after, *tally.others.get(key, ())}):
            old = min(names)
            if kind := comparison.kind(key, old, after):
                found.append(CategoryChange(kind, key, old, after, count))
    for key, names in before.items():
        if key not in tally.products and (prune or tally.mentioned[key] >= sizes[key]):
            found.append(CategoryChange(ChangeKind.EMPTIED, key, min(names), "", 0))
    return CategoryChanges(tuple(found))


def reused_names(
    changes: CategoryChanges, before: Mapping[CategoryId, frozenset[str]]
) -> dict[str, tuple[frozenset[str], str]]:
    """Of each id that was reused, as text: the names it had before, and the one it has now."""
    return {
        str(one.category_id): (before[one.category_id] - {""}, one.after)
        for one in changes.of(ChangeKind.REUSED)
    }


@dataclass(frozen=True)
class _Comparison:
    """Tells kinds of change apart. root: how many segments all paths begin with."""

    root: int
    tally: CategoryTally

    def kind(self, key: CategoryId, before: str, after: str) -> ChangeKind | None:
        old, new = _segments(before), _segments(after)
        if old == new:
            return None
        stayed, known = self._stayed(key)
        left = known >= TELLING and stayed < FEW_STAYED * known
        if old[-1:] == new[-1:]:
            return ChangeKind.REUSED if left else ChangeKind.MOVED
        if _related(old[-1:], new[-1:]):
            return ChangeKind.REUSED if left else ChangeKind.RENAMED
        beside = _related(old[self.root : -1], new[self.root : -1])
        if beside and known and stayed >= known / 2:
            return ChangeKind.RENAMED
        return ChangeKind.REUSED

    def _stayed(self, key: CategoryId) -> tuple[int, int]:
        """Of the products that had the category and have the text they had: how many have it still,
        and how many there are."""
        return self.tally.moves[key, key], self._known[key]

    @cached_property
    def _known(self) -> Counter[CategoryId]:
        known: Counter[CategoryId] = Counter()
        for (old, _), count in self.tally.moves.items():
            known[old] += count
        return known


def _segments(path: str) -> tuple[str, ...]:
    parts = (normalise_title(part) for part in path.split(ARROW))
    return tuple(part for part in parts if part)


def _related(some: Iterable[str], others: Iterable[str]) -> bool:
    """True if both have a word in common, in the same or another form."""
    theirs = {word for part in others for word in _WORD.findall(part)}
    return any(
        _one_word(word, other) for part in some for word in _WORD.findall(part) for other in theirs
    )


def _one_word(one: str, other: str) -> bool:
    shorter = min(len(one), len(other))
    if shorter < SHORTEST_STEM:
        return one == other and shorter > 2
    stem = max(SHORTEST_STEM, -int(-SHARED_STEM * shorter // 1))
    return one[:stem] == other[:stem]
