"""Photos in a folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vitrina.data.photo_index import LazyIndex
from vitrina.data.photo_lookup import PhotoLookup, inside
from vitrina.data.photo_names import existing
from vitrina.data.product import Product
from vitrina.data.sources import base
from vitrina.errors import ImageError


@dataclass(frozen=True, slots=True)
class FolderImages:
    """Photos below a folder, named by the catalogue or else by a template."""

    location: str
    template: str | None = None
    photos: int = 1
    _index: LazyIndex = field(default_factory=LazyIndex, repr=False, compare=False)

    @property
    def workers(self) -> int:
        """Number of threads that one disk can use."""
        return base.DISK_WORKERS

    def exists(self, reference: str) -> bool:
        """Return True if there is such a file, or it can't be checked and `read` raises."""
        try:
            return Path(self.location, inside(reference)).is_file()
        except ImageError:
            return True
        except OSError as err:
            # A name too long for any file is a list of names.
            return err.errno != errno.ENAMETOOLONG

    def references(self, product: Product) -> tuple[str, ...]:
        """Return paths below the folder."""
        return existing(product, self.template, self.photos, self._lookup())

    def not_found(self, product: Product) -> str:
        """Explain why no photo that the catalogue names was found; "" if it names none."""
        return self._lookup().explain(product.images)

    def stamp(self, reference: str) -> str | None:
        """Return the file's modification time and size; None if it can't be read."""
        try:
            status = Path(self.location, inside(reference)).stat()
        except (ImageError, OSError, ValueError):
            return None
        return f"{status.st_mtime_ns}-{status.st_size}"

    def read(self, reference: str) -> bytes:
        """Read a file. Raises ImageError if it is missing, too large or outside the folder."""
        path = Path(self.location, inside(reference))
        try:
            return base.read_photo(path, reference)
        except (OSError, ValueError) as err:
            reason = err.strerror if isinstance(err, OSError) else err
            raise ImageError(f"can't be read: {reference!r}: {reason}") from err

    def forget(self, reference: str) -> None:
        """Do nothing: no copy is kept."""

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def some_names(self) -> Iterable[str]:
        """Return names of photos for a message."""
        return (name for name in self._names() if name.isprintable())

    def _lookup(self) -> PhotoLookup:
        return PhotoLookup(self.exists, lambda: self._index.get(self._names), self.location)

    def _names(self) -> Iterator[str]:
        """Yield the paths of all files in order; each folder is visited once, links included."""
        seen = set()
        for folder, folders, files in os.walk(self.location, followlinks=True):
            try:
                status = Path(folder).stat()
            except OSError:
                folders.clear()
                continue
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders.sort()
            place = Path(folder).relative_to(self.location).as_posix()
            prefix = "" if place == "." else f"{place}/"
            yield from (prefix + name for name in sorted(files))
