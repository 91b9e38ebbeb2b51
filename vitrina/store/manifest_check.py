"""Consistency check of a manifest, which is untrusted input.

Its parts must agree, and each name must have the form that Vitrina makes for that part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vitrina.store.files import folder_checksum
from vitrina.store.layout import DIGEST
from vitrina.store.names import Role, StoreName, is_owner, parse
from vitrina.store.plan import MOST_SHARD_ROWS, SHARD_ROWS
from vitrina.types import Modality

if TYPE_CHECKING:
    from vitrina.store.entries import FileEntry, FolderEntry, SpaceEntry
    from vitrina.store.manifest import Manifest

_SHOWN = 120
"""Maximum characters of untrusted text in a message."""


@dataclass(frozen=True)
class SpaceCard:
    """The parts of a space's card that other modules rely on."""

    modality: Modality
    model: str
    dim: Annotated[int, Meta(ge=1, le=65_536)]
    dtype: Literal["float16", "float32"]
    shard_rows: Annotated[int, Meta(ge=1, le=MOST_SHARD_ROWS)] = SHARD_ROWS
    revision: str | None = None
    fingerprint: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def check(manifest: Manifest) -> None:
    """Raise ValueError for inconsistent parts, or a name of another form."""
    for part in manifest.products:
        check_file(part, Role.PRODUCTS)
        if not part.rows:
            # Other modules assume that a store with parts has products.
            raise ValueError(f"its part {part.path} of the product table has no rows")
    if manifest.rejected:
        check_file(manifest.rejected, Role.ERRORS)
    for name, space in manifest.spaces.items():
        _check_space(name, space)
    for name, folder in manifest.indexes.items():
        _check_folder(folder, Role.INDEX, name)
    for name, folder in manifest.models.items():
        _check_folder(folder, Role.MODEL, name)
    for name, folder in manifest.encoders.items():
        # Older versions put the fingerprint into the folder's name.
        _check_folder(folder, Role.MODEL, name, fingerprint=folder.path[-DIGEST:])
    if manifest.audit:
        _check_folder(manifest.audit, Role.AUDIT, "audit")
    for modality, name in manifest.active.items():
        if name not in manifest.spaces:
            raise ValueError(f"its {modality} space {_shown(name)} is not among its spaces")
        if manifest.spaces[name].card["modality"] != modality:
            raise ValueError(f"its {modality} space {_shown(name)} is of another modality")
    if manifest.model is not None and manifest.model not in manifest.models:
        raise ValueError(f"its head {_shown(manifest.model)} is not among its heads")


def _check_space(name: str, space: SpaceEntry) -> None:
    if not is_owner(name):
        raise ValueError(f"no space can be named {_shown(name)}")
    try:
        card = msgspec.convert(dict(space.card), SpaceCard)
    except msgspec.ValidationError as err:
        raise ValueError(f"the card of space {_shown(name)}: {err}") from err
    if card.fingerprint not in (None, space.fingerprint):
        raise ValueError(f"space {_shown(name)} has two fingerprints")
    start = 0
    for segment in space.segments:
        check_file(segment.file, Role.SEGMENT)
        stop = start + len(segment.shards)
        if segment.space != name or space.shards[start:stop] != segment.shards:
            raise ValueError(f"{_shown(segment.file.path)} lists other shards than its space has")
        start = stop
    for shard in space.loose:
        check_file(shard, Role.SHARD, name)
    if space.errors:
        check_file(space.errors, Role.ERRORS, name)
    if space.encoder:
        _check_folder(space.encoder, Role.MODEL, None, fingerprint=space.fingerprint)


def check_file(entry: FileEntry, role: Role, owner: str = "") -> None:
    """Raise ValueError for a name of another form, or one that carries another checksum. owner: the
    space of a shard or of its failures."""
    parsed = _parse_name(entry, role, owner)
    if parsed.digest != entry.sha256[:DIGEST]:
        raise ValueError(f"{_shown(entry.path)} carries another checksum than its entry")


def _check_folder(
    folder: FolderEntry, role: Role, owner: str | None, *, fingerprint: str = ""
) -> None:
    """Check a folder's names and checksum. owner: None for any. fingerprint: of a fitted encoder,
    which names the folder instead of the checksum of its files."""
    own: dict[str, str] = {}
    for entry in folder.files:
        parsed = _parse_name(entry, role, owner)
        if parsed.folder == folder.path:
            own[parsed.inside] = entry.sha256
        elif role is not Role.INDEX:
            raise ValueError(f"{_shown(entry.path)} is not in {_shown(folder.path)}")
    if not own:
        raise ValueError(f"{_shown(folder.path)} has no file")
    # An updated index shares files with earlier ones and identifies them by their last part.
    distinct = {entry.name if role is Role.INDEX else entry.path for entry in folder.files}
    if len(distinct) < len(folder.files):
        raise ValueError(f"{_shown(folder.path)} has two files of one name")
    digest = folder.path[-DIGEST:]
    if digest not in (folder_checksum(own)[:DIGEST], fingerprint[:DIGEST]):
        raise ValueError(f"{_shown(folder.path)} carries another checksum than its files")


def _parse_name(entry: FileEntry, role: Role, owner: str | None) -> StoreName:
    parsed = parse(entry.path)
    if parsed is None or parsed.role is not role or owner not in (None, parsed.owner):
        raise ValueError(f"{_shown(entry.path)} is not the name of {role} there")
    return parsed


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
