"""The manifest of a commit: all live files. A file that a manifest names is immutable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from vitrina.store.entries import Count, FileEntry, FolderEntry, SpaceEntry, empty
from vitrina.store.files import to_json
from vitrina.types import Modality


@dataclass(frozen=True)
class Manifest:
    """One commit. active: the space used for each modality. reading: how the catalogue was
    read. indexes, models: the live folder of each name. model: the head trained last. encoders:
    those trained on this catalogue. audit: the last audit's results. step: True for an intermediate
    commit, which a later commit of the same run supersedes."""

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
        """A copy with one space added or replaced."""
        return replace(self, spaces={**self.spaces, name: entry})

    def with_active(self, modality: Modality, space: str) -> Manifest:
        """A copy with another space active for a modality."""
        return replace(self, active={**self.active, modality: space})

    def with_index(self, name: str, folder: FolderEntry) -> Manifest:
        """A copy with one index switched to a new folder."""
        return replace(self, indexes={**self.indexes, name: folder})

    def with_model(self, name: str, folder: FolderEntry) -> Manifest:
        """A copy with one head switched to a new folder and made the current one."""
        return replace(self, models={**self.models, name: folder}, model=name)

    def with_encoder(self, name: str, folder: FolderEntry) -> Manifest:
        """A copy with one trained encoder switched to a new folder."""
        return replace(self, encoders={**self.encoders, name: folder})

    def with_audit(self, folder: FolderEntry) -> Manifest:
        """A copy with another audit."""
        return replace(self, audit=folder)

    def errors(self) -> Iterator[FileEntry]:
        """The tables of errors that it names."""
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
            for segment in space.segments:
                yield from (segment.file, segment.copy)
            # An encoder trained on this catalogue is also in `encoders`.
            if space.encoder and space.encoder not in folders:
                folders.append(space.encoder)
        for folder in folders:
            yield from folder.files

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all its files."""
        return frozenset().union(*self._names)

    @cached_property
    def _names(self) -> tuple[frozenset[str], ...]:
        """Its names as sets; those of a segment are one set, which commits share."""
        segments = [one for space in self.spaces.values() for one in space.segments]
        small = replace(
            self,
            spaces={
                name: replace(space, shards=space.loose, segments=())
                for name, space in self.spaces.items()
            },
        )
        loose = frozenset(entry.path for entry in small.files())
        return (loose, *(one.names for one in segments))

    def names_beyond(self, others: Iterable[Manifest]) -> set[str]:
        """The names of files that none of some other commits has.

        Takes time for what differs, not for segments that the commits share.
        """
        known = [names for other in others for names in other._names]
        shared = {id(names) for names in known}
        return {
            name
            for names in self._names
            if id(names) not in shared
            for name in names
            if not any(name in one for one in known)
        }

    def to_bytes(self) -> bytes:
        """The content of its file: JSON with a checksum."""
        value = self.to_json()
        return to_json({**value, "sha256": digest(value)})

    def to_json(self) -> dict[str, Any]:
        """The JSON form in its file, without the checksum."""
        return {
            "sequence": self.sequence,
            "products": [asdict(entry) for entry in self.products],
            "rejected": asdict(self.rejected) if self.rejected else None,
            "spaces": {name: entry.to_json() for name, entry in self.spaces.items()},
            # A list, because keys are sorted and the order shows which space came first.
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
