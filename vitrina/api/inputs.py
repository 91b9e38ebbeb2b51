"""Inputs of the public functions: a store by its place, a catalogue by its file or table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from vitrina.data.catalogue import Catalogue
from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.errors import OptionError
from vitrina.pipelines.common.reading import open_as_remembered
from vitrina.store.history import newest
from vitrina.store.store import OpenStore

StoreLike: TypeAlias = str | os.PathLike[str] | OpenStore
"""A store: the directory or URL, or the open store."""


class ArrowStream(Protocol):
    """A table of the Arrow PyCapsule interface, such as a DataFrame of pandas or Polars."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the table as a stream of Arrow batches."""


TableLike: TypeAlias = str | os.PathLike[str] | ArrowStream | Sequence[Mapping[str, Any]]
"""A file of products, or a table of them in memory."""

CatalogueLike: TypeAlias = TableLike | Catalogue
"""A catalogue: the file, the table in memory, or the open catalogue."""


def as_store(
    store: StoreLike,
    *,
    create: bool = False,
    damaged_too: bool = False,
    options: dict[str, Any] | None = None,
) -> OpenStore:
    """Return the open store, or open the one at a place.

    create, damaged_too, options: as of `OpenStore.open`. Raises OptionError for another type,
    StoreError if there is no store.
    """
    if isinstance(store, OpenStore):
        return store
    if isinstance(store, (str, os.PathLike)):
        return OpenStore.open(
            os.fspath(store), create=create, damaged_too=damaged_too, options=options
        )
    swapped = "; the catalogue comes before the store" if isinstance(store, Catalogue) else ""
    raise OptionError("store", f"must be a path, a URL or a Store, not {_kind(store)}{swapped}")


def reopened(
    store: StoreLike, *, damaged_too: bool = False, options: dict[str, Any] | None = None
) -> OpenStore:
    """Open a store at its newest commit, even if it is open at another one.

    damaged_too, options: as of `OpenStore.open`; an open store keeps its own options.
    """
    if isinstance(store, OpenStore):
        return OpenStore(store.files, newest(store.files, damaged_too=damaged_too))
    return as_store(store, damaged_too=damaged_too, options=options)


@contextmanager
def as_catalogue(
    catalogue: CatalogueLike,
    store: OpenStore,
    images: str | Path | None = None,
    reading: ReadingOptions | None = None,
    *,
    complete: bool = False,
) -> Iterator[Catalogue]:
    """Yield the open catalogue, or open a file or a table as the store remembers its catalogue,
    except for the options given, and close it at the end.

    images: overrides that of `reading`. complete: as of `open_batch`.

    Raises CatalogueError for another type, OptionError for options that an open catalogue can't
    follow.
    """
    if isinstance(catalogue, OpenStore):
        raise OptionError(
            "catalogue", "must be a file or a Catalogue, not a Store; it comes before the store"
        )
    if isinstance(catalogue, Catalogue):
        if images is not None or reading not in (None, DEFAULT_OPTIONS):
            raise OptionError(
                "reading" if images is None else "images",
                "applies to a file, not to an open catalogue; give it to Catalogue.read",
            )
        yield catalogue
        return
    if catalogue is None:
        raise OptionError("catalogue", "must be a file, a table or a Catalogue, not None")
    reading = reading or DEFAULT_OPTIONS
    if images is not None:
        reading = replace(reading, images=str(images))
    opened = open_as_remembered(store, catalogue, reading, complete=complete)
    with closing(opened):
        yield opened


def several(catalogues: CatalogueLike | Sequence[CatalogueLike]) -> list[CatalogueLike]:
    """Return the catalogues of a list or a tuple, or the one that was given alone.

    A list of dictionaries is one catalogue. Raises OptionError for None.
    """
    if isinstance(catalogues, (list, tuple)) and not any(
        isinstance(one, Mapping) for one in catalogues
    ):
        listed: list[Any] = [*catalogues]
    else:
        listed = [catalogues]
    if any(one is None for one in listed):
        raise OptionError("catalogues", "must be files, tables or Catalogues, not None")
    return listed


def _kind(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"
