"""Suggestions for a mistyped location of a store."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import Any

from vitrina.store import layout

MOST = 3
"""Maximum number of suggestions."""

_LISTED = 10_000
"""Maximum number of a directory's entries that are looked at."""

_ABSENT, _FILE = "there is no such directory", "it is a file"
_EMPTY, _FULL = "it is empty", "it holds other files"

_PATH_OF_URL = re.compile(r"[a-z0-9]{2,}:/[^/]")


def no_store(place: str | Path, options: dict[str, Any] | None = None) -> str:
    """Return the message that there is no store at a place: the reason, stores that may be meant,
    and the ways to make one there. options: of fsspec, for a URL."""
    name = str(place)
    if _PATH_OF_URL.match(name):
        return f"{name} is not a store; give a URL as text, not as a Path"
    reason = _reason(name)
    near = near_stores(name, options)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    ways = (
        f"`vitrina embed CATALOGUE --store {name}` makes one, as do Store.create({name!r}) and "
        f"Store.open({name!r}, create=True) in Python"
    )
    if reason in (_FILE, _FULL):
        ways = "give another directory"
    return f"{name} is not a store{f' ({reason})' if reason else ''}; {hint}{ways}"


def near_stores(place: str, options: dict[str, Any] | None = None) -> list[str]:
    """Return stores that a mistyped place may mean, at most `MOST`: the one that contains it, those
    in it, or those with a similar name."""
    if "://" in place:
        return _near_urls(place, options)
    home = str(Path.home()) if place.startswith("~/") else ""
    path = Path(home, place[2:]) if home else Path(place)
    for parent in path.parents:
        if _is_store(parent):
            return [_as_given(parent, home)]
    found = filter(_is_store, chain(_folders(path), _similar(path)))
    return [_as_given(one, home) for one in islice(found, MOST)]


def _as_given(path: Path, home: str) -> str:
    return f"~{str(path).removeprefix(home)}" if home else str(path)


def _reason(place: str) -> str:
    path = Path(place).expanduser() if place.startswith("~/") else Path(place)
    if "://" in place:
        return ""
    if path.is_dir():
        return _FULL if any(path.iterdir()) else _EMPTY
    return _FILE if path.exists() else _ABSENT


def _similar(path: Path) -> Iterator[Path]:
    """Yield existing directories each part of whose path is that of `path`, or similar to it."""
    parent = path.parent
    for folder in [parent] if parent.is_dir() else _similar(parent):
        for name in similar_names(path.name, (one.name for one in _folders(folder))):
            yield folder / name


def similar_names(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that are similar to one, the closest first; case does not count."""
    cased: dict[str, list[str]] = {}
    for one in names:
        cased.setdefault(one.casefold(), []).append(one)
    near = get_close_matches(name.casefold(), cased, n=2 * MOST)
    return [one for key in near for one in sorted(cased[key])]


def _folders(folder: Path) -> list[Path]:
    """Subdirectories, sorted; none if the directory can't be read."""
    try:
        with os.scandir(folder) as entries:
            names = [one.name for one in islice(entries, _LISTED) if one.is_dir()]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def _is_store(folder: Path) -> bool:
    try:
        return (folder / layout.CARD).is_file()
    except OSError:
        return False


def _near_urls(place: str, options: dict[str, Any] | None) -> list[str]:
    import fsspec

    above, _, name = place.rstrip("/").rpartition("/")
    try:
        files, root = fsspec.core.url_to_fs(above, use_listings_cache=False, **(options or {}))
        listed = (one["name"] for one in files.ls(root, detail=True) if one["type"] == "directory")
        near = similar_names(name, (str(one).rstrip("/").rpartition("/")[2] for one in listed))
        paths = (f"{str(root).rstrip('/')}/{one}/{layout.CARD}" for one in near)
        stores = [one for one, path in zip(near, paths, strict=True) if files.isfile(path)]
    except Exception:
        # Clients of object stores raise errors of their own, and the caller reports another one.
        return []
    return [f"{above}/{one}" for one in stores[:MOST]]
