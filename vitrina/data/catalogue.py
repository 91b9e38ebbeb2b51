"""Catalogue: a file or table of products and the source of their photos, read as a stream."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np

from vitrina.data.catalogue_photos import open_named_photos, open_photos
from vitrina.data.location import Location
from vitrina.data.memory_photos import open_memory_photos, with_photo_column
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
from vitrina.data.readers.memory import ReadableRecords, memory_records
from vitrina.data.reading import Reading
from vitrina.data.size_bounds import SizeBounds
from vitrina.data.sources import DEFAULT_FETCHING, WEB, Fetching, ImageSource
from vitrina.database.url import DatabaseURL
from vitrina.errors import CatalogueError, ImageSourceError, PhotosNotFoundError
from vitrina.ids import IdSet, id_keys
from vitrina.page.summary import Summarised, Summary, SummaryTable
from vitrina.results import cell

# In characters: a batch must not collect thousands of descriptions of megabytes each.
_BATCH_TEXT = 1 << 26
_SHOWN = 3
"""Products in the summary."""


class Catalogue(Summarised):
    """Catalogue of products; `read` or `open` creates it, `batches` reads its rows.

    Iterating over it gives its products, one by one; rejected rows are left out.

    Attributes:
        path: the file, directory or range of files; of a database, its URL without secrets; or the
            name of a table in memory.
        reading: the reading settings, which a store saves.
        images: the source of photos; None if there is none.
        photos_error: the error of optional photos that could not be opened.

    Examples
    --------
    >>> catalogue = vt.Catalogue.read(file, images=photos)
    >>> first = next(catalogue.batches()).products[0]
    >>> first.title  # doctest: +SKIP
    'Футболка оверсайз Орион 8'
    >>> [product.title for product in vt.Catalogue.read([{"product_id": 7, "title": "чай"}])]
    ['чай']
    """

    def __init__(
        self,
        path: Location,
        reading: Reading,
        reader: Reader,
        images: ImageSource | None,
        *,
        label: Callable[[int], str] | None = None,
    ) -> None:
        """label: returns a row's label in its own table, which rejections then name too."""
        self.path = path
        self._label = label
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
        source: str | Path | Any,
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
        """Open a catalogue: a file, a directory, a database, or a table in memory.

        A table is Parquet, CSV, JSON or a spreadsheet. A WebDataset is tar archives (one, a
        directory of them, or a range such as `part-{000..012}.tar`) that hold the photos too. A
        database is `postgresql://USER@HOST/NAME` or `sqlite:///FILE`; the rows of a query are read
        once, in a transaction that can only read, into a temporary file.

        A table in memory is read as a Parquet file with its columns would be: a pandas or Polars
        DataFrame, an Arrow table, dataset or stream (also of DuckDB), or a list of dictionaries. It
        must stay as it is while the catalogue is in use. Its column `image` or `images`, or the one
        named in `columns`, may hold photos as bytes, PIL images or arrays, paths, or lists of them.

        Opening Parquet is cheap: only the columns of category names and of kept texts are read. Any
        other file is scanned once for the type of its ids and the format of its category paths, and
        tar archives for the positions of their files. `columns` and `delimiter` do not apply to a
        feed, whose encoding is detected from its bytes unless `encoding` is given. The location of
        `images` is saved as an absolute path.

        Parameters
        ----------
        source : str, Path, DataFrame, pyarrow.Table, list of dict, or other table
            File, directory or range of files, URL of a database, or a table in memory.
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
        anywhere = images is None or str(images) == WEB
        needs = replace(ALL_NEEDED, located=not anywhere, find_photos=anywhere)
        return cls.open(source, reading, needs, query)

    @classmethod
    def open(
        cls,
        source: str | Path | Any,
        reading: Reading,
        needs: Needs = LABELS_OPTIONAL,
        query: str | None = None,
    ) -> Catalogue:
        """Open a file, a database's query or a table in memory with the settings of an earlier
        catalogue.

        Unlike `read`, it accepts a file without the parts that `needs` makes optional, such as the
        category columns of a new batch, or all columns saved in a store. `missing` and
        `photos_error` list the absent parts.
        """
        place: Path | DatabaseURL | None = None
        records: ReadableRecords | None = None
        path: Location
        if isinstance(source, (str, os.PathLike)):
            place = place_of(source if isinstance(source, str) else Path(source))
            path = Path(source) if isinstance(place, Path) else str(place)
        else:
            records = memory_records(source)
            path = records.path
            if query is not None:
                raise CatalogueError(f"{path}: a query applies to the URL of a database")
        if reading.photos < 1:
            raise CatalogueError(f"{path}: --photos must be at least 1, not {reading.photos}")
        notes: list[str] = []
        if records is not None:
            reading, notes = with_photo_column(records, reading, needs)
        options = TableOptions(
            reading.columns, reading.delimiter, reading.encoding, reading.category_separator
        )
        reader: Reader
        if place is not None:
            reader = open_reader(place, options, needs, query)
        elif records is not None:
            reader = TableReader(records, options.columns, needs, options.category_separator)
            reader.notes += notes
        if isinstance(reader, TableReader):
            # Later files use the same separator, however few paths they hold.
            reading = replace(reading, category_separator=reader.category_separator)
        images, fault = None, None
        try:
            if records is not None:
                images, reading = open_memory_photos(
                    records, reading, cast("TableReader", reader), needs
                )
            else:
                images = open_photos(Path(source), reading, reader, needs)
        except (CatalogueError, ImageSourceError) as err:
            # An empty folder may be filled before its photos are read.
            filled = not (isinstance(err, PhotosNotFoundError) and err.empty)
            if needs.photos and filled:
                raise
            if needs.photos and reading.images is not None and isinstance(path, Path):
                images = open_named_photos(path, reading, reading.images, ())
            fault = err
        label = None if records is None else records.label
        opened = cls(path, reading, reader, images, label=label)
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
        rows, bounds = self._reader.rows(), SizeBounds(self.path)
        seen = IdSet()
        while chunk := _chunk(rows, size, bounds):
            yield self._labelled(_batch(chunk, seen))

    def __iter__(self) -> Iterator[Product]:
        for batch in self.batches():
            yield from batch.products

    def _labelled(self, batch: Batch) -> Batch:
        """Name rejected rows by the labels of their table too, if it has any."""
        if self._label is None or not batch.rejected:
            return batch
        rejected = tuple(
            replace(row, reason=f"{row.reason} ({label})")
            if (label := self._label(row.row))
            else row
            for row in batch.rejected
        )
        return replace(batch, rejected=rejected)

    def summary(self) -> Summary:
        """The columns that are read, and where photos are."""
        reader = self._reader
        columns = self.reading.columns
        named = {name: getattr(columns, name) for name in sorted(columns.given)}
        photos = None if self.images is None else self.images.location
        facts: list[tuple[str, Any]] = [
            ("product ids", "integers" if self.id_type is int else "texts"),
            ("text", self.has_text),
            ("categories", "yes" if self.category_type else "none"),
            ("columns", reader.columns_read if isinstance(reader, TableReader) else None),
            ("named", {name: one for name, one in named.items() if one and one != name}),
            ("photos", photos or (f"none: {self.photos_error}" if self.photos_error else "none")),
            ("source", self.source),
        ]
        first = reader.first(_SHOWN) if isinstance(reader, TableReader) else []
        names = ("product_id", "title", "category_id", "category_name")
        rows = [[cell(name, getattr(one, name)) for name in names] for one in first]
        table = SummaryTable(names, rows) if rows else None
        return Summary(f"Catalogue: {self.path}", facts, table, list(self.notes))

    def close(self) -> None:
        """Close the source of photos, if there is one."""
        if self.images is not None:
            self.images.close()


def _chunk(
    rows: Iterator[Product | Rejection], size: int, bounds: SizeBounds
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
