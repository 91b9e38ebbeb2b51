"""Opening of the photos of a table in memory: in a column, in the files it names, or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from vitrina.data.photo_names import parse_references
from vitrina.data.photo_values import is_photo, name_of, photos_in
from vitrina.data.product import Product
from vitrina.data.readers import Needs, TableReader
from vitrina.data.readers.memory import InMemory
from vitrina.data.reading import Reading
from vitrina.data.sources import WEB, ImageSource, open_images
from vitrina.data.sources.memory_images import LocalImages, MemoryImages, below, common_root
from vitrina.errors import CatalogueError

PHOTO_COLUMNS = ("image", "images")
"""Columns that are taken for photos if none is named."""
IMAGE_SAMPLE = 1000
"""Number of rows sampled to see what a column holds."""


def with_photo_column(
    records: InMemory, reading: Reading, needs: Needs
) -> tuple[Reading, list[str]]:
    """Take the column `image` or `images` for photos if the user named no other place.

    Only a column that holds photos, or paths; URLs are fetched only on request, `images="web"`.
    Returns the settings and notes for the user.
    """
    if not needs.find_photos or reading.columns.image is not None:
        return reading, []
    column = next((name for name in PHOTO_COLUMNS if records.names.count(name) == 1), None)
    items = _sample(records, column) if column else []
    if column is None or not items:
        return reading, []
    names = [name for name in map(name_of, items) if name]
    if names and all(map(_is_url, names)) and reading.images != WEB:
        note = f"column {column!r} has URLs, which are fetched only with images={WEB!r}"
        return reading, [note]
    if not names and not any(map(is_photo, items)):
        return reading, []
    return replace(reading, columns=replace(reading.columns, image=column)), []


def open_memory_photos(
    records: InMemory, reading: Reading, reader: TableReader, needs: Needs
) -> tuple[ImageSource | None, Reading]:
    """Open the photos; returns their source, None if there is none, and the completed settings.

    Files that a column names are read from where they are, unless the user named another place.
    Raises CatalogueError for contradictory settings, ImageSourceError
    for photos that can't be opened, PhotosNotFoundError if none is there.
    """
    column = reading.columns.image
    if column and "image" in reader.missing.fields:
        column = None
    items = _sample(records, column) if column else []
    names = [name for name in map(name_of, items) if name]
    local = names and not needs.located and _are_files(names)
    if local and column:
        reading = replace(reading, images=common_root(_all_names(records, column)))
    if reading.images is None:
        if column and names:
            _refuse_unplaced(records, column, names)
        return (
            MemoryImages(records, column, reading.photos) if column and items else None
        ), reading
    in_column = reader.image_bytes is not None
    if in_column and column and not names:
        if needs.located:
            raise CatalogueError(
                f"{records.path}: column {column!r} holds the photos themselves; leave out images="
            )
        return MemoryImages(records, column, reading.photos), reading
    rows = islice(reader.rows(), IMAGE_SAMPLE)
    sample = [row for row in rows if isinstance(row, Product)]
    placed = [below(reading.images, one) for one in sample] if local else sample
    folder: ImageSource = open_images(
        reading.images,
        template=None if local else reading.image_template,
        photos=reading.photos,
        sample=() if in_column else placed,
        splits=("train", "test", "val"),
        fetching=reading.fetching,
        detect=not names,
    )
    if local:
        folder = LocalImages(folder, reading.images)
    if not in_column or column is None:
        return folder, reading
    images = MemoryImages(records, column, reading.photos)
    images.named = folder
    return images, reading


def _sample(records: InMemory, column: str) -> list[Any]:
    """The photos in the first rows, or their names."""
    return [
        item
        for value in islice(records.values(column, 1), IMAGE_SAMPLE)
        for item in _photos_of(value)
    ]


def _photos_of(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    if isinstance(value, str):
        # A text may be a list in JSON.
        return list(parse_references(value))
    return photos_in(value)


def _all_names(records: InMemory, column: str) -> list[str]:
    values = records.values(column, 1)
    names = (name_of(item) for value in values for item in _photos_of(value))
    return [name for name in names if name and not _is_url(name)]


def _is_url(name: str) -> bool:
    return name.startswith(("http://", "https://", "//"))


def _are_files(names: Sequence[str]) -> bool:
    """Return True if one of some names is a file here."""
    return any(os.path.isfile(name) for name in names)  # noqa: PTH113


def _refuse_unplaced(records: InMemory, column: str, names: Sequence[str]) -> None:
    if any(map(_is_url, names)):
        raise CatalogueError(
            f"{records.path}: column {column!r} has URLs of photos; fetch them with "
            f'images="{WEB}", or go without by images="none"'
        )
    raise CatalogueError(
        f"{records.path}: column {column!r} names photos, such as {names[0]!r}, which is no file "
        f"in {os.getcwd()}; say where they are with images=..., or go without by "  # noqa: PTH109
        'images="none"'
    )
