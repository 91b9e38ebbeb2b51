"""Photos in a zip archive."""

from __future__ import annotations

import struct
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from vitrina.data.photo_index import LazyIndex
from vitrina.data.photo_lookup import PhotoLookup, inside
from vitrina.data.photo_names import existing
from vitrina.data.product import Product
from vitrina.data.sources import base
from vitrina.errors import ImageError


@dataclass(frozen=True, slots=True)
class ZipImages:
    """Photos in a zip archive; thread-safe.

    The lock is needed because `ZipFile` counts its open members without one, and a wrong count
    closes the file while other members are open. renamed: members whose names `zipfile` decoded
    wrongly, by their correct names.
    """

    archive: zipfile.ZipFile
    template: str | None = None
    photos: int = 1
    renamed: Mapping[str, zipfile.ZipInfo] = field(default_factory=dict, repr=False)
    _index: LazyIndex = field(default_factory=LazyIndex, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def location(self) -> str:
        """Path of the archive."""
        return str(self.archive.filename)

    @property
    def workers(self) -> int:
        """Number of threads that one disk can use."""
        return base.DISK_WORKERS

    def exists(self, reference: str) -> bool:
        """Return True if there is such a member, or it can't be checked and `read` raises."""
        try:
            return self._member(reference) is not None
        except ImageError:
            return True

    def references(self, product: Product) -> tuple[str, ...]:
        """Return names of members."""
        return existing(product, self.template, self.photos, self._lookup())

    def not_found(self, product: Product) -> str:
        """Explain why no photo that the catalogue names was found; "" if it names none."""
        return self._lookup().explain(product.images)

    def stamp(self, reference: str) -> str | None:
        """Return the member's checksum and size from the archive's directory."""
        try:
            info = self._member(reference)
        except ImageError:
            return None
        return None if info is None else f"{info.CRC:08x}-{info.file_size}"

    def read(self, reference: str) -> bytes:
        """Read a member. Raises ImageError if it is missing, damaged, locked or too large."""
        info = self._member(reference)
        if info is None:
            raise ImageError(f"no such member: {reference!r}")
        if info.file_size > base.MAX_BYTES:
            raise ImageError(f"too large: {info.file_size} bytes in {reference}")
        if info.flag_bits & 1:
            raise ImageError(f"encrypted member: {reference}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ImageError(f"compressed in a way that is not supported: {reference}")
        try:
            with self._lock:
                member = self.archive.open(info)
            try:
                return member.read()
            finally:
                with self._lock:
                    member.close()
        # NotImplementedError, raised for split or patched archives, is a RuntimeError.
        except (zipfile.BadZipFile, zlib.error, struct.error, EOFError) as err:
            raise ImageError(f"damaged member: {reference}: {err or 'cut short'}") from err
        except (OSError, ValueError, RuntimeError) as err:
            raise ImageError(f"can't be read: {reference}: {err}") from err

    def forget(self, reference: str) -> None:
        """Do nothing: no copy is kept."""

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()

    def some_names(self) -> Iterable[str]:
        """Return names of photos for a message."""
        return (name for name in self._names() if name.isprintable())

    def _member(self, reference: str) -> zipfile.ZipInfo | None:
        name = inside(reference)
        return self.archive.NameToInfo.get(name) or self.renamed.get(name)

    def _lookup(self) -> PhotoLookup:
        return PhotoLookup(self.exists, lambda: self._index.get(self._names), self.location)

    def _names(self) -> Iterator[str]:
        """Yield the correct names of all members except folders."""
        renamed = {id(info): name for name, info in self.renamed.items()}
        for name, info in self.archive.NameToInfo.items():
            if not name.endswith("/"):
                yield renamed.get(id(info), name)
