"""Catalogue: a file of products and the source of their photos, read as a stream."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from vitrina.data.catalogue_photos import open_named_photos, open_photos
from vitrina.data.options import ReadingOptions
from vitrina.data.product import Batch, Product, Rejection
from vitrina.data.readers import (
    ALL_NEEDED,
    DEFAULT_COLUMNS,
    LABELS,
    LABELS_OPTIONAL,
    Columns,
    IdType,
    Missing,
    Needs,
    Reader,
    TableOptions,
    TableReader,
)
from vitrina.data.readers.detect import open_reader, place_of
from vitrina.data.readers.unpacked import most_unpacked, out_of_proportion
from vitrina.data.reading import Reading
from vitrina.data.sources import DEFAULT_FETCHING, Fetching, ImageSource
from vitrina.errors import CatalogueError, ImageSourceError, PhotosNotFoundError
from vitrina.ids import IdSet, id_keys

# In characters: a batch must not collect thousands of descriptions of megabytes each.
_BATCH_TEXT = 1 << 26
_FREE_TEXT = 1 << 28
_FREE_ROWS = 1 << 20


class Catalogue:
    """Catalogue of products; `read` or `open` creates it, `batches` reads its rows.

    Attributes:
        path: the file, directory or range of files; of a database, its URL without secrets.
        reading: the reading settings, which a store saves.
        images: the source of photos; None if there is none.
        photos_error: the error of optional photos that could not be opened.

    Examples
    --------
    >>> catalogue = vt.Catalogue.read(file, images=photos)
    >>> first = next(catalogue.batches()).products[0]
    >>> first.title  # doctest: +SKIP
    'Футболка оверсайз Орион 8'
    """

    def __init__(
        self,
        path: Path | str,
        reading: Reading,
        reader: Reader,
        images: ImageSource | None,
    ) -> None:
        self.path = path
        self.reading = reading
        self.images = images
        self.photos_error: CatalogueError | ImageSourceError | None = None
        self._reader = reader
        if images is not None:
            # The archive is closed even if the catalogue is garbage-collected without `close`.
            weakref.finalize(self, images.close)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        query: str | None = None,
        images: str | Path | None = None,
        image_template: str | None = None,
        photos: int = 1,
        columns: Columns = DEFAULT_COLUMNS,
        delimiter: str | None = None,
        encoding: str | None = None,
        fetching: Fetching | None = None,
        category_separator: str | None = None,
        max_megapixels: int | None = None,
    ) -> Catalogue:
        """Open a catalogue: a marketplace's Parquet, a table, a YML feed, a WebDataset, a database.

        A table is Parquet, CSV, JSON or a spreadsheet. A WebDataset is tar archives (one, a
        directory of them, or a range such as `part-{000..012}.tar`) that hold the photos too. A
        database is `postgresql://USER@HOST/NAME` or `sqlite:///FILE`; the rows of a query are read
        once, in a transaction that can only read, into a temporary file.

        Opening Parquet is cheap: only the columns of category names and of kept texts are read. Any
        other file is scanned once for the type of its ids and the format of its category paths, and
        tar archives for the positions of their files. `columns` and `delimiter` do not apply to a
        feed, whose encoding is detected from its bytes unless `encoding` is given. The location of
        `images` is saved as an absolute path.

        Parameters
        ----------
        path : str or Path
            File, directory or range of files, or URL of a database.
        query : str, optional
            Of a database: an SQL query, or the name of a table.
        images, image_template, photos, columns, delimiter, encoding : optional
            See `ReadingOptions`, as for `category_separator` and `max_megapixels`.
        fetching : Fetching, optional
            Settings of photos from the web.

        Raises
        ------
        CatalogueError
            If the file can't be read, or lacks a column.
        ImageSourceError
            If the photos can't be found.
        OptionError
            If an option has another type or is out of range.
        """
        options = ReadingOptions(
            query=query,
            images=None if images is None else str(images),
            image_template=image_template,
            photos=photos,
            columns=columns,
            delimiter=delimiter,
            encoding=encoding,
            category_separator=category_separator,
            max_megapixels=max_megapixels,
        )
        reading = Reading(fetching=fetching or DEFAULT_FETCHING).with_options(options)
        return cls.open(path, reading, ALL_NEEDED, query)

    @classmethod
    def open(
        cls,
        path: str | Path,
        reading: Reading,
        needs: Needs = LABELS_OPTIONAL,
        query: str | None = None,
    ) -> Catalogue:
        """Open a file or a database's query with the settings of an earlier catalogue.

        Unlike `read`, it accepts a file without the parts that `needs` makes optional, such as the
        category columns of a new batch, or all columns saved in a store. `missing` and
        `photos_error` list the absent parts.
        """
        place = place_of(path)
        path = Path(path) if isinstance(place, Path) else str(place)
        if reading.photos < 1:
            raise CatalogueError(f"{path}: --photos must be at least 1, not {reading.photos}")
        options = TableOptions(
            reading.columns, reading.delimiter, reading.encoding, reading.category_separator
        )
        reader = open_reader(place, options, needs, query)
        if isinstance(reader, TableReader):
            # Later files use the same separator, however few paths they hold.
            reading = replace(reading, category_separator=reader.category_separator)
        images, fault = None, None
        try:
            images = open_photos(path, reading, reader, needs)
        except (CatalogueError, ImageSourceError) as err:
            # An empty folder may be filled before its photos are read.
            filled = not (isinstance(err, PhotosNotFoundError) and err.empty)
            if needs.photos and filled:
                raise
            if needs.photos and reading.images is not None:
                images = open_named_photos(path, reading, reading.images, ())
            fault = err
        opened = cls(path, reading, reader, images)
        opened.photos_error = fault
        return opened

    def check_photos(self) -> None:
        """Raise PhotosNotFoundError if the photo location holds no photos."""
        if isinstance(self.photos_error, PhotosNotFoundError):
            raise self.photos_error

    @property
    def id_type(self) -> IdType:
        """Type of all product ids, `int` or `str`."""
        return self._reader.id_type

    @property
    def has_categories(self) -> bool:
        """True if the file has a column of category ids."""
        return self._reader.has_categories

    @property
    def category_type(self) -> IdType | None:
        """Type of all category ids; None if the file names no category."""
        return self._reader.category_type

    @property
    def integer_ids(self) -> bool:
        """True if every product id converts to an integer without loss."""
        return self._reader.integer_ids

    @property
    def integer_categories(self) -> bool:
        """True if every category id converts to an integer without loss."""
        return self._reader.integer_categories

    @property
    def source(self) -> str | None:
        """Source name that the file gives, such as a feed's shop; None if it gives none."""
        return self._reader.source

    @property
    def has_text(self) -> bool:
        """True if the file has a title, description or attributes."""
        return self._reader.has_text

    @property
    def missing(self) -> Missing:
        """Columns that `reading` names and the file lacks."""
        return self._reader.missing

    def check_complete(self) -> None:
        """Raise the error of a missing column or missing photos that `open` accepted.

        Columns of categories may be missing. Raises CatalogueError, ImageSourceError.
        """
        if (missing := self.missing.of(self.missing.fields - LABELS)).columns:
            raise missing.error()
        # A location without photos matters only to code that uses photos; see `check_photos`.
        if self.photos_error and not isinstance(self.photos_error, PhotosNotFoundError):
            raise self.photos_error

    @property
    def notes(self) -> Sequence[str]:
        """Notes for the user on how the file was read; one sentence each."""
        return self._reader.notes

    @property
    def label_hint(self) -> str:
        """Reason why no product of a table can have a label, with the remedy; "" if some can."""
        return self._reader.label_hint if isinstance(self._reader, TableReader) else ""

    @property
    def repairs(self) -> Mapping[str, int]:
        """Counts of repairs made while reading; complete once `batches` has ended."""
        return self._reader.repairs

    def batches(self, size: int = 4096) -> Iterator[Batch]:
        """Stream all rows, at most `size` per batch; each call starts over.

        Every row of the file is in exactly one batch, as a product or as a rejection. Among rows
        with the same id, the first valid one becomes the product.

        Raises:
            CatalogueError: the file is damaged.
        """
        rows, bounds = self._reader.rows(), _Bounds(self.path)
        seen = IdSet()
        while chunk := _chunk(rows, size, bounds):
            yield _batch(chunk, seen)

    def close(self) -> None:
        """Close the source of photos, if there is one."""
        if self.images is not None:
            self.images.close()


class _Bounds:
    """Limits on a file's rows and text, derived from its size in bytes; a folder has none."""

    def __init__(self, path: Path | str) -> None:
        # What a database gives is in no proportion to any file.
        self._path = path if isinstance(path, Path) else Path()
        self._rows = self._length = 0
        self._most_rows = self._most_length = sys.maxsize
        if self._path.is_file():
            self._most_rows = max(_FREE_ROWS, self._path.stat().st_size)
            self._most_length = most_unpacked(self._path, _FREE_TEXT)

    def add(self, row: Product | Rejection) -> int:
        """Count a row, and return the number of its characters that count toward a batch's limit.

        Raises CatalogueError if there are more rows than the file has bytes (and more than
        `_FREE_ROWS`), or if a repeated text, such as a shop's or category's name, makes the total
        text out of proportion to the file.
        """
        if self._rows == self._most_rows:
            raise CatalogueError(
                f"{self._path}: more than {self._rows} rows in {self._path.stat().st_size} "
                "bytes, too many for a catalogue; export it again, or unpack it"
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


def _chunk(
    rows: Iterator[Product | Rejection], size: int, bounds: _Bounds
) -> list[Product | Rejection]:
    """Take the next rows, at most `size`, and fewer if their text is long."""
    chunk: list[Product | Rejection] = []
    length = 0
    for row in islice(rows, size):
        chunk.append(row)
        length += bounds.add(row)
        if length > _BATCH_TEXT:
            break
    return chunk


def _batch(rows: Sequence[Product | Rejection], seen: IdSet) -> Batch:
    products = [row for row in rows if isinstance(row, Product)]
    rejected = [row for row in rows if isinstance(row, Rejection)]
    new = seen.add(id_keys([product.product_id for product in products]))
    for place in np.flatnonzero(~new):
        again = products[place]
        reason = "this product_id was seen before, in an earlier row"
        rejected.append(Rejection(again.row, reason, again.product_id))
    return Batch(
        products=tuple(product for product, is_new in zip(products, new, strict=True) if is_new),
        rejected=tuple(sorted(rejected, key=lambda rejection: rejection.row)),
    )
