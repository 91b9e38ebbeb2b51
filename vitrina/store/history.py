"""Reading a store's commits; the newest wins."""

from __future__ import annotations

from contextlib import suppress

from vitrina.errors import StoreError
from vitrina.store import layout
from vitrina.store.files import Files
from vitrina.store.manifest import Manifest
from vitrina.store.manifest_reader import parse_manifest
from vitrina.store.names import Role, parse

_TRIES = 5
_LATER = (layout.SPACES, layout.INDEXES, layout.MODELS, layout.AUDITS, layout.DECISIONS)
"""Folders that files are put into only after the first commit, which is of products."""


def numbers(files: Files) -> list[int]:
    """The numbers of all commits that are there, oldest first."""
    told = map(parse, files.names(layout.MANIFESTS))
    return sorted(one.number for one in told if one and one.role is Role.MANIFEST)


def newest_number(files: Files) -> int:
    """The newest commit's number; 0 where there is none."""
    return max(numbers(files), default=0)


def read_manifest(files: Files, sequence: int) -> Manifest:
    """Read one commit.

    Raises FileNotFoundError if it is gone, StoreError if it is damaged or is no manifest that
    Vitrina writes.
    """
    name = layout.manifest(sequence)
    return parse_manifest(files.read(name), files.where(name), sequence)


def newest(files: Files, *, damaged_too: bool = False) -> Manifest:
    """The newest commit; an empty one where there is none.

    damaged_too: where it is damaged, the newest whole one before it.
    Raises StoreError if it is damaged, if there is no whole one, or if none is left of a store that
    had some: a writer would take what is there for leftovers.
    """
    for _ in range(_TRIES):
        there = numbers(files)
        for number in reversed(there):
            try:
                return read_manifest(files, number)
            except FileNotFoundError:
                # Two commits came in between, and the writer has tidied this one away.
                break
            except StoreError:
                if not damaged_too or number == there[0]:
                    raise
        else:
            for folder in _LATER:
                if files.entries(folder):
                    raise StoreError(
                        f"{files.where(layout.MANIFESTS)} holds no commit, and {folder}/ holds "
                        "files: put manifests/ back from a copy, or delete the store and embed "
                        "its catalogue anew"
                    )
            return Manifest()
    raise StoreError(f"{files.place}: commits come and go faster than they can be read")


def read_history(files: Files) -> list[Manifest]:
    """All commits that are there and whole, oldest first."""
    history = []
    for number in numbers(files):
        try:
            history.append(read_manifest(files, number))
        except (FileNotFoundError, StoreError):
            continue
    return history


def read_retired(files: Files) -> dict[str, Manifest]:
    """Commits that are being forgotten, by the names of their files.

    A writer puts a manifest there before it deletes the files that this commit alone names, and
    deletes it after them: the next writer goes on if that one was killed.
    """
    found = {}
    folder = layout.retired(layout.MANIFESTS)
    for name in files.names(folder):
        told = parse(name.removeprefix(layout.retired("")))
        if told and told.role is Role.MANIFEST:
            with suppress(FileNotFoundError, StoreError):
                found[name] = parse_manifest(files.read(name), name, told.number)
    return found
