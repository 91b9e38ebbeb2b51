"""Photos in tar archives: one archive, or the shards of a data set."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from vitrina.data.photo_index import LazyIndex
from vitrina.data.photo_lookup import PhotoLookup, inside
from vitrina.data.photo_names import existing
from vitrina.data.product import Product
from vitrina.data.sources import base
from vitrina.data.tar import Cut, Member, TarError, members
from vitrina.errors import ImageError
from vitrina.ids import id_keys

_SHOWN_NAMES = 3
_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Shard:
    """An archive with its size and modification time at indexing."""

    path: Path
    size: int
    changed_ns: int


class TarIndex:
    """Index of the files in tar archives: shard, offset and size; 28 bytes per file.

    Names are stored as 64-bit keys (see `id_keys`), since the names of millions of photos would
    take gigabytes. If a name occurs several times in one archive, the last file counts, as in
    `tar`; a name in several archives is refused.
    """

    def __init__(self, paths: Sequence[Path], keep: Callable[[Member], bool] | None = None) -> None:
        """Read all headers once; members for which `keep` is false are left out.

        Raises TarError if a path is no tar archive, or if an archive is damaged and no file is
        found at all.
        """
        self.some_names: list[str] = []
        keys: list[np.typing.NDArray[np.uint64]] = []
        shard_of, offsets, sizes = array("i"), array("q"), array("q")
        shards: list[Shard] = []
        cut = None
        for number, path in enumerate(paths):
            found = members(path)
            # Recorded before the first header is read, so later changes are detected.
            shards.append(_shard(path))
            while batch := list(islice(found, _BATCH)):
                if isinstance(batch[-1], Cut):
                    cut = path
                kept = [item for item in batch if isinstance(item, Member)]
                kept = kept if keep is None else list(filter(keep, kept))
                self.some_names += [item.name for item in kept[:_SHOWN_NAMES]]
                del self.some_names[_SHOWN_NAMES:]
                keys.append(id_keys([item.name for item in kept]))
                shard_of.extend([number] * len(kept))
                offsets.extend(item.offset for item in kept)
                sizes.extend(item.size for item in kept)
        if not offsets and cut is not None:
            raise TarError(f"{cut}: damaged or truncated before its first file; fetch it again")
        self.shards = tuple(shards)
        whole = np.concatenate(keys) if keys else np.empty(0, np.uint64)
        order = np.argsort(whole, kind="stable")
        self._keys = whole[order]
        self._shard_of = np.frombuffer(shard_of, np.int32)[order]
        self._offsets = np.frombuffer(offsets, np.int64)[order]
        self._sizes = np.frombuffer(sizes, np.int64)[order]

    def __len__(self) -> int:
        return len(self._keys)

    def names(self) -> Iterator[str]:
        """Yield the names of all files by reading the headers again."""
        for shard in self.shards:
            # A changed archive is detected when a photo is read from it.
            with suppress(TarError):
                yield from (item.name for item in members(shard.path) if isinstance(item, Member))

    def find(self, name: str) -> tuple[Shard, int, int] | None:
        """Return the archive, offset and size of a file; None if there is none of that name.

        Raises ImageError if it is in more than one archive.
        """
        key = id_keys([name])[0]
        first = int(np.searchsorted(self._keys, key))
        after = int(np.searchsorted(self._keys, key, side="right"))
        if first == after:
            return None
        one, other = (self.shards[self._shard_of[at]] for at in (first, after - 1))
        if one is not other:
            raise ImageError(
                f"in more than one archive: {name} (in {one.path.name} and {other.path.name})"
            )
        return other, int(self._offsets[after - 1]), int(self._sizes[after - 1])


@dataclass(frozen=True, slots=True)
class TarImages:
    """Photos in tar archives, each read directly at its indexed offset."""

    index: TarIndex
    location: str
    template: str | None = None
    photos: int = 1
    _spellings: LazyIndex = field(default_factory=LazyIndex, repr=False, compare=False)

    @property
    def workers(self) -> int:
        """Number of threads that one disk can use."""
        return base.DISK_WORKERS

    def exists(self, reference: str) -> bool:
        """Return True if there is such a file, or it can't be checked and `read` raises."""
        try:
            return self.index.find(inside(reference)) is not None
        except ImageError:
            return True

    def references(self, product: Product) -> tuple[str, ...]:
        """Return names of files in the archives."""
        return existing(product, self.template, self.photos, self._lookup())

    def not_found(self, product: Product) -> str:
        """Explain why no photo that the catalogue names was found; "" if it names none."""
        return self._lookup().explain(product.images)

    def stamp(self, reference: str) -> str | None:
        """Return the archive's modification time and size with the name; tar has no checksums."""
        try:
            name = inside(reference)
            found = self.index.find(name)
        except ImageError:
            return None
        return None if found is None else f"{found[0].changed_ns}-{found[0].size}-{name}"

    def read(self, reference: str) -> bytes:
        """Read a file. Raises ImageError if it is missing or too large, or its archive changed."""
        found = self.index.find(inside(reference))
        if found is None:
            raise ImageError(f"no such member: {reference!r}")
        shard, offset, size = found
        if size > base.MAX_BYTES:
            raise ImageError(f"too large: {size} bytes in {reference}")
        try:
            # Opened each time: a data set may have more shards than the limit on open files.
            with shard.path.open("rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                if (status.st_size, status.st_mtime_ns) != (shard.size, shard.changed_ns):
                    raise ImageError(f"the archive changed while it was in use: {shard.path.name}")
                data = os.pread(file.fileno(), size, offset)
        except OSError as err:
            raise ImageError(f"can't be read: {reference}: {err.strerror or err}") from err
        if len(data) < size:
            raise ImageError(f"can't be read: {reference}: cut short")
        return data

    def forget(self, reference: str) -> None:
        """Do nothing: no copy is kept."""

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def some_names(self) -> Iterable[str]:
        """Return names of photos for a message."""
        return self.index.some_names

    def _lookup(self) -> PhotoLookup:
        return PhotoLookup(
            self.exists, lambda: self._spellings.get(self.index.names), self.location
        )


def _shard(path: Path) -> Shard:
    try:
        status = path.stat()
    except OSError as err:
        raise TarError(f"{path}: {err.strerror or err}") from err
    if not stat.S_ISREG(status.st_mode):
        raise TarError(f"{path}: no regular file")
    return Shard(path, status.st_size, status.st_mtime_ns)
