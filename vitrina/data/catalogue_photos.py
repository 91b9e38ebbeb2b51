"""Opening of a catalogue's photos: a given location, a column, or its own archives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from vitrina.data.product import Product
from vitrina.data.readers import Needs, Reader, TableReader
from vitrina.data.readers.webdataset import WebDatasetReader
from vitrina.data.reading import Reading
from vitrina.data.sources import WEB, ColumnImages, ImageSource, open_images
from vitrina.errors import CatalogueError, ImageSourceError, PhotosNotFoundError

IMAGE_SAMPLE = 1000
"""Number of rows sampled to detect how photos are named."""

_SPLITS = ("train", "test", "val")


def open_photos(
    path: Path | str, reading: Reading, reader: Reader, needs: Needs
) -> ImageSource | None:
    """Open the photos of a catalogue; return None if it has none.

    Raises CatalogueError for contradictory settings, ImageSourceError if the photos can't be
    opened, PhotosNotFoundError if none exists.
    """
    # A location saved in the store is no contradiction.
    contradicts = reading.images is not None and needs.photos
    if reader.image_bytes is not None:
        return _open_column(path, reader.image_bytes, reading, reader, contradicts=contradicts)
    if isinstance(reader, WebDatasetReader) and reader.holds_photos:
        if contradicts:
            raise CatalogueError(
                f"{path}: the archives hold the photos themselves; leave out --images, or say "
                "--images none if the store has recorded another location"
            )
        return reader.images(reading.photos)
    # A feed names its photos itself, so a table's image column does not apply.
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
    return open_named_photos(path, reading, reading.images, sample, detect=names is None)


def open_named_photos(
    path: Path | str,
    reading: Reading,
    location: str,
    sample: Sequence[Product],
    *,
    detect: bool = True,
) -> ImageSource:
    """Open photos that are found by name.

    sample: products used to detect the names' template. detect: whether to try templates. Raises
    ImageSourceError, PhotosNotFoundError.
    """
    return open_images(
        location,
        template=reading.image_template,
        photos=reading.photos,
        sample=sample,
        splits=tuple(dict.fromkeys((_stem(path), *_SPLITS))),
        fetching=reading.fetching,
        # If a column names the photos, there is no template to detect.
        detect=detect,
    )


def _open_column(
    path: Path | str, column: str, reading: Reading, reader: Reader, *, contradicts: bool
) -> ImageSource:
    """Open the photos in a column, with `--images` for those that the column only names.

    contradicts: whether a photo location is given, which contradicts a column of bytes.
    """
    if isinstance(path, Path) and path.is_dir():
        raise CatalogueError(
            f"{path}: photos in a column are read from one Parquet file, not from a directory"
        )
    file = reader.image_file or path
    images = ColumnImages(file, column, reading.photos, shown=str(path))
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
                "say --images none if the store has recorded another location"
            )
        images.named = open_named_photos(path, reading, reading.images, ())
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


def _stem(path: Path | str) -> str:
    """Return `train` for train.parquet, train.csv.gz and a directory train."""
    path = Path(path)
    return path.name.split(".")[0] or path.name
