"""A store in a bucket, or at any other location that fsspec supports.

An object store has no rename and no lock. Commits are atomic through one operation: creating an
object only if none of its name exists. Files that a commit names are put first; their names carry
their checksums, so writers never overwrite each other's. The manifest is created last with that
operation, and of two writers that make commit 8, one is refused.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa

from vitrina.cache import cache_folder
from vitrina.errors import StoreError
from vitrina.store.files import Claim, UnsafeFileError, replacing
from vitrina.store.integrity import Checksums
from vitrina.store.layout import SPACES, TEMPORARY
from vitrina.store.lease import Lease
from vitrina.store.names import is_plain, parse

EXCLUSIVE = {
    "s3": "If-None-Match",
    "s3a": "If-None-Match",
    "gs": "ifGenerationMatch",
    "gcs": "ifGenerationMatch",
    "abfs": "If-None-Match",
    "abfss": "If-None-Match",
    "az": "If-None-Match",
    "memory": "one process",
}
"""Protocols whose `create` is one conditional request, not a check and then a write."""

_BLOCK = 1 << 18


class RemoteFiles:
    """The files of a store below a URL; see `Files`.

    options: for fsspec, such as `{"anon": True}`; by default the environment's settings.
    """

    workers = 8
    copies = True

    def __init__(self, url: str, options: dict[str, Any] | None = None) -> None:
        """Open the file system. Raises StoreError if it is unknown or lacks a package."""
        self.place = url.rstrip("/")
        self._protocol = url.partition("://")[0]
        try:
            # Listings must be fresh: other writers add objects too.
            self._fs, root = fsspec.core.url_to_fs(
                self.place, use_listings_cache=False, **(options or {})
            )
        except ImportError as err:
            package = {"s3": "s3fs", "s3a": "s3fs"}.get(self._protocol)
            way = "pip install 'vitrina[s3]'" if package else str(err)
            raise StoreError(f"{url}: {self._protocol}:// needs a package; {way}") from err
        except (ValueError, OSError) as err:
            raise StoreError(f"{url} can't be opened: {err}; is the address right?") from err
        self._root = str(root).rstrip("/")
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        key = hashlib.blake2b(self.place.encode(), digest_size=8).hexdigest()
        self._cache = cache_folder("stores") / key
        self.checksums = Checksums.of(self._cache)

    def where(self, name: str) -> str:
        """The file's URL."""
        return f"{self.place}/{name}"

    def exists(self, name: str) -> bool:
        """True if the object exists."""
        with self._named(name):
            return bool(self._fs.isfile(self._path(name)))

    def size(self, name: str) -> int:
        """Size in bytes."""
        with self._named(name):
            return int(self._fs.size(self._path(name)))

    def read(self, name: str) -> bytes:
        """Its content."""
        with self._named(name):
            return bytes(self._fs.cat_file(self._path(name)))

    def open(self, name: str) -> pa.NativeFile:
        """Fetch it whole in one request."""
        return pa.BufferReader(self.read(name))

    def open_parts(self, name: str) -> pa.NativeFile:
        """Fetch ranges of it as they are read."""
        with self._named(name):
            file = self._fs.open(self._path(name), "rb", block_size=_BLOCK, cache_type="readahead")
        return pa.PythonFile(file, mode="r")

    def local(self, name: str) -> Path:
        """A copy on the local disk, fetched once."""
        whole = self._path(name)
        path = self._cache / name
        if not path.exists():
            with replacing(path) as temporary, self._named(name):
                self._fs.get_file(whole, str(temporary))
        return path

    def forget(self, live: set[str]) -> None:
        """Delete the local copies of all files except `live`."""
        for folder, _, names in os.walk(self._cache):
            for path in (Path(folder) / name for name in names):
                name = path.relative_to(self._cache).as_posix()
                copied = parse(name) or path.name.startswith(TEMPORARY)
                if copied and name not in live:
                    path.unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """The objects directly in a folder, sorted."""
        found = (self._name(one["name"]) for one in self._listing(folder) if one["type"] == "file")
        return sorted(filter(is_plain, found))

    def entries(self, folder: str) -> list[str]:
        """The objects and the prefixes directly in a folder, sorted."""
        return sorted(self._name(one["name"]) for one in self._listing(folder))

    def _listing(self, folder: str) -> list[dict[str, Any]]:
        with self._named(folder):
            try:
                found: list[dict[str, Any]] = self._fs.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return []
        # Some servers show a folder as an empty object of its own name.
        return [one for one in found if self._name(one["name"]) != folder]

    def tree(self, folder: str) -> list[str]:
        """The objects in a folder and below it, sorted, without those whose names can't be file
        names."""
        with self._named(folder):
            found = map(self._name, self._fs.find(self._path(folder)))
            return sorted(filter(is_plain, found))

    @property
    def scratch(self) -> Path:
        """A folder in the system's temporary one."""
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="vitrina-")
        return Path(self._temporary.name)

    def publish(self, temporary: Path, name: str) -> None:
        """Upload; an object appears whole.

        An unchanged part of the product table exists already and is not uploaded again.
        """
        shard = name.startswith(SPACES)
        if shard or not self._holds(name, temporary.stat().st_size):
            with self._named(name):
                self._fs.put_file(str(temporary), self._path(name))
        if shard:
            temporary.unlink()
            return
        # The product table or an index is read next, so it is kept as a local copy.
        path = self._cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(temporary, path)

    def create(self, name: str, content: bytes) -> None:
        """Put on the condition that the object does not exist. Raises FileExistsError."""
        with self._named(name):
            try:
                self._fs.pipe_file(self._path(name), content, mode="create")
            except FileExistsError:
                # After a lost response the client retries, and finds its own object.
                if self.read(name) != content:
                    raise

    def write(self, name: str, content: bytes) -> None:
        """Put an object."""
        with self._named(name):
            self._fs.pipe_file(self._path(name), content)

    def move(self, name: str, target: str) -> None:
        """Copy, then delete."""
        with self._named(name):
            self._fs.copy(self._path(name), self._path(target))
            self._fs.rm_file(self._path(name))

    def delete(self, name: str) -> None:
        """Delete an object, if it is there."""
        with self._named(name):
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def check_rights(self) -> None:
        """Put an object and delete it."""
        name = f"{TEMPORARY}rights-{secrets.token_hex(8)}"
        self.write(name, b"")
        self.delete(name)

    def claim(self, job: str) -> AbstractContextManager[Claim]:
        """Hold a lease, after a check that the server refuses to overwrite."""
        return self._claim(job)

    @contextmanager
    def _claim(self, job: str) -> Iterator[Claim]:
        if self._protocol not in EXCLUSIVE:
            raise StoreError(
                f"{self.place}: {self._protocol}:// can't create a file conditionally, so "
                f"commits would not be safe; to write, keep the store in a directory or on "
                f"{', '.join(sorted(EXCLUSIVE))}"
            )
        self._probe()
        try:
            with Lease(self, job).held() as claim:
                yield claim
        finally:
            if self._temporary is not None:
                self._temporary.cleanup()
                self._temporary = None

    def _probe(self) -> None:
        """Check that the server honours conditional puts: some S3 servers ignore the condition."""
        name = f"{TEMPORARY}probe-{secrets.token_hex(8)}"
        try:
            for _ in range(2):
                with self._named(name):
                    self._fs.pipe_file(self._path(name), b"1", mode="create")
        except FileExistsError:
            return
        finally:
            self.delete(name)
        raise StoreError(
            f"{self.place}: the server overwrites a file despite the condition not to (it ignores "
            f"{EXCLUSIVE[self._protocol]}), so commits would not be safe; update the server, or "
            "keep the store in a directory"
        )

    def _holds(self, name: str, size: int) -> bool:
        try:
            return self.size(name) == size
        except FileNotFoundError:
            return False

    def _path(self, name: str) -> str:
        """The object's path. Raises UnsafeFileError for a name that leads out of the store."""
        if name and not is_plain(name):
            raise UnsafeFileError(f"{name} in {self.place}", "is no name in a store", "delete it")
        return f"{self._root}/{name}" if name else self._root

    def _name(self, path: str) -> str:
        return path.removeprefix(self._root).lstrip("/")

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Convert a client library's error to a one-line StoreError; errors callers handle pass."""
        try:
            yield
        except (FileNotFoundError, FileExistsError, StoreError):
            raise
        except Exception as err:
            if isinstance(err, OSError) and err.errno == errno.ENOSPC:
                raise
            reason = (str(err) or type(err).__name__).splitlines()[0]
            raise StoreError(
                f"{self.where(name)}: {reason}; what is committed is safe, run it again when the "
                "place can be reached"
            ) from err
