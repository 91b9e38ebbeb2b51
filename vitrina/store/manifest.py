"""What one commit says is live. Everything a manifest names is immutable once it is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from vitrina.store.entries import Count, FileEntry, FolderEntry, SpaceEntry, empty
from vitrina.store.files import to_json
from vitrina.types import Modality

_DEPTH = 64
"""Levels of nesting of a manifest at most; those that Vitrina writes have less than ten."""


@dataclass(frozen=True)
class Manifest:
    """One commit. `active` names the space that serves each modality; `reading` how the
    catalogue was read; `indexes` and `models` the live folder of each name; `model` the head
    that was trained last; `encoders` those that were trained here; `audit` what the last audit
    found; `step` whether a run that goes on is to commit what it leads to."""

    sequence: Count = 0
    products: tuple[FileEntry, ...] = ()
    rejected: FileEntry | None = None
    spaces: Mapping[str, SpaceEntry] = field(default_factory=empty)
    active: Mapping[Modality, str] = field(default_factory=empty)
    reading: Mapping[str, Any] = field(default_factory=empty)
    indexes: Mapping[str, FolderEntry] = field(default_factory=empty)
    models: Mapping[str, FolderEntry] = field(default_factory=empty)
    model: str | None = None
    encoders: Mapping[str, FolderEntry] = field(default_factory=empty)
    audit: FolderEntry | None = None
    step: bool = False

    def with_space(self, name: str, entry: SpaceEntry) -> Manifest:
        """The same, with one space put in or replaced."""
        return replace(self, spaces={**self.spaces, name: entry})

    def with_active(self, modality: Modality, space: str) -> Manifest:
        """The same, with another space serving a modality."""
        return replace(self, active={**self.active, modality: space})

    def with_index(self, name: str, folder: FolderEntry) -> Manifest:
        """The same, with one index switched over to a new folder."""
        return replace(self, indexes={**self.indexes, name: folder})

    def with_model(self, name: str, folder: FolderEntry) -> Manifest:
        """The same, with one head switched over to a new folder and made the one in use."""
        return replace(self, models={**self.models, name: folder}, model=name)

    def with_encoder(self, name: str, folder: FolderEntry) -> Manifest:
        """The same, with one trained encoder switched over to a new folder."""
        return replace(self, encoders={**self.encoders, name: folder})

    def with_audit(self, folder: FolderEntry) -> Manifest:
        """The same, with another audit."""
        return replace(self, audit=folder)

    def errors(self) -> Iterator[FileEntry]:
        """The tables of failures that it names."""
        if self.rejected:
            yield self.rejected
        for space in self.spaces.values():
            if space.errors:
                yield space.errors

    def files(self) -> Iterator[FileEntry]:
        """Every file that it names."""
        yield from self.products
        yield from self.errors()
        folders = [*self.indexes.values(), *self.models.values(), *self.encoders.values()]
        folders += [self.audit] if self.audit else []
        for space in self.spaces.values():
            yield from space.shards
            # One that was trained here is there under its own name too.
            if space.encoder and space.encoder not in folders:
                folders.append(space.encoder)
        for folder in folders:
            yield from folder.files

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of every file that it names."""
        return frozenset(entry.path for entry in self.files())

    def to_bytes(self) -> bytes:
        """The manifest as its file holds it, with a checksum of its own."""
        value = self.to_json()
        return to_json({**value, "sha256": digest(value)})

    def to_json(self) -> dict[str, Any]:
        """As its file holds it, without the checksum."""
        return {
            "sequence": self.sequence,
            "products": [asdict(entry) for entry in self.products],
            "rejected": asdict(self.rejected) if self.rejected else None,
            "spaces": {name: entry.to_json() for name, entry in self.spaces.items()},
            # A list, because keys are sorted and the order tells which space came first.
            "order": list(self.spaces),
            "active": {modality.value: name for modality, name in self.active.items()},
            "reading": dict(self.reading),
            "indexes": {name: asdict(folder) for name, folder in self.indexes.items()},
            "models": {name: asdict(folder) for name, folder in self.models.items()},
            "model": self.model,
            "encoders": {name: asdict(folder) for name, folder in self.encoders.items()},
            "audit": asdict(self.audit) if self.audit else None,
            **({"step": True} if self.step else {}),
        }


def digest(value: dict[str, Any]) -> str:
    """The checksum of a manifest's parts, in hexadecimal."""
    return hashlib.sha256(to_json(value)).hexdigest()
