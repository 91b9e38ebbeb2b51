"""Changes of a source's category tree between two readings of its catalogue.

A category id can get another name, another parent, or another meaning. Only a new meaning is
dangerous, because training data with the id is no longer valid. It is distinguished from a renaming
by the words of both names and by the products that kept the id.
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
    """Kinds of change: a new category, one with another name, parent or meaning, one without
    products now, and one with several names in one catalogue."""

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
    """Change of one category. before, after: its paths, "" for none. products: its products now."""

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
    """All changes that `compare_categories` found."""

    all: tuple[CategoryChange, ...] = ()

    def of(self, kind: ChangeKind) -> tuple[CategoryChange, ...]:
        """Changes of one kind, categories with most products first."""
        chosen = [one for one in self.all if one.kind is kind]
        return tuple(sorted(chosen, key=lambda one: (-one.products, str(one.category_id))))

    def lines(self) -> list[str]:
        """One line per kind, for a terminal."""
        lines = []
        for kind, titles in _TITLES.items():
            if some := self.of(kind):
                title = titles[len(some) > 1]
                told = "; ".join(map(str, some[:LISTED]))
                more = f"; and {len(some) - LISTED} more" if len(some) > LISTED else ""
                lines.append(f"{len(some)} {title}: {told}{more}")
        return lines

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Changes by kind, as JSON values."""
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
    """Counts of a catalogue's categories, row by row.

    Attributes:
        names: first name of each category id, "" for none.
        others: further names of each id.
        products: number of products of each id.
        moves: number of products with unchanged text, by their previous and current category.
        mentioned: number of products that the catalogue mentions, by their previous category.
    """

    names: dict[CategoryId, str] = field(default_factory=dict)
    others: dict[CategoryId, set[str]] = field(default_factory=dict)
    products: Counter[CategoryId] = field(default_factory=Counter)
    moves: Counter[tuple[CategoryId, CategoryId | None]] = field(default_factory=Counter)
    mentioned: Counter[CategoryId] = field(default_factory=Counter)

    def add(self, rows: Iterable[tuple[CategoryId | None, str]]) -> None:
        """Count the category and its name for some products."""
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
    """Compare the categories of a source with those of the previous reading.

    before: previous names of each category id. sizes: previous number of products of each. prune:
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
    """The previous and the current name of each id that was reused for another meaning; keys are
    the ids as text."""
    return {
        str(one.category_id): (before[one.category_id] - {""}, one.after)
        for one in changes.of(ChangeKind.REUSED)
    }


@dataclass(frozen=True)
class _Comparison:
    """Distinguishes kinds of change. root: number of segments that all paths share at the start."""

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
    """Return True if both texts share a word, in the same or another form."""
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
