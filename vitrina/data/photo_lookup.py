"""Lookup of the file in a photo source for a photo's name in a catalogue.

A catalogue may name photos by URL, by a path on another machine, in another case or Unicode form,
without an extension, or several in one field. A name is looked up in this order, and the first
match counts:

1. exactly as written;
2. its path, then ever shorter suffixes down to the bare file name, as paths from the source's
   root: `upload/4ef/1.jpg`, `4ef/1.jpg`, `1.jpg` for `http://shop.ru/upload/4ef/1.jpg`;
3. as in 2, ignoring case and Unicode form; here the whole path may also be below folders that the
   name doesn't contain;
4. as in 3, with another extension, or with one if the name has none.

A shorter suffix is searched at the root only, so that `b/1.jpg` never matches `a/1.jpg`; a top
folder such as `images` counts as the root. If several files match equally well, none is taken.

A field that is no name itself may list several, separated by line breaks, `;`, `|`, `,` or spaces.
"""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from vitrina.data.photo_index import AmbiguousNameError, NameIndex, folded, split_extension
from vitrina.errors import ImageError

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:(?=/)")
_SEPARATOR = re.compile(r"[\n\t;|,]")
_LISTS = (r"[\r\n\t]+", r";", r"\|", r",", r"\s+")
_AROUND = " \t\r\n\ufeff\xa0'\"`«»"
_BRACKETS = "[]{}()"
_MOST_PARTS = 40
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class PhotoLookup:
    """Lookup of named photos in one source.

    exists: tests for a file of exactly this name. index: returns the index of its files, called
    only if exact names find nothing. place: the source's name for messages.
    """

    exists: Callable[[str], bool]
    index: Callable[[], NameIndex]
    place: str = "it"

    def find(self, fields: Sequence[str], photos: int) -> tuple[str, ...]:
        """Return the files that a catalogue's fields name, in order; at most `photos`."""
        if len(fields) == 1 and ".." not in fields[0] and self.exists(fields[0]):
            return (fields[0],)
        found = (file for field in fields for file in self._files(field))
        return tuple(islice(dict.fromkeys(found) if photos > 1 else found, photos))

    def explain(self, fields: Sequence[str]) -> str:
        """Explain why the first name in the fields was not found; "" if they name nothing."""
        names = [name for field in fields for name in (list_of(field) or [field])]
        if not names:
            return ""
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        return self._why(names[0], more)

    def _files(self, field: str) -> list[str]:
        """Return the files that one field names; the index is used only if an exact name fails."""
        there = self._resolve(field, self._exactly)
        if None in there:
            there = self._resolve(field, self._anyhow)
        return [file for file in there if file is not None]

    def _resolve(self, field: str, find: Callable[[str], str | None]) -> list[str | None]:
        if (file := find(field)) is not None:
            return [file]
        names = list_of(field)
        return [file for name in names for file in self._resolve(name, find)] or [None]

    def _exactly(self, name: str) -> str | None:
        outside = _leads_outside(name)
        if not outside and self.exists(name):
            return name
        for path in _paths(name):
            if path.text != name and self.exists(path.text):
                return path.text
        # `read` raises the error for a name that leads outside.
        return name if outside else None

    def _anyhow(self, name: str) -> str | None:
        if (file := self._exactly(name)) is not None:
            return file
        try:
            return self._indexed(name)
        except AmbiguousNameError:
            return None

    def _indexed(self, name: str) -> str | None:
        index, paths = self.index(), list(_paths(name))
        for same in (True, False):
            for path in paths:
                file = index.find(path.text, whole=path.whole, same_extension=same)
                # A dangling link has a name too.
                if file is not None and self.exists(file):
                    return file
        return None

    def _why(self, name: str, more: str) -> str:
        shown = repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}...") + more
        index = self.index()
        if not index.complete:
            return f"no photo {shown}; {self.place} holds too many files to look for similar names"
        try:
            self._indexed(name)
        except AmbiguousNameError as err:
            one, other = err.names
            return f"ambiguous photo {shown}: it could be {one!r} or {other!r}"
        paths = list(_paths(name))
        near = index.nearest(paths[0].text if paths else name)
        if near is None:
            return f"no photo {shown}: nothing like it in {self.place}"
        return f"no photo {shown}: the nearest name is {near!r}"


class _Path(NamedTuple):
    """A path to look up. whole: whether it is the complete name, or all but its host."""

    text: str
    whole: bool


def list_of(field: str) -> list[str]:
    """Return the names in a field that lists several; [] if the field is no list.

    A field is a list if all its parts look like photos or URLs, or none does: `a,b.jpg` is one
    name, `a.jpg,b.jpg` are two.
    """
    for separator in _LISTS:
        parts = [part.strip(_AROUND + _BRACKETS) for part in re.split(separator, field)]
        parts = [part for part in parts if part]
        if not parts or parts == [field]:
            continue
        photos = [bool(split_extension(folded(_without_query(part)))[1]) for part in parts]
        urls = [_URL.match(part) is not None for part in parts]
        bare = not any(photos) and not any(urls) and separator != r"\s+"
        if all(photos) or all(urls) or bare:
            return parts
    return []


def _paths(name: str) -> Iterator[_Path]:
    """Yield every path that a name may mean, the likeliest first."""
    seen = set()
    for text in _readings(name.strip(_AROUND)):
        host = ""
        if _URL.match(text):
            host, _, text = _URL.sub("", text, count=1).partition("/")
        parts = _parts(text)
        if host and parts:
            parts.insert(0, host)
        for start in range(len(parts)):
            # The part cut off must not contain other names of a list.
            if start and _SEPARATOR.search(parts[start - 1]):
                break
            path = _Path("/".join(parts[start:]), start <= bool(host))
            if path not in seen:
                seen.add(path)
                yield path


def _readings(name: str) -> list[str]:
    """Return the variants of a name with and without query, percent-encoding and HTML escapes."""
    name = name.replace("\\", "/")
    plain = html.unescape(name) if "&" in name else name
    cut = _without_query(plain)
    forms = [plain, cut, _unquoted(cut)]
    if _URL.match(plain):
        try:
            urlsplit(plain)
        except ValueError:
            return []
        forms.reverse()
    return list(dict.fromkeys([*forms, name]))


def _without_query(name: str) -> str:
    for mark in "?#":
        before, found, _ = name.partition(mark)
        # In a file name, such a mark is an ordinary character.
        is_query = mark == "?" and _URL.match(name)
        if found and (is_query or split_extension(folded(before))[1]):
            name = before
    return name


def _unquoted(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return unquote(text, "cp1251", errors="replace")


def _parts(path: str) -> list[str]:
    """Return the folders and the file of a path; [] for a path that ends with `/`."""
    parts: list[str] = []
    for part in _DRIVE.sub("", path.lstrip("/"), count=1).split("/"):
        if part == "..":
            del parts[-1:]
        elif part.strip() not in ("", "."):
            parts.append(part.strip())
    return [] if path.endswith("/") else parts[-_MOST_PARTS:]


def inside(reference: str) -> str:
    """Normalize a reference to a relative path. Raises ImageError if it leaves the source."""
    name = posixpath.normpath(reference.lstrip("/"))
    if name == ".." or name.startswith("../"):
        raise ImageError(f"leads outside of the photos' place: {reference!r}")
    return name


def _leads_outside(name: str) -> bool:
    if ".." not in name:
        return False
    try:
        inside(name)
    except ImageError:
        return True
    return False
