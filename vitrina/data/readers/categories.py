"""Category paths: their separator, found over the whole column, and each name in one form.

A path is kept as its names joined by "->". Shops write ` > `, `/`, `>>`, `|` and others in its
place, or a list. A mark separates only if the column shows a hierarchy, since names such as
"Мыло/шампунь" hold it too. The rule, over the distinct names of the column:

- `>>`, `>`, `»` and `→` hardly occur within a name: they separate if half of the names hold
  the mark, or a tenth, if most of these share their first part with another name.
- `::`, `|`, `\\`, `/`, `;` and ` - ` separate if three names or more, and 60% of all, hold the
  mark; if their first parts are at most half as many as they are themselves; if four fifths of
  the first parts never stand further down; and if half of the parts further down or more
  always have the same part above them.
- Where the mark stands between spaces it is looked for with them first, so that in
  "Красота / Мыло/шампунь" only the first one separates.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import pairwise
from typing import Any

from vitrina.data.readers.base import UnreadableValue
from vitrina.data.readers.marketplace import text_of, texts

ARROW = "->"
"""Joins the names of a path, in a store."""

NEVER = "none"
"""As a separator: names are no paths."""

_STRONG = (">>", ">", "»", "→")
_WEAK = ("::", "|", "\\", "/", ";", "-")
_DISTINCT = 20_000
_CACHED = 100_000
# A list as Python prints it, each text in single or double quotes.
_ITEM = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_PRINTED = re.compile(rf"\[\s*(?:{_ITEM})(?:\s*,\s*(?:{_ITEM}))*\s*\]")
_PRINTED_ITEM = re.compile(_ITEM)
_ESCAPED = re.compile(r"\\(.)")


class PathScan:
    """Collects the distinct names of a category column, to find out how their paths are written."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._raw: set[str] = set()
        self.lists = False

    def add(self, values: Iterable[Any]) -> None:
        """Take note of some values of the column."""
        for value in values:
            if len(self._raw) >= _DISTINCT:
                return
            if type(value) is str:
                if value not in self._raw:
                    self._raw.add(value)
                    self._add(value)
            elif isinstance(value, list | tuple):
                with suppress(ValueError, RecursionError):
                    self._add(value)

    def _add(self, value: Any) -> None:
        names = _names_in(value)
        if names is None:
            self._names[text_of(value)] = None
        elif names:
            self.lists = True
            # Of several, the others may be names further down.
            self._names[names[0]] = None

    def separator(self) -> str | None:
        """The separator of a path's names; "->" if they are in that form already."""
        self._names.pop("", None)
        return find_separator(self._names)


class CategoryPaths:
    """Puts category names into the stored form, given what separates the names of a path."""

    def __init__(self, separator: str | None) -> None:
        """separator: None for none but "->", `none` to leave names as they are."""
        self._separator = separator
        self._known: dict[str, str] = {}

    def path(self, value: Any) -> str:
        """The path or name in a value of any type, "" for none.

        Of a list, the items are the path, from the root down; if they are paths themselves, the
        first one counts. Raises ValueError for what can't be read.
        """
        if not isinstance(value, str):
            return self._path(value)
        known = self._known.get(value)
        if known is None:
            known = self._path(value)
            if len(self._known) < _CACHED:
                self._known[value] = known
        return known

    def _path(self, value: Any) -> str:
        if self._separator == NEVER:
            return text_of(value)
        names = _names_in(value)
        if names is None:
            return ARROW.join(split_path(text_of(value), self._separator))
        paths = [split_path(name, self._separator) for name in names]
        if paths and len(paths[0]) > 1:
            return ARROW.join(paths[0])
        return ARROW.join(name for path in paths for name in path)


def split_path(text: str, separator: str | None) -> list[str]:
    """The names in a path, from the root down, without empty ones. "->" always separates."""
    if ARROW in text:
        parts = text.split(ARROW)
    elif separator is None:
        parts = [text]
    else:
        # Padded, so that a separator with spaces is found at the ends too.
        parts = f" {text} ".split(separator)
    return [name for part in parts if (name := part.strip())]


def find_separator(names: Collection[str]) -> str | None:
    """The separator of a path's names by the rule above; None where they are no paths."""
    if 2 * sum(ARROW in name for name in names) >= max(len(names), 1):
        return ARROW
    for mark in _STRONG:
        for separator in _forms(mark, names):
            if _separates(separator, names):
                return separator
    for mark in _WEAK:
        for separator in (f" {mark} ", mark):
            if separator != "-" and _is_hierarchy(separator, names):
                return separator
    return None


def _forms(mark: str, names: Collection[str]) -> tuple[str, ...]:
    """A strong mark with spaces if it always has them, else without."""
    spaced = f" {mark} "
    return (spaced,) if all(mark not in name.replace(spaced, "") for name in names) else (mark,)


def _paths(separator: str, names: Collection[str]) -> list[list[str]]:
    """The names that are paths if this separates them."""
    found = []
    for name in names:
        if separator.strip() == "»" and "«" in name:
            continue
        if separator in name and ARROW not in name and "://" not in name:
            path = split_path(name, separator)
            # "12/45" is no path of names.
            if len(path) > 1 and any(map(str.isalpha, path[0])):
                found.append(path)
    return found


def _separates(separator: str, names: Collection[str]) -> bool:
    paths = _paths(separator, names)
    if not paths:
        return False
    if 2 * len(paths) >= len(names):
        return True
    roots = Counter(path[0] for path in paths)
    shared = sum(roots[path[0]] > 1 or path[0] in names for path in paths)
    return len(paths) > 1 and 10 * len(paths) >= len(names) and 2 * shared >= len(paths)


def _is_hierarchy(separator: str, names: Collection[str]) -> bool:
    paths = _paths(separator, names)
    if len(paths) < 3 or len(paths) < 0.6 * len(names):
        return False
    roots = {path[0] for path in paths}
    parents: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        for above, name in pairwise(path):
            parents[name].add(above)
    single = sum(len(above) == 1 for above in parents.values())
    below = sum(root in parents for root in roots)
    return 2 * len(roots) <= len(paths) and 5 * below <= len(roots) and 2 * single >= len(parents)


def _names_in(value: Any) -> list[str] | None:
    """The names in a list, be it a real one or the text of one; None for what is no list."""
    if isinstance(value, UnreadableValue):
        raise ValueError(value.reason)
    if isinstance(value, str) and value[:1] == "[" and value.rstrip()[-1:] == "]":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            if not _PRINTED.fullmatch(value.rstrip()):
                return None
            items = _PRINTED_ITEM.findall(value)
            value = [_ESCAPED.sub(r"\1", item[1:-1]) for item in items]
    if not isinstance(value, list | tuple):
        return None
    return [name for one in value for name in texts(one)] if value else []
