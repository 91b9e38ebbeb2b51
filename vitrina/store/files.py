"""JSON files and checksums, and the `Files` protocol: file operations of any store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from vitrina.atomic_files import check_file as check_file
from vitrina.atomic_files import check_folder as check_folder
from vitrina.atomic_files import making_folder as making_folder
from vitrina.atomic_files import probe as probe
from vitrina.atomic_files import replacing as replacing
from vitrina.atomic_files import sync as sync
from vitrina.errors import StoreError, printable

if TYPE_CHECKING:
    from vitrina.store.entries import FileEntry


class UnsafeFileError(StoreError):
    """A name in a store leads to something other than a file or a folder of the store (a link, a
    pipe, a device), or is not a valid name.

    what, way_out: the parts of the message.
    """

    def __init__(self, where: str, what: str, way_out: str) -> None:
        super().__init__(f"{printable(where)} {what}; {way_out}")
        self.what, self.way_out = what, way_out


class KnownChecksums(Protocol):
    """Cache of the checksums of a store's files: see `integrity`."""

    def check(self, name: str, entry: FileEntry, where: str, way_out: str) -> None:
        """Raise StoreError if a file differs from its manifest entry."""

    def note(self, name: str, sha256: str) -> None:
        """Record the checksum of a file that this process just wrote."""


class Claim(Protocol):
    """The exclusive right to write, while it lasts.

    contested: an earlier writer was not seen to end, and may still be running elsewhere.
    """

    contested: bool

    def check(self) -> None:
        """Raise StoreLockedError if another writer has taken over."""


class Files(Protocol):
    """The files of one store, by name: a directory, or a prefix of an object store.

    No method touches anything outside the store: a name that leads there, by `..` or by a link,
    raises UnsafeFileError. Every method may raise StoreError or OSError if the disk or the network
    fails.
    """

    place: str
    """The store's root as messages show it."""
    workers: int
    """Number of files worth reading at once."""
    copies: bool
    """True if `local` makes copies."""

    @property
    def checksums(self) -> KnownChecksums:
        """Known checksums of the files that `local` returns."""

    def where(self, name: str) -> str:
        """A file's full path, for messages."""

    def exists(self, name: str) -> bool:
        """True if the file exists."""

    def size(self, name: str) -> int:
        """Size in bytes. Raises FileNotFoundError."""

    def read(self, name: str) -> bytes:
        """Its content. Raises FileNotFoundError."""

    def open(self, name: str) -> pa.NativeFile:
        """Open it to read all of it. Raises FileNotFoundError."""

    def open_parts(self, name: str) -> pa.NativeFile:
        """Open it to read a small part of it. Raises FileNotFoundError."""

    def local(self, name: str) -> Path:
        """The file on a local disk, fetched if need be; for immutable files only.

        Raises FileNotFoundError.
        """

    def names(self, folder: str) -> list[str]:
        """The files directly in a folder, sorted; none if there is no such folder."""

    def entries(self, folder: str) -> list[str]:
        """The files and the folders directly in a folder, sorted."""

    def tree(self, folder: str) -> list[str]:
        """The files in a folder and below it, sorted."""

    @property
    def scratch(self) -> Path:
        """A local folder for unfinished files; on the store's own disk if it has one."""

    def publish(self, temporary: Path, name: str) -> None:
        """Flush a scratch file and rename it to `name`, replacing any existing file."""

    def create(self, name: str, content: bytes) -> None:
        """Write a new file. Raises FileExistsError; of two concurrent calls one succeeds."""

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, replacing any existing one."""

    def move(self, name: str, target: str) -> None:
        """Rename a file. At every moment it exists under one of the two names."""

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""

    def forget(self, live: set[str]) -> None:
        """Delete local copies of all files except `live`, where `local` makes copies."""

    def check_rights(self) -> None:
        """Raise OSError or StoreError if this process may not write here."""

    def claim(self, job: str) -> AbstractContextManager[Claim]:
        """Hold the exclusive right to write in a `with` block. Raises StoreLockedError."""


def write_new(path: Path, content: bytes) -> None:
    """Write a new file; an existing one, such as a link, is removed, not written through."""
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.write(content)


def checksum(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_checksum(sums: Mapping[str, str]) -> str:
    """The SHA-256 of a folder. sums: checksums of its files by relative path."""
    return hashlib.sha256(to_json(dict(sums))).hexdigest()


def to_json(value: Any) -> bytes:
    """`value` as readable JSON with sorted keys: the same bytes for the same value."""
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)
    return (text + "\n").encode()


def from_json(content: bytes, where: str) -> Any:
    """Read JSON. Raises StoreError naming `where` if it is damaged."""
    try:
        return json.loads(content)
    except ValueError as err:
        raise StoreError(f"{where} is not valid JSON ({err})") from err


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(to_json(value))
