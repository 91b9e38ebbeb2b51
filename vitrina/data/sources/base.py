"""What every source of photos can do.

A source answers two questions apart, since their answers differ in kind. `references` says
which photos a product has, and none is an answer like any other; where the catalogue names some,
`not_found` says why none of them is there. `read` fetches one of them, and there any failure is a
fault that belongs in `errors.parquet`.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Protocol

from vitrina.data.product import Product
from vitrina.errors import ImageError
from vitrina.limits import available_cpus

MAX_BYTES = 64 * 1024 * 1024
"""A file, archive member or column's value larger than this is no photo and is not read. Photos
from the web have a lower limit; see `Fetching`."""
DISK_WORKERS = min(4, available_cpus())
"""Threads that may usefully read from one disk; more only wait for each other."""


class ImageSource(Protocol):
    """Finds and reads the photos of products. Every method may be called from any thread."""

    @property
    def location(self) -> str:
        """What to print."""

    @property
    def workers(self) -> int:
        """How many threads may usefully call `read` at once."""

    def references(self, product: Product) -> tuple[str, ...]:
        """The photos that the product has, at most as many as are wanted; () for none."""

    def not_found(self, product: Product) -> str:
        """Why a product without references has none, though the catalogue names photos of it:
        the name and the nearest one there is. "" if it names none."""

    def stamp(self, reference: str) -> str | None:
        """A short text that changes when the photo does, had without reading it.

        None where there is no such sign, or no such photo. Stamps of different photos may be
        equal: keep them beside the reference.
        """

    def read(self, reference: str) -> bytes:
        """Fetch one photo's file. Raises ImageError with a short reason."""

    def forget(self, reference: str) -> None:
        """Drop the copy that was kept of a photo, so that the next `read` fetches it anew."""

    def close(self) -> None:
        """Let go of open files."""


def read_photo(path: Path, name: str) -> bytes:
    """Read a photo's file. name: what to call it. Raises ImageError, OSError, ValueError.

    What is no regular file, such as a named pipe, is refused: its size is unknown.
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
