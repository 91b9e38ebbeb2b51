"""Entries of a manifest: live files, folders of files, and spaces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any

from msgspec import Meta

from vitrina.store.layout import segment_copy, shard_number

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Rows = Annotated[int, Meta(ge=0, le=2**40)]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Fingerprint = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16,128}\Z")]


@dataclass(frozen=True)
class FileEntry:
    """A live file: its name in the store, its rows (0 if it has none), its bytes and their
    SHA-256."""

    path: str
    rows: Rows
    bytes: Count
    sha256: Sha256

    @property
    def name(self) -> str:
        """The name within its folder."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class FolderEntry:
    """A live folder of files: an index, a head, an audit, an encoder fitted on this catalogue."""

    path: str
    files: tuple[FileEntry, ...]


def empty() -> Mapping[Any, Any]:
    """An empty mapping, as a field's default."""
    return MappingProxyType({})


@dataclass(frozen=True)
class Segment:
    """Consecutive shards of a large space, listed in a file that commits share (see `segments`).

    space: the name of the space. file: the list, with the number of shards as its rows. shards: all
    of the space, and checked.
    """

    space: str
    file: FileEntry
    shards: tuple[FileEntry, ...] = field(compare=False, repr=False)

    @property
    def copy(self) -> FileEntry:
        """The second copy of the list, in the space's folder."""
        return replace(self.file, path=segment_copy(self.space, self.file.sha256))

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the list, of its copy and of its shards."""
        files = (self.file, self.copy, *self.shards)
        return frozenset(entry.path for entry in files)

    @cached_property
    def highest(self) -> int:
        """The highest number of its shards."""
        return max(_numbers(self.shards), default=-1)


@dataclass(frozen=True)
class SpaceEntry:
    """A live space. fingerprint, card: of its encoder. shards: in order. errors: its failures.
    encoder: the encoder itself if it was fitted on this catalogue. segments: of a committed
    manifest, lists of the first shards; none in a small space."""

    fingerprint: Fingerprint
    card: Mapping[str, Any] = field(default_factory=empty)
    shards: tuple[FileEntry, ...] = ()
    errors: FileEntry | None = None
    encoder: FolderEntry | None = None
    segments: tuple[Segment, ...] = field(default=(), compare=False)

    @property
    def loose(self) -> tuple[FileEntry, ...]:
        """The shards after those of its segments."""
        return self.shards[sum(len(one.shards) for one in self.segments) :]

    @property
    def rows(self) -> int:
        """Rows in all shards, dead ones included."""
        return sum(shard.rows for shard in self.shards)

    @property
    def next_number(self) -> int:
        """The number of the next shard."""
        highest, start = -1, 0
        for segment in self.segments:
            stop = start + len(segment.shards)
            if self.shards[start:stop] != segment.shards:
                # They are of the commit before.
                break
            highest, start = max(highest, segment.highest), stop
        return 1 + max([highest, *_numbers(self.shards[start:])])

    def to_json(self) -> dict[str, Any]:
        """The JSON form in a manifest."""
        return {
            "fingerprint": self.fingerprint,
            "card": dict(self.card),
            "shards": [asdict(shard) for shard in self.loose],
            "errors": asdict(self.errors) if self.errors else None,
            "encoder": asdict(self.encoder) if self.encoder else None,
            **({"segments": [asdict(one.file) for one in self.segments]} if self.segments else {}),
        }


def _numbers(shards: Iterable[FileEntry]) -> Iterator[int]:
    return (shard_number(shard.path) for shard in shards)
