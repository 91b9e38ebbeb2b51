"""What one commit says is live. Everything a manifest names is immutable once it is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from vitrina.errors import StoreError, printable
from vitrina.store.files import to_json
from vitrina.store.layout import shard_number
from vitrina.store.manifest_check import check
from vitrina.typed_json import load_json
from vitrina.types import Modality

_DEPTH = 64
"""Levels of nesting of a manifest at most; those that Vitrina writes have less than ten."""

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Rows = Annotated[int, Meta(ge=0, le=2**40)]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Fingerprint = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16,128}\Z")]


@dataclass(frozen=True)
class FileEntry:
    """A live file: its name in the store, its rows (0 where it has none), its bytes and their
    SHA-256."""

    path: str
    rows: Rows
    bytes: Count
    sha256: Sha256

    @property
    def name(self) -> str:
        """Its name in its folder."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class FolderEntry:
    """A live folder of files: an index, a head, an encoder fitted here."""

    path: str
    files: tuple[FileEntry, ...]


def _empty() -> Mapping[Any, Any]:
    return MappingProxyType({})


@dataclass(frozen=True)
class SpaceEntry:
    """A live space: its encoder's fingerprint and card, its shards in order, its failures, and
    the encoder itself where it was fitted here."""

    fingerprint: Fingerprint
    card: Mapping[str, Any] = field(default_factory=_empty)
    shards: tuple[FileEntry, ...] = ()
    errors: FileEntry | None = None
    encoder: FolderEntry | None = None

    @property
    def rows(self) -> int:
        """Rows in all shards, dead ones included."""
        return sum(shard.rows for shard in self.shards)

    @property
    def next_number(self) -> int:
        """The number that the next shard's name gets."""
        return 1 + max((shard_number(shard.path) for shard in self.shards), default=-1)

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        return {
            "fingerprint": self.fingerprint,
            "card": dict(self.card),
            "shards": [asdict(shard) for shard in self.shards],
            "errors": asdict(self.errors) if self.errors else None,
            "encoder": asdict(self.encoder) if self.encoder else None,
        }


@dataclass(frozen=True)
class Manifest:
    """One commit. `active` names the space that serves each modality; `reading` how the
    catalogue was read; `indexes` and `models` the live folder of each name; `model` the head
    that was trained last; `encoders` those that were trained here; `audit` what the last audit
    found; `step` whether a run that goes on is to commit what it leads to."""

    sequence: Count = 0
    products: tuple[FileEntry, ...] = ()
    rejected: FileEntry | None = None
    spaces: Mapping[str, SpaceEntry] = field(default_factory=_empty)
    active: Mapping[Modality, str] = field(default_factory=_empty)
    reading: Mapping[str, Any] = field(default_factory=_empty)
    indexes: Mapping[str, FolderEntry] = field(default_factory=_empty)
    models: Mapping[str, FolderEntry] = field(default_factory=_empty)
    model: str | None = None
    encoders: Mapping[str, FolderEntry] = field(default_factory=_empty)
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
        value = self._to_json()
        return to_json({**value, "sha256": _digest(value)})

    @classmethod
    def from_bytes(cls, content: bytes, where: str, sequence: int | None = None) -> Manifest:
        """Read it back; `where` is for the message. sequence: the number in its file's name.

        Raises StoreError if it is cut short, changed, lacks a part, or names a file of another
        form than `layout` makes: it may come from elsewhere.
        """
        way = "`vitrina verify STORE --repair` goes back to the commit before it"
        try:
            manifest = _parsed(load_json(content, where, way, deepest=_DEPTH))
            if sequence is not None and manifest.sequence != sequence:
                raise ValueError(f"it is commit {manifest.sequence}")
            check(manifest)
        except (StoreError, ValueError, TypeError, RecursionError) as err:
            reason = printable(str(err)).removeprefix(f"{where} is ").removesuffix(f"; {way}")
            raise StoreError(f"{where} is not a whole manifest ({reason[:300]}); {way}") from err
        return manifest

    def _to_json(self) -> dict[str, Any]:
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


_PARTS = frozenset(Manifest()._to_json()) - {"encoders", "audit"}
"""Parts that a manifest has; older stores know neither encoders nor audits."""


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(to_json(value)).hexdigest()


def _parsed(value: Any) -> Manifest:
    """A manifest of the right checksum and types. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    if value.pop("sha256", None) != _digest(value):
        raise ValueError("its checksum does not fit")
    if lacking := _PARTS - value.keys():
        raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
    manifest = msgspec.convert(value, Manifest)
    order = msgspec.convert(value["order"], list[str])
    if sorted(order) != sorted(manifest.spaces):
        raise ValueError("its order is not that of its spaces")
    return replace(manifest, spaces={name: manifest.spaces[name] for name in order})
