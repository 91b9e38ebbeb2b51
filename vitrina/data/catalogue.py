"""The catalogue: a file of products, and where their photos are, read as a stream."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vitrina.data.options import NO_COLUMN, NONE, ReadingOptions
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
from vitrina.data.readers.detect import open_reader
from vitrina.data.readers.webdataset import WebDatasetReader
from vitrina.data.sources import (
    DEFAULT_FETCHING,
    WEB,
    ColumnImages,
    Fetching,
    ImageSource,
    open_images,
)
from vitrina.errors import CatalogueError, ImageSourceError, PhotosNotFoundError
from vitrina.ids import IdSet, id_keys

IMAGE_SAMPLE = 1000
"""Rows looked at to find out how photos are named."""

# In characters: descriptions of megabytes must not pile up by the thousand.
_BATCH_TEXT = 1 << 26
_SPLITS = ("train", "test", "val")


@dataclass(frozen=True)
class Reading:
    """How a catalogue is read: all that a later batch of the same kind needs to be told.

    Attributes:
        columns: the table's columns.
        delimiter: of a CSV file; None to find it out.
        encoding: of a CSV, JSONL or YML file; None to find it out, which is UTF-8 for a table.
        images: the folder or archive of photos, or `web`; None for none.
        image_template: how photos are named; None to find it out for each catalogue file, so
            that training and test products find their own folders.
        photos: how many photos of a product to use at most.
        fetching: how photos are fetched from the web.
        category_separator: between the names of a category's path; None until one is found or
            given, `none` for names that are no paths.
    """

    columns: Columns = DEFAULT_COLUMNS
    delimiter: str | None = None
    encoding: str | None = None
    images: str | None = None
    image_template: str | None = None
    photos: int = 1
    fetching: Fetching = DEFAULT_FETCHING
    category_separator: str | None = None

    def with_options(self, given: ReadingOptions) -> Reading:
        """These settings with what is given in its place; see `vitrina.data.options`."""
        fetching = {"workers": given.fetchers, "allow_private": given.allow_private}
        asked: dict[str, Any] = {n: value for n, value in fetching.items() if value is not None}
        changes: dict[str, Any] = {"fetching": replace(self.fetching, **asked)}
        unset = {one.name: one.metadata.get("unset", ()) for one in fields(given)}
        for setting in fields(self):
            value = getattr(given, setting.name, None)
            if value is not None:
                back = value in unset[setting.name]
                changes[setting.name] = setting.default if back else value
        changes["columns"] = self.columns.updated(given.columns)
        if given.images is not None:
            # Photos elsewhere may be named otherwise.
            changes.setdefault("image_template", None)
            nowhere = given.images in (NONE, "")
            changes["images"] = None if nowhere else str(_absolute(given.images))
            if nowhere and "image" not in given.columns.given:
                changes["columns"] = _without_photos(changes["columns"])
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON's types."""
        settings = asdict(self)
        for name in ("attributes", "keep"):
            settings["columns"][name] = list(getattr(self.columns, name))
        return settings

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Reading:
        """Read what `to_json` gave. Raises CatalogueError for anything else."""
        try:
            columns = dict(settings["columns"])
            columns["attributes"] = tuple(columns["attributes"])
            # Settings stored by version 0.1 have none.
            columns["keep"] = tuple(columns.get("keep", ()))
            fetching = Fetching(**settings.get("fetching", {}))
            # Version 0.1 had no way to say that none was given.
            encoding = None if settings.get("encoding") == "utf-8" else settings.get("encoding")
            made = {"columns": Columns(**columns), "fetching": fetching, "encoding": encoding}
            return cls(**{**settings, **made})
        except (KeyError, TypeError, ValueError) as err:
            raise CatalogueError(f"these are no settings of a catalogue: {err}") from err


class Catalogue:
    """Products in the file at `path`; made by `read` or `open`, and read with `batches`.

    Attributes:
        path: the file, or the directory or range of files.
        reading: how it is read, for a store to remember.
        images: the source of photos; None where there are none.
        photos_error: why there are none, where they could not be opened and need not be.
    """

    def __init__(
        self,
        path: Path,
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
            # Collected without `close`, a catalogue still lets go of its archive in good order.
            weakref.finalize(self, images.close)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        images: str | Path | None = None,
        image_template: str | None = None,
        photos: int = 1,
        columns: Columns = DEFAULT_COLUMNS,
        delimiter: str | None = None,
        encoding: str | None = None,
        fetching: Fetching | None = None,
        category_separator: str | None = None,
    ) -> Catalogue:
        """Open a catalogue: a marketplace's Parquet, a table, a YML feed or a WebDataset.

        A table is Parquet, CSV, JSON or a spreadsheet. A WebDataset is tar archives (one, a
        directory of them, or a range such as `part-{000..012}.tar`) that hold the photos too.

        Cheap for Parquet, of which only columns of category names and of kept texts are read
        here. Any other file is gone through once to learn the type of its ids and the form of
        its category paths, and tar archives to learn where their files stand. A feed names its
        parts itself, so `columns` and `delimiter` say nothing of it; its encoding is found out by
        its bytes unless `encoding` names it. The location of `images` is remembered as an
        absolute path.

        Raises:
            CatalogueError: the file can't be read, or lacks a column.
            ImageSourceError: the photos can't be found.
        """
        options = ReadingOptions(
            images=None if images is None else str(images),
            image_template=image_template,
            photos=photos,
            columns=columns,
            delimiter=delimiter,
            encoding=encoding,
            category_separator=category_separator,
        )
        reading = Reading(fetching=fetching or DEFAULT_FETCHING).with_options(options)
        return cls.open(path, reading, ALL_NEEDED)

    @classmethod
    def open(cls, path: str | Path, reading: Reading, needs: Needs = LABELS_OPTIONAL) -> Catalogue:
        """Open another file as `reading` tells, which came from an earlier catalogue.

        As `read`, but what is optional by `needs` may be absent: the columns of categories, which
        a new batch does not have yet, or all that a store remembers. `missing` and `photos_error`
        list what is absent.
        """
        path = Path(path)
        if reading.photos < 1:
            raise CatalogueError(f"{path}: --photos must be at least 1, not {reading.photos}")
        options = TableOptions(
            reading.columns, reading.delimiter, reading.encoding, reading.category_separator
        )
        reader = open_reader(path, options, needs)
        if isinstance(reader, TableReader):
            # Later files are split alike, however few paths they hold.
            reading = replace(reading, category_separator=reader.category_separator)
        images, fault = None, None
        try:
            images = _open_images(path, reading, reader, needs)
        except (CatalogueError, ImageSourceError) as err:
            # A folder that is empty yet may be filled before it is read.
            filled = not (isinstance(err, PhotosNotFoundError) and err.empty)
            if needs.photos and filled:
                raise
            if needs.photos and reading.images is not None:
                images = _open_named(path, reading, reading.images, ())
            fault = err
        opened = cls(path, reading, reader, images)
        opened.photos_error = fault
        return opened

    def check_photos(self) -> None:
        """Raise PhotosNotFoundError if there is a place for photos, but none in it."""
        if isinstance(self.photos_error, PhotosNotFoundError):
            raise self.photos_error

    @property
    def id_type(self) -> IdType:
        """The type of every product's id, `int` or `str`."""
        return self._reader.id_type

    @property
    def has_categories(self) -> bool:
        """Whether the file has a column of category ids."""
        return self._reader.has_categories

    @property
    def category_type(self) -> IdType | None:
        """The type of every category's id; None where the file names no category."""
        return self._reader.category_type

    @property
    def integer_ids(self) -> bool:
        """Whether every product id can be read as an integer without loss."""
        return self._reader.integer_ids

    @property
    def integer_categories(self) -> bool:
        """Whether every category id can be read as an integer without loss."""
        return self._reader.integer_categories

    @property
    def source(self) -> str | None:
        """The name that the file gives of where its products come from: a feed's shop."""
        return self._reader.source

    @property
    def has_text(self) -> bool:
        """Whether the file has a title, description or attributes of its products."""
        return self._reader.has_text

    @property
    def missing(self) -> Missing:
        """The columns that are named in `reading` and are not in the file."""
        return self._reader.missing

    def check_complete(self) -> None:
        """Raise the error of a missing column or missing photos that `open` let pass.

        Columns of categories may be missing. Raises CatalogueError, ImageSourceError.
        """
        if (missing := self.missing.of(self.missing.fields - LABELS)).columns:
            raise missing.error()
        # What photos are there matters only where they are looked at; see `check_photos`.
        if self.photos_error and not isinstance(self.photos_error, PhotosNotFoundError):
            raise self.photos_error

    @property
    def notes(self) -> Sequence[str]:
        """How the file was read, where its owner may want to know; one sentence each."""
        return self._reader.notes

    @property
    def label_hint(self) -> str:
        """Why no product of a table can have a label, and the way out; "" where some can."""
        return self._reader.label_hint if isinstance(self._reader, TableReader) else ""

    @property
    def repairs(self) -> Mapping[str, int]:
        """What was mended in the file, and how often; whole once `batches` has ended."""
        return self._reader.repairs

    def batches(self, size: int = 4096) -> Iterator[Batch]:
        """Stream all rows, at most `size` in a batch; called again, it starts over.

        Every row of the file is in exactly one batch, as a product or as a rejection; of rows
        with the same id, the first good one is the product.

        Raises:
            CatalogueError: the file turns out damaged on the way.
        """
        rows = self._reader.rows()
        seen = IdSet()
        while chunk := _chunk(rows, size):
            yield _batch(chunk, seen)

    def close(self) -> None:
        """Close the source of photos, if there is one."""
        if self.images is not None:
            self.images.close()


def _chunk(rows: Iterator[Product | Rejection], size: int) -> list[Product | Rejection]:
    """The next rows, at most `size`, and fewer where their text is long."""
    chunk: list[Product | Rejection] = []
    length = 0
    for row in islice(rows, size):
        chunk.append(row)
        if isinstance(row, Product):
            length += len(row.title) + len(row.description)
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


def _open_images(path: Path, reading: Reading, reader: Reader, needs: Needs) -> ImageSource | None:
    # A place that is only remembered is no contradiction.
    contradicts = reading.images is not None and needs.photos
    if reader.image_bytes is not None:
        return _open_column(path, reader.image_bytes, reading, reader, contradicts=contradicts)
    if isinstance(reader, WebDatasetReader) and reader.holds_photos:
        if contradicts:
            raise CatalogueError(
                f"{path}: the archives hold the photos themselves; leave out --images, or say "
                "--images none where the store remembers another place"
            )
        return reader.images(reading.photos)
    # A feed names its photos itself, whatever column has them in tables.
    named = isinstance(reader, TableReader) and "image" not in reader.missing.fields
    names = (reading.columns.image or None) if named else None
    if reading.images is None:
        if names is not None:
            raise CatalogueError(
                f"{path}: column {names!r} holds names of photos; "
                f"say where the photos are with --images (if they are URLs, --images {WEB})"
            )
        return None
    rows = islice(reader.rows(), IMAGE_SAMPLE)
    sample = [row for row in rows if isinstance(row, Product)]
    return _open_named(path, reading, reading.images, sample, detect=names is None)


def _open_named(
    path: Path,
    reading: Reading,
    location: str,
    sample: Sequence[Product],
    *,
    detect: bool = True,
) -> ImageSource:
    return open_images(
        location,
        template=reading.image_template,
        photos=reading.photos,
        sample=sample,
        splits=tuple(dict.fromkeys((_stem(path), *_SPLITS))),
        fetching=reading.fetching,
        # Where a column names the photos, there is no template to find out.
        detect=detect,
    )


def _open_column(
    path: Path, column: str, reading: Reading, reader: Reader, *, contradicts: bool
) -> ImageSource:
    """The photos in a column, with `--images` for those that it only names.

    contradicts: whether a place for photos is given, which a column of bytes leaves no need for.
    """
    if path.is_dir():
        raise CatalogueError(
            f"{path}: photos in a column are read from one Parquet file, not from a directory"
        )
    images = ColumnImages(path, column, reading.photos)
    try:
        name = images.some_name(IMAGE_SAMPLE)
        if reading.images is None or (name is None and not contradicts):
            if name is not None:
                raise CatalogueError(
                    f"{path}: column {column!r} only names the photos ({name!r}) and doesn't hold "
                    "them; say where they are with --images"
                )
            return images
        if not images.names_photos:
            raise CatalogueError(
                f"{path}: column {column!r} holds the photos themselves; leave out --images, or "
                "say --images none where the store remembers another place"
            )
        images.named = _open_named(path, reading, reading.images, ())
        sample = [row for row in islice(reader.rows(), IMAGE_SAMPLE) if isinstance(row, Product)]
        if name is not None and not any(images.references(product) for product in sample):
            reason = next(filter(None, map(images.not_found, sample)), "")
            raise PhotosNotFoundError(
                f"{reading.images}: none of the photos that the first rows of {path} name is "
                f"there ({reason}); say where they are with --images"
            )
    except (CatalogueError, ImageSourceError):
        images.close()
        raise
    return images


def _stem(path: Path) -> str:
    """`train` of train.parquet, train.csv.gz and a directory train."""
    return path.name.split(".")[0] or path.name


def _without_photos(columns: Columns) -> Columns:
    """The columns without the one that has photos or their names, which asks where they are."""
    return columns if columns.image is None else replace(columns, image=NO_COLUMN)


def _absolute(location: str | Path) -> str | Path:
    elsewhere = str(location) == WEB or "://" in str(location)
    return location if elsewhere else Path(location).expanduser().absolute()
