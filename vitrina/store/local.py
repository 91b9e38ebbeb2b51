"""A store in a directory."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from filelock import FileLock, Timeout

from vitrina.errors import StoreLockedError
from vitrina.store.files import Claim, probe, sync
from vitrina.store.integrity import Checksums
from vitrina.store.layout import LOCK, OWNER, SCRATCH, TEMPORARY
from vitrina.store.owner import Owner

# What file systems say that know no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class LocalFiles:
    """The files of a store below a directory; see `Files`."""

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
        """Whether there is such a file."""
        return (self.root / name).is_file()

    def size(self, name: str) -> int:
        """Its bytes."""
        return (self.root / name).stat().st_size

    def read(self, name: str) -> bytes:
        """Its content."""
        return (self.root / name).read_bytes()

    def open(self, name: str) -> pa.NativeFile:
        """Map it into memory."""
        return pa.memory_map(str(self.root / name))

    open_parts = open

    def local(self, name: str) -> Path:
        """The file itself."""
        path = self.root / name
        path.stat()
        return path

    def names(self, folder: str) -> list[str]:
        """The files directly in a folder, sorted."""
        return [name for name in self.entries(folder) if (self.root / name).is_file()]

    def entries(self, folder: str) -> list[str]:
        """The files and the folders directly in a folder, sorted."""
        root = self.root / folder
        if not root.is_dir():
            return []
        return sorted(path.relative_to(self.root).as_posix() for path in root.iterdir())

    def tree(self, folder: str) -> list[str]:
        """The files in a folder and below it, sorted."""
        found = (self.root / folder).rglob("*")
        return sorted(path.relative_to(self.root).as_posix() for path in found if path.is_file())

    @property
    def scratch(self) -> Path:
        """A folder in the store's own directory: from there a rename is atomic."""
        path = self.root / SCRATCH
        path.mkdir(exist_ok=True)
        return path

    def publish(self, temporary: Path, name: str) -> None:
        """Flush and rename."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)

    def create(self, name: str, content: bytes) -> None:
        """Write the content aside, flush it, and link it to its name if that is free."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.scratch / path.name
        temporary.write_bytes(content)
        sync(temporary)
        try:
            os.link(temporary, path)
        except OSError as err:
            if err.errno not in _NO_LINKS:
                raise
            # There the lock alone keeps a second writer away.
            if path.exists():
                raise FileExistsError(errno.EEXIST, "it is there already", str(path)) from err
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)

    def write(self, name: str, content: bytes) -> None:
        """Write the content aside, flush and rename."""
        temporary = self.scratch / Path(name).name
        temporary.write_bytes(content)
        self.publish(temporary, name)

    def move(self, name: str, target: str) -> None:
        """Rename."""
        path = self.root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).replace(path)

    def delete(self, name: str) -> None:
        """Delete a file, and the folders that are empty then."""
        path = self.root / name
        path.unlink(missing_ok=True)
        with suppress(OSError):
            for folder in path.relative_to(self.root).parents[:-1]:
                (self.root / folder).rmdir()

    def forget(self, live: set[str]) -> None:
        """Nothing to delete: there are no copies."""

    def check_rights(self) -> None:
        """Try; of the folders that are there already, and of the lock, the rights will do."""
        there = self.root
        while not there.exists() and there != there.parent:
            there = there.parent
        probe(there)
        if there == self.root:
            for path in there.iterdir():
                needed = os.W_OK | os.X_OK if path.is_dir() else os.W_OK
                if (path.is_dir() or path.name == LOCK) and not os.access(path, needed):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    @contextmanager
    def claim(self, job: str) -> Iterator[Claim]:
        """Hold the operating system's lock on a file: it ends with the process."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / LOCK)
        owner = self.root / OWNER
        try:
            lock.acquire(timeout=0)
        except Timeout as err:
            raise StoreLockedError(
                f"{self.place} is being written by {_owner(owner)}; try again when it is done"
            ) from err
        try:
            # Of a killed writer the record is left. On this machine the lock tells that it
            # ended; some network disks keep their locks to each machine.
            before = _read(owner)
            me = Owner.me(job)
            owner.write_text(json.dumps(me.to_json()), encoding="utf-8")
            self._remove_leftovers()
            yield _Held(before is not None and not before.on(me))
        finally:
            owner.unlink(missing_ok=True)
            self._remove_leftovers()
            lock.release()

    def _remove_leftovers(self) -> None:
        """Delete what a killed writer left half-written."""
        for path in self.root.glob(f"{TEMPORARY}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@dataclass
class _Held:
    contested: bool

    def check(self) -> None:
        """Nothing to look at: the operating system's lock can't be lost."""


def _read(path: Path) -> Owner | None:
    try:
        return Owner.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _owner(path: Path) -> str:
    return str(_read(path) or "another process")
