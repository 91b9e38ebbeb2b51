"""Where photos come from: a folder, a zip archive or a column of a Parquet file.

A source answers two questions apart, since their answers differ in kind. `references` says
which photos a product has, and none is an answer like any other. `read` fetches one of them,
and there any failure is a fault that belongs in `errors.parquet`.
"""

from __future__ import annotations

import struct
import threading
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.data.photo_names import choose_split, detect_template, existing, inside
from vitrina.data.product import Product
from vitrina.errors import ImageError, ImageSourceError

MAX_BYTES = 256 * 1024 * 1024
"""A file or archive member larger than this is no photo and is not read."""
BATCH_ROWS = 16
"""How many rows of a bytes column are held at once; a photo may take megabytes."""


class ImageSource(Protocol):
    """Finds and reads the photos of products."""

    @property
    def location(self) -> str:
        """What to print."""

    def references(self, product: Product) -> tuple[str, ...]:
        """The photos that the product has, at most as many as are wanted; () for none."""

    def read(self, reference: str) -> bytes:
        """Fetch one photo's file. Raises ImageError with a short reason."""

    def close(self) -> None:
        """Let go of open files."""


@dataclass(frozen=True, slots=True)
class FolderImages:
    """Photos below a folder, named by the catalogue or else by a template."""

    location: str
    template: str | None = None
    photos: int = 1

    def exists(self, reference: str) -> bool:
        """Whether there is such a file. What may not be looked at counts: `read` says why."""
        try:
            return Path(self.location, inside(reference)).is_file()
        except (ImageError, OSError):
            return True

    def references(self, product: Product) -> tuple[str, ...]:
        """Paths below the folder."""
        return existing(product, self.template, self.photos, self.exists)

    def read(self, reference: str) -> bytes:
        """Read a file. Raises ImageError if it is missing, too large or outside the folder."""
        path = Path(self.location, inside(reference))
        try:
            if (size := path.stat().st_size) > MAX_BYTES:
                raise ImageError(f"too large: {size} bytes in {reference}")
            return path.read_bytes()
        except (OSError, ValueError) as err:
            reason = err.strerror if isinstance(err, OSError) else err
            raise ImageError(f"can't be read: {reference!r}: {reason}") from err

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def some_names(self) -> Iterable[str]:
        """Names of photos, to show in a message."""
        files = (path for path in Path(self.location).rglob("*") if path.is_file())
        return (path.relative_to(self.location).as_posix() for path in files)


@dataclass(frozen=True, slots=True)
class ZipImages:
    """Photos in a zip archive, read in place from any number of threads.

    The lock is there because `ZipFile` counts its open members without one, and closes the
    file under the others when the count goes wrong.
    """

    archive: zipfile.ZipFile
    template: str | None = None
    photos: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def location(self) -> str:
        """The archive's path."""
        return str(self.archive.filename)

    def exists(self, reference: str) -> bool:
        """Whether there is such a member. What may not be looked at counts: `read` says why."""
        try:
            return inside(reference) in self.archive.NameToInfo
        except ImageError:
            return True

    def references(self, product: Product) -> tuple[str, ...]:
        """Names of members."""
        return existing(product, self.template, self.photos, self.exists)

    def read(self, reference: str) -> bytes:
        """Read a member. Raises ImageError if it is missing, damaged, locked or too large."""
        info = self.archive.NameToInfo.get(inside(reference))
        if info is None:
            raise ImageError(f"no such member: {reference!r}")
        if info.file_size > MAX_BYTES:
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
        # NotImplementedError, of archives split or patched, is a RuntimeError.
        except (zipfile.BadZipFile, zlib.error, struct.error, EOFError) as err:
            raise ImageError(f"damaged member: {reference}: {err or 'cut short'}") from err
        except (OSError, ValueError, RuntimeError) as err:
            raise ImageError(f"can't be read: {reference}: {err}") from err

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()

    def some_names(self) -> Iterable[str]:
        """Names of photos, to show in a message."""
        return (name for name in self.archive.NameToInfo if not name.endswith("/"))


class ColumnImages:
    """Photos in a Parquet column of bytes, found by the product's row.

    Lists of bytes serve too, and the {bytes, path} records of Hugging Face `datasets`. A
    reference is the row's number from 1, or "ROW/N", N from 1, in a list. Held are a few rows
    and the Parquet page they come from. To go on is cheap; to step back beyond those rows is to
    read the row group again, so ask for references and read them in one pass over the rows.
    """

    def __init__(self, path: str | Path, column: str, photos: int = 1) -> None:
        """Open the file. Raises ImageSourceError if it can't be, or has no such bytes."""
        self.location = f"{path}, column {column!r}"
        self._column, self._photos = column, photos
        self._lock = threading.Lock()
        try:
            # As a buffered stream, or Arrow would fetch a row group's whole column at once.
            self._file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        except (OSError, pa.ArrowException) as err:
            raise ImageSourceError(f"{path}: can't be read as Parquet: {err}") from err
        schema, metadata = self._file.schema_arrow, self._file.metadata
        kind = schema.field(column).type if column in schema.names else pa.null()
        self._is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if not _holds_bytes(kind.value_type if self._is_list else kind):
            self.close()
            known = column in schema.names
            found = f"holds {kind}" if known else f"is not among {', '.join(schema.names)}"
            raise ImageSourceError(f"{path}: column {column!r} should hold photos, but {found}")
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        self._starts = list(accumulate(sizes, initial=1))
        self._group, self._first = -1, 1
        self._rows: pa.Array = pa.nulls(0)
        self._batches: Iterator[pa.RecordBatch] = iter(())

    def references(self, product: Product) -> tuple[str, ...]:
        """The row's number if it holds a photo, or a reference to each photo in its list."""
        row = product.row
        present = [n for n, item in enumerate(self._items(row), 1) if _is_photo(item)]
        names = (f"{row}/{n}" if self._is_list else str(row) for n in present)
        return tuple(islice(names, self._photos))

    def read(self, reference: str) -> bytes:
        """Take the bytes. Raises ImageError if the reference names none."""
        row, _, place = reference.partition("/") if self._is_list else (reference, "", "1")
        try:
            item = dict(enumerate(self._items(int(row)), 1)).get(int(place))
        except ValueError:
            item = None
        if isinstance(item, dict):
            if item["bytes"] is None and item.get("path"):
                raise ImageError(f"not in the file, which only names it: {item['path']}")
            item = item["bytes"]
        if item is None:
            raise ImageError(f"no photo at row {reference}")
        return bytes(item)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _items(self, row: int) -> list[Any]:
        """What the column holds in a row counted from 1; nothing beyond the last row."""
        if not 1 <= row < self._starts[-1]:
            return []
        with self._lock:
            try:
                self._move_to(row)
            except (OSError, pa.ArrowException, StopIteration) as err:
                raise ImageSourceError(f"{self.location}: damaged at row {row}: {err}") from err
            value = self._rows[row - self._first].as_py()
        return (value or []) if self._is_list else [value]

    def _move_to(self, row: int) -> None:
        group = bisect_right(self._starts, row) - 1
        if group != self._group or row < self._first:
            self._group, self._first, self._rows = group, self._starts[group], pa.nulls(0)
            self._batches = self._file.iter_batches(
                BATCH_ROWS, row_groups=[group], columns=[self._column]
            )
        while row >= self._first + len(self._rows):
            self._first += len(self._rows)
            self._rows = next(self._batches).column(0)


def open_images(
    location: str | Path,
    *,
    template: str | None,
    photos: int,
    sample: Sequence[Product],
    splits: Sequence[str],
) -> FolderImages | ZipImages:
    """Open a folder or a zip archive of photos.

    Parameters
    ----------
    location : the folder or the archive.
    template : a photo's name with {product_id} and, if wanted, {split} and {n}; None for the
        names that the catalogue gives or, where it gives none, a template found by trying.
    photos : how many photos of one product are wanted at most.
    sample : some products of the catalogue, to choose the template and the split by.
    splits : what {split} may stand for, the catalogue's own first.

    Raises ImageSourceError if there is nothing to read there, or the template is malformed, or
    none can be found; not if a template that was given finds no photo, as some batches have none.
    """
    source = _open(Path(location), photos)
    ids = [product.product_id for product in sample]
    try:
        if template is not None:
            return replace(source, template=choose_split(template, source.exists, ids, splits))
        if not ids or any(product.images for product in sample):
            return source
        found = detect_template(source.exists, ids, splits)
        if found is None:
            names = ", ".join(islice(source.some_names(), 3)) or "no files"
            raise ImageSourceError(
                f"{location}: no photo found of product {ids[0]}; it holds {names}; say how "
                "photos are named, for example --image-template 'images/{product_id}.jpg'"
            )
        return replace(source, template=found)
    except ImageSourceError:
        source.close()
        raise


def _open(path: Path, photos: int) -> FolderImages | ZipImages:
    if path.is_dir():
        return FolderImages(str(path), photos=photos)
    way_out = "give --images a folder or a zip archive"
    try:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        return ZipImages(zipfile.ZipFile(path), photos=photos)
    except OSError as err:
        raise ImageSourceError(f"{path}: {err.strerror}; {way_out}") from err
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as err:
        what = "a damaged or cut zip archive" if is_zip else "neither a folder nor a zip archive"
        raise ImageSourceError(f"{path}: {what}; {way_out}") from err


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        kind = kind.field(place).type if place >= 0 else pa.null()
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _is_photo(item: Any) -> bool:
    """Whether there is one at all, readable or not: a bare path is a photo we can't read."""
    if isinstance(item, dict):
        return item["bytes"] is not None or bool(item.get("path"))
    return item is not None
