"""Photos in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vitrina.data.photo_names import existing, inside
from vitrina.data.product import Product
from vitrina.data.sources import base
from vitrina.errors import ImageError


@dataclass(frozen=True, slots=True)
class FolderImages:
    """Photos below a folder, named by the catalogue or else by a template."""

    location: str
    template: str | None = None
    photos: int = 1

    @property
    def workers(self) -> int:
        """As many as one disk has use for."""
        return base.DISK_WORKERS

    def exists(self, reference: str) -> bool:
        """Whether there is such a file. What may not be looked at counts: `read` says why."""
        try:
            return Path(self.location, inside(reference)).is_file()
        except (ImageError, OSError):
            return True

    def references(self, product: Product) -> tuple[str, ...]:
        """Paths below the folder."""
        return existing(product, self.template, self.photos, self.exists)

    def stamp(self, reference: str) -> str | None:
        """The file's time of change and size."""
        try:
            status = Path(self.location, inside(reference)).stat()
        except (ImageError, OSError, ValueError):
            return None
        return f"{status.st_mtime_ns}-{status.st_size}"

    def read(self, reference: str) -> bytes:
        """Read a file. Raises ImageError if it is missing, too large or outside the folder."""
        path = Path(self.location, inside(reference))
        try:
            if (size := path.stat().st_size) > base.MAX_BYTES:
                raise ImageError(f"too large: {size} bytes in {reference}")
            return path.read_bytes()
        except (OSError, ValueError) as err:
            reason = err.strerror if isinstance(err, OSError) else err
            raise ImageError(f"can't be read: {reference!r}: {reason}") from err

    def forget(self, reference: str) -> None:
        """Do nothing: no copy is kept."""

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def some_names(self) -> Iterable[str]:
        """Names of photos, to show in a message."""
        files = (path for path in Path(self.location).rglob("*") if path.is_file())
        return (path.relative_to(self.location).as_posix() for path in files)
