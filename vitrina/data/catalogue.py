"""The catalogue: a file of products, and where their photos are, read as a stream."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vitrina.data.product import Batch, Product, Rejection
from vitrina.data.readers import DEFAULT_COLUMNS, Columns, IdType, Reader, TableOptions
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
from vitrina.errors import CatalogueError
from vitrina.ids import IdSet, id_keys

IMAGE_SAMPLE = 1000
"""Rows looked at to find out how photos are named."""

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
    """

    columns: Columns = DEFAULT_COLUMNS
    delimiter: str | None = None
    encoding: str | None = None
    images: str | None = None
    image_template: str | None = None
    photos: int = 1
    fetching: Fetching = DEFAULT_FETCHING

    def with_options(
        self,
        *,
        columns: Columns = DEFAULT_COLUMNS,
        delimiter: str | None = None,
        encoding: str | None = None,
        images: str | Path | None = None,
        image_template: str | None = None,
        photos: int | None = None,
        fetching: Fetching | None = None,
    ) -> Reading:
        """The same, with what is given put in its place; `images="none"` takes them away."""
        named = {name: value for name, value in vars(columns).items() if value not in (None, ())}
        reading = replace(
            self,
            columns=replace(self.columns, **named),
            delimiter=delimiter or self.delimiter,
            encoding=encoding or self.encoding,
            image_template=image_template or self.image_template,
            photos=self.photos if photos is None else photos,
            fetching=fetching or self.fetching,
        )
        if images is None:
            return reading
        where = None if str(images) == "none" else str(_absolute(images))
        # Photos elsewhere may be named otherwise.
        return replace(reading, images=where, image_template=image_template)

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
    """

    def __init__(
        self, path: Path, reading: Reading, reader: Reader, images: ImageSource | None
    ) -> None:
        self.path = path
        self.reading = reading
        self.images = images
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
    ) -> Catalogue:
        """Open a catalogue: a marketplace's Parquet, a table, a YML feed or a WebDataset.

        A table is Parquet, CSV or JSONL; a WebDataset is tar archives (one, a directory of
        them, or a range such as `part-{000..012}.tar`) that hold the photos too.

        Cheap, except that a CSV file or a feed is gone through once to learn whether its ids
        are integers, and tar archives to learn where their files stand. A feed names its parts
        itself, so `columns` and `delimiter` say nothing of it; its encoding is found out by its
        bytes unless `encoding` names it. The location of `images` is remembered as an absolute
        path.

        Raises:
            CatalogueError: the file can't be read, or lacks a column.
            ImageSourceError: the photos can't be found.
        """
        reading = Reading(
            columns=columns,
            delimiter=delimiter,
            encoding=encoding,
            images=None if images is None else str(_absolute(images)),
            image_template=image_template,
            photos=photos,
            fetching=fetching or DEFAULT_FETCHING,
        )
        return cls._open(Path(path), reading, labels_needed=True)

    @classmethod
    def open(cls, path: str | Path, reading: Reading, *, labels_needed: bool = False) -> Catalogue:
        """Open another file as `reading` tells, which came from an earlier catalogue.

        As `read`, but unless `labels_needed` the columns of categories may be absent: a new
        batch has none yet.
        """
        return cls._open(Path(path), reading, labels_needed=labels_needed)

    @classmethod
    def _open(cls, path: Path, reading: Reading, *, labels_needed: bool) -> Catalogue:
        if reading.photos < 1:
            raise CatalogueError(f"{path}: --photos must be at least 1, not {reading.photos}")
        options = TableOptions(reading.columns, reading.delimiter, reading.encoding)
        reader = open_reader(path, options, labels_needed=labels_needed)
        return cls(path, reading, reader, _open_images(path, reading, reader))

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
    def notes(self) -> Sequence[str]:
        """How the file was read, where its owner may want to know; one sentence each."""
        return self._reader.notes

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
        while chunk := list(islice(rows, size)):
            yield _batch(chunk, seen)

    def close(self) -> None:
        """Close the source of photos, if there is one."""
        if self.images is not None:
            self.images.close()


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


def _open_images(path: Path, reading: Reading, reader: Reader) -> ImageSource | None:
    column = reader.image_bytes
    if column is not None:
        if reading.images is not None:
            raise CatalogueError(
                f"{path}: column {column!r} holds the photos themselves; leave out --images"
            )
        if path.is_dir():
            raise CatalogueError(
                f"{path}: photos in a column are read from one Parquet file, not from a directory"
            )
        return ColumnImages(path, column, reading.photos)
    if isinstance(reader, WebDatasetReader) and reader.holds_photos:
        if reading.images is not None:
            raise CatalogueError(
                f"{path}: the archives hold the photos themselves; leave out --images, or say "
                "--images none where the store remembers another place"
            )
        return reader.images(reading.photos)
    if reading.images is None:
        if reading.columns.image is not None:
            raise CatalogueError(
                f"{path}: column {reading.columns.image!r} holds names of photos; "
                f"say where the photos are with --images (if they are URLs, --images {WEB})"
            )
        return None
    # Where a column names the photos, there is no template to find out.
    named = reading.columns.image is not None and reading.image_template is None
    rows = islice(reader.rows(), 0 if named else IMAGE_SAMPLE)
    return open_images(
        reading.images,
        template=reading.image_template,
        photos=reading.photos,
        sample=[row for row in rows if isinstance(row, Product)],
        splits=tuple(dict.fromkeys((_stem(path), *_SPLITS))),
        fetching=reading.fetching,
    )


def _stem(path: Path) -> str:
    """`train` of train.parquet, train.csv.gz and a directory train."""
    return path.name.split(".")[0] or path.name


def _absolute(location: str | Path) -> str | Path:
    elsewhere = str(location) == WEB or "://" in str(location)
    return location if elsewhere else Path(location).expanduser().absolute()
