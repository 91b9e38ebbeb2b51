"""Atomic file writes, and the `Files` protocol: file operations of any store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from vitrina.disk import filling
from vitrina.errors import CatalogueError, StoreError, printable
from vitrina.store.layout import TEMPORARY
from vitrina.temporary_files import removing

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


def check_file(out: Path) -> None:
    """Raise CatalogueError if no file can be written to `out`; for a check before any work.

    A missing folder is not an error.
    """
    if out.exists() and not out.is_file():
        raise CatalogueError(f"{out} is no file that could be replaced; give another name")
    check_folder(out.parent)


def check_folder(folder: Path) -> None:
    """Raise CatalogueError if files can't be written to a folder, which may not exist yet."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        probe(there)
    except OSError as err:
        raise CatalogueError(
            f"{folder}: nothing can be written there ({err.strerror or err}); give another place, "
            "or get the right to write"
        ) from err


def probe(folder: Path) -> None:
    """Create an unnamed file in a folder and drop it at once. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder):
        return


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success flush it to disk and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    # Left by a killed run; or a link that would redirect the write to another file.
    temporary.unlink(missing_ok=True)
    with removing(lambda: temporary.unlink(missing_ok=True)), filling(path):
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; on success flush its files and rename it to `path`."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    with removing(lambda: shutil.rmtree(temporary, ignore_errors=True)), filling(path):
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.iterdir():
            sync(file)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
        sync(path.parent)


def write_new(path: Path, content: bytes) -> None:
    """Write a new file; an existing one, such as a link, is removed, not written through."""
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.write(content)


def sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
