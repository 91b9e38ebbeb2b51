"""Limit on the unpacked size of a file, so that reading time is proportional to its bytes."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

from vitrina.data.location import Location
from vitrina.errors import CatalogueError

MOST_TIMES = 100
"""Maximum ratio of a file's unpacked size to its size. Tables and feeds compress 5 to 30 times."""
UNBOUNDED = 1 << 24
"""Unpacked bytes allowed for any file, however small."""


def most_unpacked(path: Path, unbounded: int = UNBOUNDED) -> int:
    """Return the maximum bytes that a file may unpack to."""
    return max(unbounded, MOST_TIMES * path.stat().st_size)


def out_of_proportion(path: Location, most: int) -> CatalogueError:
    """Build the error for a file that unpacks to more than `most` bytes."""
    return CatalogueError(
        f"{path}: it unpacks to more than {most >> 20} MB, over {MOST_TIMES} times its size, too "
        "much for a catalogue; export it again, or unpack it"
    )


def open_gzip(path: Path) -> io.BufferedReader:
    """Open a gzipped file. Reading raises CatalogueError if it unpacks to too many bytes."""
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
        # `read1` returns the data of one block; `readinto` would lose the data before a cut.
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
