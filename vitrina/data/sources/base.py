"""Interface of photo sources.

Finding and reading photos are separate. `references` returns the photos that a product has, and an
empty result is not an error; `not_found` explains it if the catalogue names photos. `read` fetches
one photo, and any failure is an error recorded in `errors.parquet`.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Protocol

from vitrina.data.product import Product
from vitrina.errors import ImageError
from vitrina.limits import worker_threads

MAX_BYTES = 64 * 1024 * 1024
"""Maximum bytes of a photo in a file, archive member or column; a larger one is not read. Photos
from the web have a lower limit; see `Fetching`."""
DISK_WORKERS = min(4, worker_threads())
"""Number of threads that read from one disk; more would only wait for each other."""


class ImageSource(Protocol):
    """Source of product photos. Every method is thread-safe."""

    @property
    def location(self) -> str:
        """Location of the source, for messages."""

    @property
    def workers(self) -> int:
        """Number of threads that may usefully call `read` at once."""

    def references(self, product: Product) -> tuple[str, ...]:
        """Return references to the product's photos, up to the source's limit; () for none."""

    def not_found(self, product: Product) -> str:
        """Explain why none of a product's named photos was found; "" if it names none.

        The message quotes the name and the nearest existing one.
        """

    def stamp(self, reference: str) -> str | None:
        """Return a short text that changes when the photo does, without reading the photo.

        None if the source has no such stamp, or no such photo. Different photos may have equal
        stamps, so a stamp is only valid together with its reference.
        """

    def read(self, reference: str) -> bytes:
        """Read one photo's file. Raises ImageError with a short reason."""

    def forget(self, reference: str) -> None:
        """Drop the cached copy of a photo, so that the next `read` fetches it again."""

    def close(self) -> None:
        """Close open files."""


def read_photo(path: Path, name: str) -> bytes:
    """Read a photo's file. name: its name for messages. Raises ImageError, OSError, ValueError.

    A file that is not regular, such as a named pipe, is refused, since its size is unknown.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"can't be read: {name!r}: not a file")
    if status.st_size > MAX_BYTES:
        raise ImageError(f"too large: {status.st_size} bytes in {name}")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ImageError(f"too large: more than {MAX_BYTES} bytes in {name}")
    return data
