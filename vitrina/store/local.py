"""A store in a directory."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from filelock import FileLock, Timeout

from vitrina.errors import StoreError, StoreLockedError
from vitrina.store.files import Claim, UnsafeFileError, probe, sync, write_new
from vitrina.store.integrity import Checksums
from vitrina.store.layout import (
    CARD,
    DECISIONS,
    FOLDERS,
    LOCK,
    MANIFESTS,
    OWNER,
    SCRATCH,
    TEMPORARY,
)
from vitrina.store.names import is_plain, parse
from vitrina.store.owner import Owner
from vitrina.temporary_files import removing
from vitrina.typed_json import load_json

# Errors of file systems without hard links.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


# Without O_NONBLOCK, opening a pipe would block until its other end opens.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_MAX_BYTES = 1 << 30
"""Maximum bytes of a file that is read into memory whole: a card, a manifest, a table of errors. A
sparse file may claim any size."""

_REPLACE = "replace it by what it points to"
_DELETE = "delete it, then run `vitrina verify STORE`"


class LocalFiles:
    """The files of a store below a directory; see `Files`.

    The root and its parents may be links; nothing below the root may be. There is no protection
    against another process that changes the directory at the same moment.
    """

    workers = 2
    copies = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = str(root)
        self.checksums = Checksums.of(root)

    def where(self, name: str) -> str:
        """The file's path."""
        return str(self.root / name)

    def exists(self, name: str) -> bool:
        """True if the file exists."""
        try:
            self._file(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def size(self, name: str) -> int:
        """Size in bytes."""
        return self._file(name).stat().st_size

    def read(self, name: str) -> bytes:
        """Its content."""
        path = self._file(name)
        if path.stat().st_size > _MAX_BYTES:
            raise UnsafeFileError(str(path), f"is larger than {_MAX_BYTES >> 20} MiB", _DELETE)
        with os.fdopen(os.open(path, _READ), "rb") as file:
            return file.read()

    def open(self, name: str) -> pa.NativeFile:
        """Map it into memory."""
        return pa.memory_map(str(self._file(name)))

    open_parts = open

    def local(self, name: str) -> Path:
        """The file itself."""
        return self._file(name)

    def names(self, folder: str) -> list[str]:
        """The files directly in a folder, sorted; no links."""
        return sorted(self._name(one) for one in self._listing(folder) if _is_file(one))

    def entries(self, folder: str) -> list[str]:
        """The files and the folders directly in a folder, sorted."""
        return sorted(self._name(one) for one in self._listing(folder))

    def tree(self, folder: str) -> list[str]:
        """The files in a folder and below it, sorted; no links, and nothing behind one."""
        found, left = [], [*self._listing(folder)]
        while left:
            one = left.pop()
            if one.is_dir(follow_symlinks=False):
                # There may be a folder of other origin that this process can't read.
                with suppress(OSError), os.scandir(one.path) as inside:
                    left += inside
            elif _is_file(one):
                found.append(self._name(one))
        return sorted(found)

    @property
    def scratch(self) -> Path:
        """A folder in the store's own directory: from there a rename is atomic."""
        path = self._scratch()
        path.mkdir(exist_ok=True)
        return path

    def publish(self, temporary: Path, name: str) -> None:
        """Flush and rename."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)

    def create(self, name: str, content: bytes) -> None:
        """Write a temporary file, flush it, and link it to its name. Raises FileExistsError."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _link_unnamed(path, content):
            self._link_named(path, content)
        sync(path.parent)

    def _link_named(self, path: Path, content: bytes) -> None:
        # Not in the scratch folder, which is the writer's: decisions are added concurrently.
        temporary = self.root / f"{TEMPORARY}{path.name}"
        with removing(lambda: temporary.unlink(missing_ok=True)):
            write_new(temporary, content)
            sync(temporary)
            try:
                os.link(temporary, path)
            except OSError as err:
                if err.errno not in _NO_LINKS:
                    raise
                # Without hard links, only the lock excludes a second writer.
                if path.exists():
                    raise FileExistsError(errno.EEXIST, "it is there already", str(path)) from err
                temporary.replace(path)

    def write(self, name: str, content: bytes) -> None:
        """Write a temporary file, flush and rename."""
        temporary = self.scratch / Path(name).name
        write_new(temporary, content)
        self.publish(temporary, name)

    def move(self, name: str, target: str) -> None:
        """Rename."""
        source, path = self._file(name), self._path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        source.replace(path)

    def delete(self, name: str) -> None:
        """Delete a file, and the folders that become empty."""
        try:
            path = self._file(name)
        except (FileNotFoundError, NotADirectoryError):
            return
        path.unlink(missing_ok=True)
        with suppress(OSError):
            for folder in path.relative_to(self.root).parents[:-1]:
                (self.root / folder).rmdir()

    def _path(self, name: str) -> Path:
        """The path of a name, none of whose parts is a link; "" is the root.

        Raises UnsafeFileError.
        """
        path = self.root
        if name and not is_plain(name):
            raise UnsafeFileError(f"{name} in {self.place}", "is no name in a store", _DELETE)
        for part in name.split("/") if name else ():
            path = path / part
            if path.is_symlink():
                what = "is a symbolic link, and a store follows none"
                raise UnsafeFileError(str(path), what, _REPLACE)
        return path

    def _file(self, name: str) -> Path:
        """The path of a regular file. Raises UnsafeFileError, FileNotFoundError."""
        path = self._path(name)
        if not stat.S_ISREG(path.lstat().st_mode):
            raise UnsafeFileError(str(path), "is no file but a folder, a pipe or a device", _DELETE)
        return path

    def _scratch(self) -> Path:
        path = self._path(SCRATCH)
        if path.exists() and not path.is_dir():
            raise UnsafeFileError(str(path), "is no folder", _DELETE)
        return path

    def _listing(self, folder: str) -> list[os.DirEntry[str]]:
        path = self._path(folder)
        if not path.is_dir():
            if folder and path.exists():
                raise UnsafeFileError(str(path), "is no folder", _DELETE)
            return []
        with os.scandir(path) as found:
            return [*found]

    def _name(self, entry: os.DirEntry[str]) -> str:
        return Path(entry.path).relative_to(self.root).as_posix()

    def forget(self, live: set[str]) -> None:
        """Do nothing: there are no copies."""

    def check_rights(self) -> None:
        """Write a probe file; for existing folders and the lock, check the permissions."""
        there = self.root
        while not there.exists() and there != there.parent:
            there = there.parent
        probe(there)
        if there == self.root:
            for name in (*FOLDERS, LOCK):
                path = self._path(name)
                needed = os.W_OK if name == LOCK else os.W_OK | os.X_OK
                if path.exists() and not os.access(path, needed):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    @contextmanager
    def claim(self, job: str) -> Iterator[Claim]:
        """Hold an operating system lock on a file; it ends with the process."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock, owner, _ = self._lock(), self._path(OWNER), self._scratch()
        try:
            lock.acquire(timeout=0)
        except Timeout as err:
            raise StoreLockedError(
                f"{self.place} is being written by {self._owner() or 'another process'}; "
                "try again when it is done"
            ) from err
        try:
            # A killed writer leaves its record. On this machine the lock proves that it ended;
            # on some network disks a lock is not visible to other machines.
            before = self._owner()
            me = Owner.me(job)
            with removing(self._end_claim):
                self._remove_leftovers()
                temporary = self.scratch / OWNER
                write_new(temporary, json.dumps(me.to_json()).encode())
                temporary.replace(owner)
                yield _LocalClaim(before is not None and not before.on(me))
        finally:
            lock.release()

    def _lock(self) -> FileLock:
        """The lock file. Some versions of filelock truncate it, so it must not be a hard link to
        another file. Raises UnsafeFileError."""
        with suppress(FileNotFoundError):
            there = self._file(LOCK).stat()
            if there.st_size and there.st_nlink > 1:
                what = "is a file that has another name too"
                raise UnsafeFileError(self.where(LOCK), what, _DELETE)
        return FileLock(self.root / LOCK)

    def _owner(self) -> Owner | None:
        """The current or last lock holder; None if the record is missing or damaged."""
        try:
            return Owner.from_json(load_json(self.read(OWNER), OWNER, "it is ignored"))
        except (OSError, StoreError):
            return None

    def _end_claim(self) -> None:
        (self.root / OWNER).unlink(missing_ok=True)
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Delete a killed writer's unfinished files, an older version's card included."""
        shutil.rmtree(self._scratch(), ignore_errors=True)
        self.delete(f"{TEMPORARY}{CARD}")
        for name in self.names(""):
            aside = name.removeprefix(TEMPORARY)
            created = any(parse(f"{folder}/{aside}") for folder in (DECISIONS, MANIFESTS))
            if aside != name and created:
                self.delete(name)


@dataclass
class _LocalClaim:
    contested: bool

    def check(self) -> None:
        """Do nothing: the operating system's lock can't be lost."""


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _link_unnamed(path: Path, content: bytes) -> bool:
    """Write an unnamed file, which vanishes if the process is killed, and link it to its name.

    Returns False if the file system does not support this. Raises FileExistsError.
    """
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except (OSError, AttributeError):
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        unnamed = Path(f"/proc/self/fd/{file.fileno()}")
        if not unnamed.exists():
            return False
        sync(unnamed)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.link(unnamed, path.name, dst_dir_fd=folder)
        except FileExistsError as err:
            raise FileExistsError(errno.EEXIST, "it is there already", str(path)) from err
        except OSError:
            return False
        finally:
            os.close(folder)
    return True
