"""Compares a store's files with the checksums in its manifest, once after each change of a file.

A file is hashed when it is first opened. From then on its device, inode, size and times stand for
its content, so that daily use costs one `stat` a file. What was found is kept in Vitrina's cache
folder, never in the store: a store from elsewhere must not vouch for itself. All of it may be
deleted at any time; the files are then hashed again.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, BinaryIO

import msgspec
import pyarrow as pa

from vitrina.cache import cache_folder
from vitrina.errors import StoreError
from vitrina.parquet.pages import check_pages
from vitrina.store.damage import blamed_on
from vitrina.store.files import Files, checksum
from vitrina.store.layout import columns_by_group

if TYPE_CHECKING:
    from vitrina.store.entries import FileEntry

CHANGED = "its checksum does not fit: bytes were changed"

SAVE_SECONDS = 5.0
"""Least time between two writes of known checksums; the last is at the process's end."""
MEMORIES = 256
"""Stores whose checksums are kept; those saved longest ago are forgotten."""
HELD = 64
"""Stores whose checksums a process holds in memory."""
LEAST = 64
"""Files that are kept at most before those that are gone are looked for."""

Stamp = tuple[int, int, int, int, int]
"""Device, inode, bytes, and the times of the last change of content and of inode, in ns."""


class _Saved(msgspec.Struct):
    """A memory on disk. root: the store's folder. kept: how many files were left when those that
    are gone were last dropped. files: of each name, the stamp and the SHA-256 that it had."""

    root: str
    kept: int
    files: dict[str, tuple[Stamp, str]]


class Checksums:
    """The SHA-256 of the files below one folder, as far as they are known; safe with threads and
    with other processes at the same folder.

    root: the folder of a local store, or of the local copies of one that lies elsewhere.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = RLock()
        self._found: dict[str, tuple[Stamp, str]] | None = None
        self._saved_at = time.monotonic()
        self._fresh: set[str] = set()

    @classmethod
    def of(cls, root: Path) -> Checksums:
        """Those of a folder, the same ones wherever they are asked for in this process."""
        key = str(root.absolute())
        with _LOCK:
            found = _OF_PROCESS.pop(key, None) or cls(Path(key))
            _OF_PROCESS[key] = found
            if len(_OF_PROCESS) > HELD:
                _OF_PROCESS.pop(next(iter(_OF_PROCESS))).save()
        return found

    def check(self, name: str, entry: FileEntry, where: str, way_out: str) -> None:
        """Raise StoreError, naming `where` and `way_out`, if a file is not what a manifest says.

        name: of the file below the folder, which for one that was put aside is not that of
        `entry`. Raises OSError if it can't be read.
        """
        path = self._root / name
        stamp = _stamp(path.stat())
        if stamp[2] != entry.bytes:
            raise StoreError(_size_message(where, stamp[2], entry, way_out))
        with self._lock:
            if self._known.get(name) == (stamp, entry.sha256):
                return
        # The stamp is from before it is read: that of a file which is being changed won't fit.
        if checksum(path) != entry.sha256:
            raise StoreError(_content_message(where, way_out))
        if entry.path.endswith(".parquet"):
            with path.open("rb") as file:
                _check_pages(file, entry, where, way_out)
        self._remember(name, stamp, entry.sha256)

    def note(self, name: str, sha256: str) -> None:
        """Take it that a file, which this process just put there, has a checksum."""
        with suppress(OSError):
            self._remember(name, _stamp((self._root / name).stat()), sha256)

    def _remember(self, name: str, stamp: Stamp, sha256: str) -> None:
        with self._lock:
            self._known[name] = (stamp, sha256)
            self._fresh.add(name)
            if time.monotonic() - self._saved_at > SAVE_SECONDS:
                self.save()

    @property
    def _known(self) -> dict[str, tuple[Stamp, str]]:
        if self._found is None:
            self._found = self._read().files
        return self._found

    def save(self) -> None:
        """Write down what was found since the last time; in vain where nothing can be written."""
        with self._lock:
            self._saved_at = time.monotonic()
            if not self._fresh:
                return
            saved = self._read()
            # Another process may have saved meanwhile; of what both know, ours is newer.
            saved.files.update((name, self._known[name]) for name in self._fresh)
            self._fresh.clear()
            if len(saved.files) > max(LEAST, 2 * saved.kept):
                for name in [name for name in saved.files if not self._there(name)]:
                    del saved.files[name]
                saved.kept = len(saved.files)
            with suppress(OSError):
                self._write(saved)

    def _there(self, name: str) -> bool:
        return os.path.lexists(self._root / name)

    @property
    def _file(self) -> Path:
        key = hashlib.blake2b(os.fsencode(self._root), digest_size=12).hexdigest()
        return cache_folder("verified") / f"{key}.json"

    def _read(self) -> _Saved:
        root = str(self._root)
        with suppress(OSError, ValueError, RecursionError), self._file.open("rb") as file:
            # What another user wrote vouches for nothing.
            if os.fstat(file.fileno()).st_uid == os.geteuid():
                saved = msgspec.json.decode(file.read(), type=_Saved)
                if saved.root == root:
                    return saved
        return _Saved(root, 0, {})

    def _write(self, saved: _Saved) -> None:
        path = self._file
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = not path.exists()
        # Readable by the user alone, and of a name of its own.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            temporary = Path(file.name)
            file.write(msgspec.json.encode(saved))
        try:
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        if new:
            _bound(path.parent)


_LOCK = RLock()
_OF_PROCESS: dict[str, Checksums] = {}


@atexit.register
def _save_all() -> None:
    for checksums in _OF_PROCESS.values():
        checksums.save()


def checked_file(files: Files, name: str, entry: FileEntry, way_out: str) -> Path:
    """A file of a store on the local disk, fetched if need be, that is what a manifest says.

    name: where it lies by now. Raises FileNotFoundError if it is gone, StoreError, naming the file
    and `way_out`, if it is damaged.
    """
    path = files.local(name)
    try:
        files.checksums.check(name, entry, files.where(name), way_out)
    except StoreError:
        if not files.copies:
            raise
        # The copy may be what is damaged.
        path.unlink(missing_ok=True)
        path = files.local(name)
        files.checksums.check(name, entry, files.where(name), way_out)
    return path


def check_content(content: pa.Buffer, where: str, entry: FileEntry, way_out: str) -> None:
    """Raise StoreError, naming `where` and `way_out`, if bytes are not what a manifest says."""
    if len(content) != entry.bytes:
        raise StoreError(_size_message(where, len(content), entry, way_out))
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise StoreError(_content_message(where, way_out))
    if entry.path.endswith(".parquet"):
        _check_pages(pa.BufferReader(content), entry, where, way_out)


def _check_pages(file: BinaryIO, entry: FileEntry, where: str, way_out: str) -> None:
    """A stranger's checksum fits whatever the file is: Arrow must not be given what ends the
    process. Raises StoreError."""
    with blamed_on(where, way_out):
        check_pages(file, columns_by_group(entry.path))


def _size_message(where: str, size: int, entry: FileEntry, way_out: str) -> str:
    return f"{where} is damaged ({size} bytes instead of {entry.bytes}); {way_out}"


def _content_message(where: str, way_out: str) -> str:
    return f"{where} is damaged ({CHANGED}); {way_out}"


def _stamp(stat: os.stat_result) -> Stamp:
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _bound(folder: Path) -> None:
    """Delete all but the newest memories, and what killed processes left of theirs."""
    found = []
    for path in folder.iterdir():
        with suppress(OSError):
            found.append((path.stat().st_mtime, path))
    found.sort(reverse=True)
    for _, path in found[MEMORIES:]:
        path.unlink(missing_ok=True)
