"""The categories of a store: their paths as shown, and an incremental search."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from vitrina.audit.results import Suspect
from vitrina.store.subtree import ARROW
from vitrina.types import CategoryId

LISTED = 50
"""Upper limit of categories in a search result; typing on narrows it."""

_WORD = re.compile(r"\w+")
_TYPED = "qwertyuiop[]asdfghjkl;'zxcvbnm,.`"
_MEANT = "йцукенгшщзхъфывапролджэячсмитьбюё"
_LAYOUT = str.maketrans(_TYPED + _MEANT, _MEANT + _TYPED)


def folded(text: str) -> str:
    """Text normalised for comparison: case-folded, ё as е."""
    return text.casefold().replace("ё", "е")


def segments(path: str) -> tuple[str, ...]:
    """The parts of a path, normalised for comparison."""
    return tuple(filter(None, (" ".join(part.split()) for part in folded(path).split(ARROW))))


@dataclass(frozen=True)
class CategoryPath:
    """A category. path: its segments as shown; empty where the catalogue has none."""

    key: CategoryId
    path: tuple[str, ...]

    @property
    def token(self) -> str:
        """Its identifier on the page."""
        return str(self.key)

    @property
    def leaf(self) -> str:
        """The last segment."""
        return self.path[-1] if self.path else str(self.key)


@dataclass(frozen=True)
class _Entry:
    category: CategoryPath
    words: str
    leaf: str


class CategoryList:
    """All categories. names: the path of each, by id, "" where there is none."""

    def __init__(self, names: Mapping[CategoryId, str]) -> None:
        whole = {
            key: tuple(filter(None, (part.strip() for part in name.split(ARROW))))
            for key, name in names.items()
        }
        # A root that all paths share carries no information.
        roots = {path[0] for path in whole.values() if path}
        short = min((len(path) for path in whole.values() if path), default=0)
        cut = 1 if len(roots) == 1 and short > 1 else 0
        self._all = {key: CategoryPath(key, path[cut:]) for key, path in whole.items()}
        self._by_token = {one.token: one for one in self._all.values()}
        self._entries = [
            _Entry(one, _words(" ".join((*one.path, one.token))), _words(one.leaf))
            for one in self._all.values()
        ]

    def __getitem__(self, key: CategoryId) -> CategoryPath:
        return self._all.get(key) or CategoryPath(key, ())

    def by_token(self, token: str) -> CategoryPath | None:
        """The category with an identifier from the page; None for an unknown one."""
        return self._by_token.get(token)

    def search(self, text: str, suspect: Suspect) -> list[tuple[CategoryPath, bool]]:
        """Find categories whose words begin with all words of `text`, the best match first.

        Matches in the last segment come first, then categories near the suspect: the suggested one,
        those of its neighbours and copies, and siblings of these. An empty text lists the near
        ones. Text typed in the other keyboard layout (QWERTY, ЙЦУКЕН) matches too. Returns pairs of
        a category and a flag, true for a near one.
        """
        near = self._near(suspect)
        if not text.strip():
            order = sorted(near, key=lambda key: (near[key], folded(ARROW.join(self[key].path))))
            return [(self[key], True) for key in order[:LISTED]]
        found = self._found(text, near) or self._found(folded(text).translate(_LAYOUT), near)
        return [(one, one.key in near) for one in found[:LISTED]]

    def _found(self, text: str, near: Mapping[CategoryId, int]) -> list[CategoryPath]:
        words = _WORD.findall(folded(text))[:12]
        if not words:
            return []
        hits = [one for one in self._entries if all(f" {word}" in one.words for word in words)]

        def order(one: _Entry) -> tuple[bool, int, int, int, int, str]:
            inside = sum(f" {word}" in one.leaf for word in words)
            whole = sum(f" {word} " in one.leaf for word in words)
            key = one.category.key
            far = near.get(key, len(near) + 1)
            named = one.category.token == text.strip()
            return not named, -inside, far, -whole, len(one.words), one.words

        return [one.category for one in sorted(hits, key=order)]

    def _near(self, suspect: Suspect) -> dict[CategoryId, int]:
        """Categories near a suspect, each with its rank: 0 is the nearest."""
        predicted = (suspect.suggested, suspect.text_category, suspect.image_category)
        beside = Counter(one.category_id for one in (*suspect.copies, *suspect.neighbours))
        first = (*predicted, *(key for key, _ in beside.most_common()), suspect.given)
        own = [key for key in dict.fromkeys(first) if key is not None]
        near = {key: place for place, key in enumerate(own)}
        parents = {self[key].path[:-1] for key in own if len(self[key].path) > 1}
        for key, one in self._all.items():
            if one.path[:-1] in parents and len(one.path) > 1:
                near.setdefault(key, len(own))
        return near


def _words(text: str) -> str:
    return f" {' '.join(_WORD.findall(folded(text)))} "
