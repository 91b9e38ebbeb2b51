"""Reader of a store's commits; the newest one is current."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from vitrina.errors import StoreError
from vitrina.store import layout
from vitrina.store.entries import FileEntry, Segment
from vitrina.store.files import Files
from vitrina.store.manifest import Manifest
from vitrina.store.manifest_reader import parse_manifest
from vitrina.store.names import Role, parse
from vitrina.store.segments import read_segment

_TRIES = 5
_LATER = (layout.SPACES, layout.INDEXES, layout.MODELS, layout.AUDITS, layout.DECISIONS)
"""Folders that receive files only after the first commit, which adds products."""


def numbers(files: Files) -> list[int]:
    """Numbers of all existing commits, oldest first."""
    parsed = map(parse, files.names(layout.MANIFESTS))
    return sorted(one.number for one in parsed if one and one.role is Role.MANIFEST)


def newest_number(files: Files) -> int:
    """The newest commit's number; 0 if there is none."""
    return max(numbers(files), default=0)


def read_manifest(files: Files, sequence: int) -> Manifest:
    """Read one commit.

    Raises FileNotFoundError if it is gone, StoreError if it is damaged or not a valid manifest.
    """
    name = layout.manifest(sequence)
    content = files.read(name)
    try:
        return parse_manifest(content, files.where(name), sequence, partial(read_segment, files))
    except StoreError as err:
        if files.exists(name):
            raise
        # The writer deleted it meanwhile, with its lists of shards.
        raise FileNotFoundError(name) from err


def newest(files: Files, *, damaged_too: bool = False) -> Manifest:
    """Read the newest commit; an empty one if there is none.

    damaged_too: if it is damaged, read the newest whole one before it.
    Raises StoreError if it is damaged, if no commit is whole, or if a store with files has no
    manifest left: a writer would treat its files as leftovers.
    """
    for _ in range(_TRIES):
        there = numbers(files)
        for number in reversed(there):
            try:
                return read_manifest(files, number)
            except FileNotFoundError:
                # Two later commits were made meanwhile, and the writer deleted this one.
                break
            except StoreError:
                if not damaged_too or number == there[0]:
                    raise
        else:
            for folder in _LATER:
                if files.entries(folder):
                    raise StoreError(
                        f"{files.where(layout.MANIFESTS)} has no commit, and {folder}/ has "
                        "files: put manifests/ back from a copy, or delete the store and embed "
                        "its catalogue again"
                    )
            return Manifest()
    raise StoreError(f"{files.place}: commits come and go faster than they can be read")


def read_history(files: Files) -> list[Manifest]:
    """All whole commits, oldest first."""
    history = []
    for number in numbers(files):
        try:
            history.append(read_manifest(files, number))
        except (FileNotFoundError, StoreError):
            continue
    return history


def read_retired(files: Files) -> dict[str, Manifest]:
    """Retired commits that are being deleted, by the names of their manifest files.

    A writer retires a manifest before it deletes the files that only this commit names, and deletes
    the manifest last: if it is killed, the next writer completes the deletion.
    """

    def readable(space: str, file: FileEntry) -> Segment | None:
        # Of a partly deleted commit, lists of shards may be gone already.
        with suppress(StoreError):
            return read_segment(files, space, file)
        return None

    found = {}
    folder = layout.retired(layout.MANIFESTS)
    for name in files.names(folder):
        parsed = parse(name.removeprefix(layout.retired("")))
        if parsed and parsed.role is Role.MANIFEST:
            with suppress(FileNotFoundError, StoreError):
                found[name] = parse_manifest(files.read(name), name, parsed.number, readable)
    return found
