"""Segments: the lists of a large space's shards, in files that commits share.

A manifest that named every shard of 100 million products would be rewritten, checked and read with
each commit. Beyond `LEAST` shards it therefore names lists of them. A list has a power of two times
`UNIT` shards, and which ones depends on the number of shards alone (the digits of a binary number).
So there are few lists, a commit writes only those that the new shards change, and each shard is
written to one again a dozen times at most, however large the store grows. The shards after the last
list stay in the manifest.

All commits depend on a list, so it is stored twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from weakref import WeakValueDictionary

import msgspec

from vitrina.errors import StoreError, printable
from vitrina.store import layout
from vitrina.store.entries import FileEntry, Segment, SpaceEntry
from vitrina.store.files import Files
from vitrina.store.manifest_check import check_file
from vitrina.store.names import Role

LEAST = 2000
"""Number of shards of a space up to which its manifest names all of them."""
UNIT = 256
"""Number of shards in the smallest list."""

_READ: WeakValueDictionary[tuple[str, FileEntry], Segment] = WeakValueDictionary()
"""Segments in memory, which the commits of a history share; by space and file."""


def cuts(shards: int) -> list[int]:
    """The sizes of the lists of a space with some number of shards, in order."""
    units = shards // UNIT if shards > LEAST else 0
    return [UNIT << bit for bit in reversed(range(units.bit_length())) if units >> bit & 1]


def divided(name: str, entry: SpaceEntry, known: Iterable[Segment]) -> SpaceEntry:
    """A space's entry with the segments of its shards.

    known: segments of earlier commits; those that are unchanged are taken from there. Raises
    ValueError for a shard that is not one of the space.
    """
    at_hand = [*entry.segments, *known]
    segments: list[Segment] = []
    start = 0
    for size in cuts(len(entry.shards)):
        shards = entry.shards[start : start + size]
        have = (one for one in at_hand if one.space == name and one.shards == shards)
        segments.append(next(have, None) or _of_shards(name, shards))
        start += size
    return entry if entry.segments == (*segments,) else replace(entry, segments=(*segments,))


def _of_shards(space: str, shards: tuple[FileEntry, ...]) -> Segment:
    content = _content(shards)
    digest = hashlib.sha256(content).hexdigest()
    file = FileEntry(layout.segment(digest), len(shards), len(content), digest)
    return _checked(Segment(space, file, shards))


def _content(shards: Iterable[FileEntry]) -> bytes:
    """The content of a list: a JSON array, one shard a line."""
    return b"[\n" + b",\n".join(map(msgspec.json.encode, shards)) + b"\n]\n"


def _checked(segment: Segment) -> Segment:
    for shard in segment.shards:
        check_file(shard, Role.SHARD, segment.space)
    return _READ.setdefault((segment.space, segment.file), segment)


def write_segment(files: Files, segment: Segment) -> None:
    """Write a list of shards, twice."""
    for entry in (segment.file, segment.copy):
        files.write(entry.path, _content(segment.shards))


def read_segment(files: Files, space: str, file: FileEntry) -> Segment:
    """Read a list of a space's shards, or else its copy; untrusted input, so all of it is checked.

    Raises StoreError if both are missing or damaged.
    """
    if known := _READ.get((space, file)):
        return known
    try:
        check_file(file, Role.SEGMENT)
        content = _read_either(files, space, file)
        shards = msgspec.json.decode(content, type=tuple[FileEntry, ...])
        if len(shards) != file.rows:
            raise ValueError(f"it lists {len(shards)} shards instead of {file.rows}")
        return _checked(Segment(space, file, shards))
    except (ValueError, RecursionError) as err:
        raise StoreError(f"{file.path}: {printable(str(err))}") from err


def _read_either(files: Files, space: str, file: FileEntry) -> bytes:
    reason = "missing"
    for name in (file.path, layout.segment_copy(space, file.sha256)):
        try:
            content = files.read(name)
        except FileNotFoundError:
            continue
        if len(content) == file.bytes and hashlib.sha256(content).hexdigest() == file.sha256:
            return content
        reason = "damaged"
    raise ValueError(f"this list of shards and its copy are {reason}")
