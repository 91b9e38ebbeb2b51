"""Manifest parser. A manifest is untrusted input: types, checksum and names are checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from vitrina.errors import StoreError, printable
from vitrina.store.entries import FileEntry, Segment, SpaceEntry
from vitrina.store.manifest import Manifest, digest
from vitrina.store.manifest_check import check
from vitrina.typed_json import load_json

_DEPTH = 64
"""Maximum nesting depth of a manifest; those that Vitrina writes stay below ten."""

_PARTS = frozenset(Manifest().to_json()) - {"encoders", "audit"}
"""Required keys of a manifest; older stores have neither encoders nor audits."""


ReadSegment = Callable[[str, FileEntry], Segment | None]
"""Reads a list of a space's shards, by the name of the space and the file; None to leave it out."""

_Segments = Annotated[tuple[FileEntry, ...], Meta(max_length=64)]


def no_segments(space: str, file: FileEntry) -> Segment | None:
    """Refuse lists of shards: a `ReadSegment` for manifests of small stores."""
    raise ValueError(f"its space {space} lists shards in {file.path}")


def parse_manifest(
    content: bytes,
    where: str,
    sequence: int | None = None,
    read_segment: ReadSegment = no_segments,
) -> Manifest:
    """Parse a manifest file. where: its name for messages. sequence: the number in its name.

    Raises StoreError if it is truncated, changed, lacks a key, or names a file in a form that
    `layout` does not make.
    """
    way = "`vitrina verify STORE --repair` goes back to the commit before it"
    try:
        manifest = _parsed(load_json(content, where, way, deepest=_DEPTH), read_segment)
        if sequence is not None and manifest.sequence != sequence:
            raise ValueError(f"it is commit {manifest.sequence}")
        check(manifest)
    except (StoreError, ValueError, TypeError, RecursionError) as err:
        reason = printable(str(err)).removeprefix(f"{where} is ").removesuffix(f"; {way}")
        raise StoreError(f"{where} is not a whole manifest ({reason[:300]}); {way}") from err
    return manifest


def _parsed(value: Any, read_segment: ReadSegment) -> Manifest:
    """Check the checksum and types, and convert. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    if value.pop("sha256", None) != digest(value):
        raise ValueError("its checksum does not fit")
    if lacking := _PARTS - value.keys():
        raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
    listed = _segments_in(value["spaces"])
    manifest = msgspec.convert(value, Manifest)
    order = msgspec.convert(value["order"], list[str])
    if sorted(order) != sorted(manifest.spaces):
        raise ValueError("its order is not that of its spaces")
    spaces = {
        name: _with_segments(name, manifest.spaces[name], listed[name], read_segment)
        for name in order
    }
    return replace(manifest, spaces=spaces)


def _segments_in(spaces: Any) -> dict[str, tuple[FileEntry, ...]]:
    """Take the lists of shards out of a manifest's spaces."""
    listed = {}
    for name, space in spaces.items() if isinstance(spaces, dict) else ():
        found = space.pop("segments", ()) if isinstance(space, dict) else ()
        listed[name] = msgspec.convert(found, _Segments)
    return listed


def _with_segments(
    name: str, space: SpaceEntry, listed: tuple[FileEntry, ...], read_segment: ReadSegment
) -> SpaceEntry:
    if not listed:
        return space
    segments = tuple(one for file in listed if (one := read_segment(name, file)))
    first = (shard for segment in segments for shard in segment.shards)
    return replace(space, shards=(*first, *space.shards), segments=segments)
