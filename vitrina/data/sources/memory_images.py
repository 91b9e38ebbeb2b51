"""Photos in a column of a table in memory: bytes, images, pixels, or names of files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from vitrina.data.photo_names import parse_references
from vitrina.data.photo_values import encoded, is_nothing, name_of, photos_in
from vitrina.data.product import Product
from vitrina.data.readers.memory.records import InMemory
from vitrina.data.sources.base import MAX_BYTES, ImageSource
from vitrina.errors import ImageError

_NAMED = "named:"
_NEAR = 64
"""Rows ahead up to which values are skipped rather than found anew."""


class MemoryImages:
    """Photos in a column of a table in memory, found by the product's row.

    References are those of `ColumnImages`: the row's number from 1, "ROW/N" for a list, and
    "named:" with a reference of `named` for a photo that is only named.

    Attributes:
        named: source of the photos that are only named; set by the caller, closed with this source.
    """

    # Rows are read in order; encoding an image to PNG is quick beside embedding it.
    workers = 1

    def __init__(self, records: InMemory, column: str, photos: int = 1) -> None:
        self.location = f"{records.path}, column {column!r}"
        self.named: ImageSource | None = None
        self._records, self._column, self._photos = records, column, photos
        self._lock = threading.Lock()
        # No row is near this one.
        self._row = -_NEAR
        self._value: Any = None
        self._values: Iterator[Any] = iter(())

    def references(self, product: Product) -> tuple[str, ...]:
        """Return a reference to each photo in the product's row, up to `photos`."""
        return tuple(islice(self._references(product), self._photos))

    def not_found(self, product: Product) -> str:
        """Explain why no photo that is only named was found; "" if none is only named."""
        if self.named is None:
            return ""
        names = map(name_of, self._items(product.row)[0])
        return self.named.not_found(replace(product, images=tuple(filter(None, names))))

    def stamp(self, reference: str) -> str | None:
        """Return the stamp of a photo that is only named; None for others, which have none."""
        if self.named is not None and reference.startswith(_NAMED):
            return self.named.stamp(reference.removeprefix(_NAMED))
        return None

    def read(self, reference: str) -> bytes:
        """Return the photo's file. Raises ImageError if the reference names none."""
        if self.named is not None and reference.startswith(_NAMED):
            return self.named.read(reference.removeprefix(_NAMED))
        row, _, place = reference.partition("/")
        try:
            item = self._items(int(row))[0][int(place or 1) - 1]
        except (ValueError, IndexError):
            raise ImageError(f"no photo at row {reference}") from None
        if (name := name_of(item)) is not None:
            raise ImageError(f"only named, and its place is unknown: {name!r}; give images=...")
        try:
            data = encoded(item)
        except (OSError, ValueError, TypeError) as err:
            raise ImageError(f"the image at row {reference} can't be used: {err}") from err
        if data is None:
            raise ImageError(f"no photo at row {reference}: {type(item).__name__}")
        if len(data) > MAX_BYTES:
            raise ImageError(f"too large: {len(data)} bytes at row {reference}")
        return data

    def forget(self, reference: str) -> None:
        """Drop the copy that `named` keeps of a photo; other photos have no copy."""
        if self.named is not None and reference.startswith(_NAMED):
            self.named.forget(reference.removeprefix(_NAMED))

    def close(self) -> None:
        """Close the source of named photos."""
        if self.named is not None:
            self.named.close()

    def _references(self, product: Product) -> Iterator[str]:
        items, listed = self._items(product.row)
        for n, item in enumerate(items, 1):
            name = name_of(item)
            if self.named is not None and name is not None:
                photo = replace(product, images=parse_references(name))
                yield from (_NAMED + found for found in self.named.references(photo))
            elif name != "":
                yield f"{product.row}/{n}" if listed else str(product.row)

    def _items(self, row: int) -> tuple[list[Any], bool]:
        """Return the photos in a row, counted from 1, and whether its value is a list."""
        with self._lock:
            if not self._row < row <= self._row + _NEAR and row != self._row:
                self._values, self._row = self._records.values(self._column, row), row - 1
            while self._row < row:
                self._row += 1
                self._value = next(self._values, None)
            value = self._value
        if isinstance(value, np.ndarray) and value.dtype == object:
            value = value.tolist()
        listed = isinstance(value, (list, tuple))
        # Gaps in a list count, as in a Parquet file.
        items = list(value) if listed else photos_in(value)
        return [None if is_nothing(item) else item for item in items], listed


@dataclass(frozen=True)
class LocalImages:
    """Photos of a folder, named by paths from the working directory or from the root.

    folder: its source. root: the folder, absolute.
    """

    folder: ImageSource
    root: str

    @property
    def location(self) -> str:
        """The folder."""
        return self.folder.location

    @property
    def workers(self) -> int:
        """Number of threads that one disk can use."""
        return self.folder.workers

    def references(self, product: Product) -> tuple[str, ...]:
        """Return paths below the folder."""
        return self.folder.references(below(self.root, product))

    def not_found(self, product: Product) -> str:
        """Explain why no named photo was found; "" if none is named."""
        return self.folder.not_found(below(self.root, product))

    def stamp(self, reference: str) -> str | None:
        """Return the file's modification time and size; None if it can't be read."""
        return self.folder.stamp(reference)

    def read(self, reference: str) -> bytes:
        """Read a file. Raises ImageError."""
        return self.folder.read(reference)

    def forget(self, reference: str) -> None:
        """Do nothing: no copy is kept."""

    def close(self) -> None:
        """Close the folder."""
        self.folder.close()


def below(root: str, product: Product) -> Product:
    """Return a product whose photos are named by paths below `root`."""
    names = tuple(os.path.relpath(name, root) for name in product.images)
    return replace(product, images=names)


def common_root(names: Sequence[str]) -> str:
    """Return the folder below which all files lie that are named from the working directory."""
    folders = {os.path.dirname(os.path.abspath(name)) for name in names}  # noqa: PTH100, PTH120
    return os.path.commonpath(folders)
