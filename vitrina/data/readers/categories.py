"""Category paths: detection of a column's separator, and normalization of paths.

A path is stored as its names joined by "->". Shops write ` > `, `/`, `>>`, `|` and other
separators, or a list. A mark is a separator only if the column shows a hierarchy, since names such
as "Мыло/шампунь" contain it too. The rule, over the distinct names of the column:

- `>>`, `>`, `»` and `→` rarely occur within a name. They are separators if half of the names
  contain the mark, or if a tenth do and at least half of these share their root with another name.
- `::`, `|`, `\\`, `/`, `;` and ` - ` are separators if at least three names, and 60% of all,
  contain the mark; if the roots are at most half as many as these paths; if at least four fifths
  of the roots never occur further down; and if at least half of the names further down always have
  the same parent.
- The mark is tried with surrounding spaces first, so that in "Красота / Мыло/шампунь" only the
  first one separates.
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
"""Separator of a path's names in a store."""

NEVER = "none"
"""Separator value that means that names are no paths."""

_STRONG = (">>", ">", "»", "→")
_WEAK = ("::", "|", "\\", "/", ";", "-")
_DISTINCT = 20_000
_CACHED = 100_000
# A list in Python's notation, each text in single or double quotes.
_ITEM = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_PRINTED = re.compile(rf"\[\s*(?:{_ITEM})(?:\s*,\s*(?:{_ITEM}))*\s*\]")
_PRINTED_ITEM = re.compile(_ITEM)
_ESCAPED = re.compile(r"\\(.)")


class PathScan:
    """Collector of a category column's distinct names, to detect the separator of their paths."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._raw: set[str] = set()
        self.lists = False

    def add(self, values: Iterable[Any]) -> None:
        """Add values of the column."""
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
            # Further items may be names further down the path.
            self._names[names[0]] = None

    def separator(self) -> str | None:
        """Detect the separator; "->" if paths have the stored form already, None for no paths."""
        self._names.pop("", None)
        return find_separator(self._names)


class CategoryPaths:
    """Converter of category names to the stored form, for a known separator."""

    def __init__(self, separator: str | None) -> None:
        """separator: None for only "->", `none` to leave names unsplit."""
        self._separator = separator
        self._known: dict[str, str] = {}

    def path(self, value: Any) -> str:
        """Convert a value of any type to a path or name; "" for none.

        The items of a list form the path, from the root down; if the first item is a path itself,
        it is the result. Raises ValueError for an unreadable value.
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
    """Split a path into its non-empty names, from the root down. "->" always separates."""
    if ARROW in text:
        parts = text.split(ARROW)
    elif separator is None:
        parts = [text]
    else:
        # Padded, so that a separator with spaces also matches at the ends.
        parts = f" {text} ".split(separator)
    return [name for part in parts if (name := part.strip())]


def find_separator(names: Collection[str]) -> str | None:
    """Detect the separator by the module's rule; None if the names are no paths."""
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
    """Return a strong mark with spaces if it always has them, else without."""
    spaced = f" {mark} "
    return (spaced,) if all(mark not in name.replace(spaced, "") for name in names) else (mark,)


def _paths(separator: str, names: Collection[str]) -> list[list[str]]:
    """Split the names that are paths under this separator."""
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
    """Return the names in a list, real or written as text; None for anything else."""
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
