"""Entries of a manifest: live files, folders of files, and spaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Annotated, Any

from msgspec import Meta

from vitrina.store.layout import shard_number

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
class SpaceEntry:
    """A live space. fingerprint, card: of its encoder. shards: in order. errors: its failures.
    encoder: the encoder itself if it was fitted on this catalogue."""

    fingerprint: Fingerprint
    card: Mapping[str, Any] = field(default_factory=empty)
    shards: tuple[FileEntry, ...] = ()
    errors: FileEntry | None = None
    encoder: FolderEntry | None = None

    @property
    def rows(self) -> int:
        """Rows in all shards, dead ones included."""
        return sum(shard.rows for shard in self.shards)

    @property
    def next_number(self) -> int:
        """The number of the next shard."""
        return 1 + max((shard_number(shard.path) for shard in self.shards), default=-1)

    def to_json(self) -> dict[str, Any]:
        """The JSON form in a manifest."""
        return {
            "fingerprint": self.fingerprint,
            "card": dict(self.card),
            "shards": [asdict(shard) for shard in self.shards],
            "errors": asdict(self.errors) if self.errors else None,
            "encoder": asdict(self.encoder) if self.encoder else None,
        }
