"""Photos in a column of a Parquet file."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from vitrina.data.arrow_types import holds_photos, innermost, is_list
from vitrina.data.photo_names import parse_references
from vitrina.data.product import Product
from vitrina.data.readers.parquet_batches import group_batches, open_parquet
from vitrina.data.sources.base import MAX_BYTES, ImageSource
from vitrina.errors import ImageError, ImageSourceError
from vitrina.parquet.footer import DamagedPagesError, read_footer

BATCH_ROWS = 16
"""Number of rows of a bytes column in memory at once; a photo may take megabytes."""

_NAMED = "named:"


class ColumnImages:
    """Photos in a Parquet column of bytes, found by the product's row.

    Lists of bytes are supported too, as are the {bytes, path} records of Hugging Face `datasets`,
    where a record without bytes only names its photo. A reference is the row's number from 1, or
    "ROW/N" with N from 1 for a list. A photo that is only named has its reference in `named` with
    the prefix "named:". Only a few rows and their Parquet page are in memory. Reading forward is
    cheap, but a step back beyond those rows reads the row group again, so get references and read
    them in one pass over the rows.

    Attributes:
        named: source of the photos that are only named; set by the caller, closed with this source.
        names_photos: whether records have a field for a name.
    """

    # Rows are read in order from one file; a second thread would only wait.
    workers = 1

    def __init__(
        self, path: str | Path, column: str, photos: int = 1, *, shown: str | None = None
    ) -> None:
        """Open the file. Raises ImageSourceError if it can't be read or has no such column.

        shown: its name for messages.
        """
        self.location = f"{shown or path}, column {column!r}"
        self.named: ImageSource | None = None
        self._column, self._photos = column, photos
        self._lock = threading.Lock()
        self._path = Path(path)
        try:
            self._groups = read_footer(self._path)
            self._file = open_parquet(self._path)
        except (OSError, pa.ArrowException, DamagedPagesError, UnicodeDecodeError) as err:
            raise ImageSourceError(f"{path}: can't be read as Parquet: {_line(err)}") from err
        schema = self._file.schema_arrow
        kind = schema.field(column).type if column in schema.names else pa.null()
        self._is_list = is_list(kind)
        record = innermost(kind)
        self.names_photos = pa.types.is_struct(record) and record.get_field_index("path") >= 0
        if not holds_photos(kind):
            self.close()
            known = column in schema.names
            found = f"holds {kind}" if known else f"is not among {', '.join(schema.names)}"
            raise ImageSourceError(f"{path}: column {column!r} should hold photos, but {found}")
        self._starts = list(accumulate((group.rows for group in self._groups), initial=1))
        self._group, self._first = -1, 1
        self._rows: pa.Array = pa.nulls(0)
        self._batches: Iterator[pa.RecordBatch] = iter(())

    def references(self, product: Product) -> tuple[str, ...]:
        """Return a reference to each photo in the product's row, up to `photos`."""
        return tuple(islice(self._references(product), self._photos))

    def not_found(self, product: Product) -> str:
        """Explain why no photo that is only named was found; "" if there is no `named` source."""
        if self.named is None:
            return ""
        names = (name for item in self._items(product.row) for name in parse_references(item))
        return self.named.not_found(replace(product, images=tuple(names)))

    def stamp(self, reference: str) -> str | None:
        """Return the stamp of a photo that is only named; None for others, which have none."""
        if self.named is not None and reference.startswith(_NAMED):
            return self.named.stamp(reference.removeprefix(_NAMED))
        return None

    def read(self, reference: str) -> bytes:
        """Read the photo's bytes. Raises ImageError if the reference names none."""
        if self.named is not None and reference.startswith(_NAMED):
            return self.named.read(reference.removeprefix(_NAMED))
        row, _, place = reference.partition("/") if self._is_list else (reference, "", "1")
        try:
            item = dict(enumerate(self._items(int(row)), 1)).get(int(place))
        except ValueError:
            item = None
        if isinstance(item, dict):
            if item["bytes"] is None and item.get("path"):
                raise ImageError(
                    f"not in the file, which only names it: {item['path']}; say where it is with "
                    "--images"
                )
            item = item["bytes"]
        if item is None:
            raise ImageError(f"no photo at row {reference}")
        if len(item) > MAX_BYTES:
            raise ImageError(f"too large: {len(item)} bytes at row {reference}")
        return bytes(item)

    def forget(self, reference: str) -> None:
        """Drop the copy that `named` keeps of a photo; other photos have no copy."""
        if self.named is not None and reference.startswith(_NAMED):
            self.named.forget(reference.removeprefix(_NAMED))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self.named is not None:
            self.named.close()

    def some_name(self, rows: int) -> str | None:
        """Return a photo name from the first rows if they only name photos, else None."""
        name = None
        for row in range(1, min(rows, self._starts[-1] - 1) + 1):
            for item in self._items(row):
                if not isinstance(item, dict) or item["bytes"] is not None:
                    return None
                name = name or item.get("path")
        return name

    def _references(self, product: Product) -> Iterator[str]:
        row = product.row
        for n, item in enumerate(self._items(row), 1):
            if self.named is not None and isinstance(item, dict) and item["bytes"] is None:
                photo = replace(product, images=parse_references(item))
                yield from (_NAMED + name for name in self.named.references(photo))
            elif _is_photo(item):
                yield f"{row}/{n}" if self._is_list else str(row)

    def _items(self, row: int) -> list[Any]:
        """Return the column's items in a row, counted from 1; [] beyond the last row."""
        if not 1 <= row < self._starts[-1]:
            return []
        with self._lock:
            try:
                self._move_to(row)
                value = self._rows[row - self._first].as_py()
            except (OSError, pa.ArrowException, StopIteration, DamagedPagesError) as err:
                raise ImageSourceError(
                    f"{self.location}: damaged at row {row}: {_line(err)}"
                ) from err
            except UnicodeDecodeError:
                # The name of a photo in a record.
                value = None
        return (value or []) if self._is_list else [value]

    def _move_to(self, row: int) -> None:
        group = bisect_right(self._starts, row) - 1
        if group != self._group or row < self._first:
            self._group, self._first, self._rows = group, self._starts[group], pa.nulls(0)
            self._batches = group_batches(
                self._path, self._file, self._groups, group, [self._column], BATCH_ROWS
            )
        while row >= self._first + len(self._rows):
            self._first += len(self._rows)
            self._rows = next(self._batches).column(0)


def _is_photo(item: Any) -> bool:
    """Return True if an item is a photo, readable or not; a bare path is an unreadable one."""
    if isinstance(item, dict):
        return item["bytes"] is not None or bool(item.get("path"))
    return item is not None


def _line(err: Exception) -> str:
    return (str(err) or type(err).__name__).splitlines()[0]
