"""Limits on a catalogue file's rows and text, derived from its size in bytes."""

from __future__ import annotations

import sys
from pathlib import Path

from vitrina.data.location import Location
from vitrina.data.product import Product, Rejection
from vitrina.data.readers.unpacked import most_unpacked, out_of_proportion
from vitrina.errors import CatalogueError

_FREE_TEXT = 1 << 28
_FREE_ROWS = 1 << 20


class SizeBounds:
    """Counts a file's rows and text against limits; a folder or a table in memory has none."""

    def __init__(self, path: Location) -> None:
        """path: of the catalogue, as its messages name it."""
        self._path = path
        self._size = self._rows = self._length = 0
        self._most_rows = self._most_length = sys.maxsize
        if isinstance(path, Path) and path.is_file():
            self._size = path.stat().st_size
            self._most_rows = max(_FREE_ROWS, self._size)
            self._most_length = most_unpacked(path, _FREE_TEXT)

    def add(self, row: Product | Rejection) -> int:
        """Count a row, and return the number of its characters that count toward a batch's limit.

        Raises CatalogueError if there are more rows than the file has bytes (and more than
        `_FREE_ROWS`), or if a repeated text, such as a shop's or category's name, makes the total
        text out of proportion to the file.
        """
        if self._rows == self._most_rows:
            raise CatalogueError(
                f"{self._path}: more than {self._rows} rows in {self._size} bytes, too many for a "
                "catalogue; export it again, or unpack it"
            )
        self._rows += 1
        if not isinstance(row, Product):
            return 0
        length = len(row.title) + len(row.description) + sum(map(len, row.attributes))
        self._length += length + len(row.shop) + len(row.category_name or "")
        self._length += sum(map(len, row.characteristics))
        if self._length > self._most_length:
            raise out_of_proportion(self._path, self._most_length)
        return length
