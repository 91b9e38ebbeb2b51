"""Verification of a store's files against their manifest checksums, once per change of a file.

A file is hashed when it is first opened. From then on its device, inode, size and times identify
its content, so that daily use costs one `stat` per file. Verified checksums are kept in Vitrina's
cache folder, never in the store, which may be untrusted. The cache may be deleted at any time; the
files are then hashed again.
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
"""Minimum time between two saves of known checksums; the last save is at process exit."""
SAVE_SHARE = 0.02
"""Largest share of the time that may be spent on saves; those of a huge store wait longer."""
MEMORIES = 256
"""Maximum number of stores with checksums on disk; the least recently saved are deleted."""
HELD = 64
"""Maximum number of stores whose checksums a process keeps in memory."""
LEAST = 64
"""Number of cached files up to which entries of deleted files are not looked for."""

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size in bytes, and the mtime and ctime in ns."""


class _Saved(msgspec.Struct):
    """Checksum cache on disk. root: the store's folder. kept: number of files left when entries of
    deleted files were last dropped. files: the stamp and the SHA-256 of each file by name."""

    root: str
    kept: int
    files: dict[str, tuple[Stamp, str]]


class Checksums:
    """Known SHA-256 checksums of the files below one folder; safe with threads and with other
    processes that use the same folder.

    root: the folder of a local store, or of the local copies of a remote one.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = RLock()
        self._found: dict[str, tuple[Stamp, str]] | None = None
        self._next_save = time.monotonic() + SAVE_SECONDS
        self._fresh: set[str] = set()

    @classmethod
    def of(cls, root: Path) -> Checksums:
        """The instance for a folder, shared within the process."""
        key = str(root.absolute())
        with _LOCK:
            found = _OF_PROCESS.pop(key, None) or cls(Path(key))
            _OF_PROCESS[key] = found
            if len(_OF_PROCESS) > HELD:
                _OF_PROCESS.pop(next(iter(_OF_PROCESS))).save()
        return found

    def check(self, name: str, entry: FileEntry, where: str, way_out: str) -> None:
        """Raise StoreError, naming `where` and `way_out`, if a file differs from `entry`.

        name: of the file below the folder; for a retired file it differs from `entry.path`. Raises
        OSError if it can't be read.
        """
        path = self._root / name
        stamp = _stamp(path.stat())
        if stamp[2] != entry.bytes:
            raise StoreError(_size_message(where, stamp[2], entry, way_out))
        with self._lock:
            if self._known.get(name) == (stamp, entry.sha256):
                return
        # The stamp is taken before reading: if the file changes meanwhile, it will not match.
        if checksum(path) != entry.sha256:
            raise StoreError(_content_message(where, way_out))
        if entry.path.endswith(".parquet"):
            with path.open("rb") as file:
                _check_pages(file, entry, where, way_out)
        self._remember(name, stamp, entry.sha256)

    def note(self, name: str, sha256: str) -> None:
        """Record the checksum of a file that this process just wrote."""
        with suppress(OSError):
            self._remember(name, _stamp((self._root / name).stat()), sha256)

    def _remember(self, name: str, stamp: Stamp, sha256: str) -> None:
        with self._lock:
            self._known[name] = (stamp, sha256)
            self._fresh.add(name)
            if time.monotonic() > self._next_save:
                started = time.monotonic()
                self.save()
                now = time.monotonic()
                self._next_save = now + max(SAVE_SECONDS, (now - started) / SAVE_SHARE)

    @property
    def _known(self) -> dict[str, tuple[Stamp, str]]:
        if self._found is None:
            self._found = self._read().files
        return self._found

    def save(self) -> None:
        """Save new checksums to disk; failure to write is ignored."""
        with self._lock:
            if not self._fresh:
                return
            saved = self._read()
            # Another process may have saved meanwhile; for files in both, our entry is newer.
            saved.files.update((name, self._known[name]) for name in self._fresh)
            self._fresh.clear()
            if len(saved.files) > max(LEAST, 2 * saved.kept):
                for name in [name for name in saved.files if not self._exists(name)]:
                    del saved.files[name]
                saved.kept = len(saved.files)
            with suppress(OSError):
                self._write(saved)

    def _exists(self, name: str) -> bool:
        return os.path.lexists(self._root / name)

    @property
    def _file(self) -> Path:
        key = hashlib.blake2b(os.fsencode(self._root), digest_size=12).hexdigest()
        return cache_folder("verified") / f"{key}.json"

    def _read(self) -> _Saved:
        root = str(self._root)
        with suppress(OSError, ValueError, RecursionError), self._file.open("rb") as file:
            # A cache written by another user is not trusted.
            if os.fstat(file.fileno()).st_uid == os.geteuid():
                saved = msgspec.json.decode(file.read(), type=_Saved)
                if saved.root == root:
                    return saved
        return _Saved(root, 0, {})

    def _write(self, saved: _Saved) -> None:
        path = self._file
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = not path.exists()
        # Readable by the user only, under a unique name.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            temporary = Path(file.name)
            file.write(msgspec.json.encode(saved))
        try:
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        if new:
            _delete_oldest(path.parent)


_LOCK = RLock()
_OF_PROCESS: dict[str, Checksums] = {}


@atexit.register
def _save_all() -> None:
    for checksums in _OF_PROCESS.values():
        checksums.save()


def checked_file(files: Files, name: str, entry: FileEntry, way_out: str) -> Path:
    """Local path of a store's file, fetched if need be and verified against its manifest entry.

    name: its current name. Raises FileNotFoundError if it is gone, StoreError, naming the file and
    `way_out`, if it is damaged.
    """
    path = files.local(name)
    try:
        files.checksums.check(name, entry, files.where(name), way_out)
    except StoreError:
        if not files.copies:
            raise
        # The local copy may be the damaged one.
        path.unlink(missing_ok=True)
        path = files.local(name)
        files.checksums.check(name, entry, files.where(name), way_out)
    return path


def check_content(content: pa.Buffer, where: str, entry: FileEntry, way_out: str) -> None:
    """Raise StoreError, naming `where` and `way_out`, if bytes differ from their manifest entry."""
    if len(content) != entry.bytes:
        raise StoreError(_size_message(where, len(content), entry, way_out))
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise StoreError(_content_message(where, way_out))
    if entry.path.endswith(".parquet"):
        _check_pages(pa.BufferReader(content), entry, where, way_out)


def _check_pages(file: BinaryIO, entry: FileEntry, where: str, way_out: str) -> None:
    """Check Parquet pages before Arrow reads them: an untrusted file with a valid checksum may
    still crash Arrow. Raises StoreError."""
    with blamed_on(where, way_out):
        check_pages(file, columns_by_group(entry.path))


def _size_message(where: str, size: int, entry: FileEntry, way_out: str) -> str:
    return f"{where} is damaged ({size} bytes instead of {entry.bytes}); {way_out}"


def _content_message(where: str, way_out: str) -> str:
    return f"{where} is damaged ({CHANGED}); {way_out}"


def _stamp(stat: os.stat_result) -> Stamp:
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _delete_oldest(folder: Path) -> None:
    """Delete all but the newest `MEMORIES` files, temporary ones of killed processes included."""
    found = []
    for path in folder.iterdir():
        with suppress(OSError):
            found.append((path.stat().st_mtime, path))
    found.sort(reverse=True)
    for _, path in found[MEMORIES:]:
        path.unlink(missing_ok=True)
