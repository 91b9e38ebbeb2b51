"""What one commit says is live. Everything a manifest names is immutable once it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vitrina.errors import StoreError
from vitrina.store.files import checksum
from vitrina.store.layout import Layout
from vitrina.types import Modality


@dataclass(frozen=True)
class FileEntry:
    """A live file: its path below the store, its rows, its bytes and their SHA-256."""

    path: str
    rows: int
    bytes: int
    sha256: str

    @classmethod
    def of(cls, layout: Layout, path: Path, rows: int) -> FileEntry:
        """Describe a file that was just written."""
        return cls(layout.relative(path), rows, path.stat().st_size, checksum(path))


@dataclass(frozen=True)
class SpaceEntry:
    """A live space: its encoder's fingerprint, its shards in order, and its failures."""

    fingerprint: str
    shards: tuple[FileEntry, ...] = ()
    errors: FileEntry | None = None

    @property
    def rows(self) -> int:
        """Rows in all shards, dead ones included."""
        return sum(shard.rows for shard in self.shards)


def _empty() -> Mapping[Any, Any]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Manifest:
    """One commit. `active` names the space that serves each modality; `reading` how the
    catalogue was read; `indexes` and `models` the live folder of each name; `model` the head
    that was trained last."""

    sequence: int = 0
    products: tuple[FileEntry, ...] = ()
    rejected: FileEntry | None = None
    spaces: Mapping[str, SpaceEntry] = field(default_factory=_empty)
    active: Mapping[Modality, str] = field(default_factory=_empty)
    reading: Mapping[str, Any] = field(default_factory=_empty)
    indexes: Mapping[str, str] = field(default_factory=_empty)
    models: Mapping[str, str] = field(default_factory=_empty)
    model: str | None = None

    def with_space(self, name: str, entry: SpaceEntry) -> Manifest:
        """The same, with one space put in or replaced."""
        return replace(self, spaces={**self.spaces, name: entry})

    def with_active(self, modality: Modality, space: str) -> Manifest:
        """The same, with another space serving a modality."""
        return replace(self, active={**self.active, modality: space})

    def with_index(self, name: str, folder: str) -> Manifest:
        """The same, with one index switched over to a new folder."""
        return replace(self, indexes={**self.indexes, name: folder})

    def with_model(self, name: str, folder: str) -> Manifest:
        """The same, with one head switched over to a new folder and made the one in use."""
        return replace(self, models={**self.models, name: folder}, model=name)

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON holds it."""
        return {
            "sequence": self.sequence,
            "products": [asdict(entry) for entry in self.products],
            "rejected": asdict(self.rejected) if self.rejected else None,
            "spaces": {name: asdict(entry) for name, entry in self.spaces.items()},
            "active": {modality.value: name for modality, name in self.active.items()},
            "reading": dict(self.reading),
            "indexes": dict(self.indexes),
            "models": dict(self.models),
            "model": self.model,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], path: Path) -> Manifest:
        """Read it back; `path` is for the message.

        Raises StoreError if a part is missing.
        """
        try:
            return cls(
                sequence=value["sequence"],
                products=tuple(FileEntry(**entry) for entry in value["products"]),
                rejected=FileEntry(**value["rejected"]) if value["rejected"] else None,
                spaces={
                    name: SpaceEntry(
                        entry["fingerprint"],
                        tuple(FileEntry(**shard) for shard in entry["shards"]),
                        FileEntry(**entry["errors"]) if entry["errors"] else None,
                    )
                    for name, entry in value["spaces"].items()
                },
                active={Modality(key): name for key, name in value["active"].items()},
                reading=value["reading"],
                indexes=value["indexes"],
                models=value["models"],
                model=value["model"],
            )
        except (KeyError, TypeError, ValueError) as err:
            raise StoreError(f"{path} is not a manifest that this version can read: {err}") from err
