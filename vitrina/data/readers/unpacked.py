"""A bound on what a file may unpack to: reading takes time in proportion to its bytes."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

from vitrina.errors import CatalogueError

MOST_TIMES = 100
"""How many times its own bytes a file may unpack to. Tables and feeds pack 5 to 30 times."""
UNBOUNDED = 1 << 24
"""Bytes that any file may unpack to, however small it is."""


def most_unpacked(path: Path, unbounded: int = UNBOUNDED) -> int:
    """The most bytes that a file may unpack to."""
    return max(unbounded, MOST_TIMES * path.stat().st_size)


def out_of_proportion(path: Path, most: int) -> CatalogueError:
    """The error of a file that unpacks to more."""
    return CatalogueError(
        f"{path}: it unpacks to more than {most >> 20} MB, over {MOST_TIMES} times its size, as no "
        "catalogue does; export it anew, or unpack it"
    )


def open_gzip(path: Path) -> io.BufferedReader:
    """Open a gzipped file. Reading it raises CatalogueError where it unpacks to too much."""
    return io.BufferedReader(_Gunzipped(path), 1 << 17)


class _Gunzipped(io.RawIOBase):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._most = most_unpacked(path)
        self._read = 0
        self._file = gzip.GzipFile(path, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        # As much as one block gives: `readinto` would lose what stands before a cut.
        piece = self._file.read1(len(buffer))
        count = len(piece)
        buffer[:count] = piece
        self._read += count
        if self._read > self._most:
            raise out_of_proportion(self._path, self._most)
        return count

    def close(self) -> None:
        try:
            self._file.close()
        finally:
            super().close()
