"""Queries about products: their neighbours and categories."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrina.api.enums import member
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import DEFAULT_COLUMNS, DEFAULT_OPTIONS, Columns, ReadingOptions
from vitrina.pipelines.common.reading import open_as_remembered
from vitrina.store.store import Store
from vitrina.types import Features, OutputFormat

if TYPE_CHECKING:
    import pyarrow as pa

    from vitrina.pipelines.classify.predictor import ClassifyReport
    from vitrina.pipelines.index.batch_queries import QueriesReport
    from vitrina.types import CategoryId


def neighbours_to(
    store: Store,
    queries: str | Path,
    out: str | Path,
    *,
    features: str | None = None,
    k: int = 10,
    category: CategoryId | None = None,
    where: Sequence[str] = (),
    no_duplicates: bool = False,
    other_shops: bool = False,
    images: str | Path | None = None,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    quiet: bool = True,
) -> QueriesReport:
    """Find the neighbours of many products and write them to a Parquet file.

    The file has a row for each neighbour: `query`, `rank` from 1, `product_id`, `score`,
    `category_id` and `category_name`, in the order of the queries. Queries that can't be searched
    for are listed in a file beside it.

    Args:
        store: with the index.
        queries: a Parquet file with a single column of ids, for products of the store; or a file
            of new products, in the format of the catalogue.
        out: the file to write.
        features: "text", "image" or "fused"; None for the fused index, or the only one.
        k: neighbours of each query.
        category, where, no_duplicates, other_shops: as in `Index.search`.
        images: location of new products' photos; None for the one that the store remembers.
        reading: how the file of queries is read, where that differs from what the store remembers.
        quiet: print no progress.

    Raises CatalogueError, ImageSourceError, StoreError.
    """
    from vitrina.pipelines.index.batch_queries import (
        QueryOptions,
        id_column,
        neighbours_of_batch,
        neighbours_of_ids,
    )
    from vitrina.pipelines.index.neighbours import SearchFilter
    from vitrina.store.filters import Condition

    options = QueryOptions(
        features=member(Features, features),
        k=k,
        only=SearchFilter(category, tuple(map(Condition.parse, where)), no_duplicates, other_shops),
        quiet=quiet,
    )
    if column := id_column(store, Path(queries), reading.columns):
        return neighbours_of_ids(store, Path(queries), Path(out), options, column)
    with closing(open_batch(queries, store, reading, images=images)) as batch:
        return neighbours_of_batch(store, batch, Path(out), options)


def classify(
    catalogue: Catalogue, store: Store, *, model: str | None = None, neighbours: int = 10
) -> pa.Table:
    """Classify a batch that fits in memory. Returns one row per product, in input order.

    Raises StoreError if there is no head, FingerprintError if an encoder has changed since.
    """
    from vitrina.pipelines.classify.job import classify as run
    from vitrina.pipelines.classify.predictor import ClassifyOptions

    return run(catalogue, store, ClassifyOptions(model=model, neighbours=neighbours))[0]


def classify_to(
    catalogue: Catalogue,
    store: Store,
    out: str | Path,
    *,
    model: str | None = None,
    format: str = "full",
    top_k: int = 5,
    neighbours: int = 10,
    quiet: bool = True,
) -> ClassifyReport:
    """Classify a batch of any size into a file. format: "full" or "submission"."""
    from vitrina.pipelines.classify.job import classify_to as run
    from vitrina.pipelines.classify.predictor import ClassifyOptions

    options = ClassifyOptions(
        model=model,
        format=member(OutputFormat, format) or OutputFormat.FULL,
        top_k=top_k,
        neighbours=neighbours,
        quiet=quiet,
    )
    return run(catalogue, store, Path(out), options)


def open_batch(
    path: str | Path,
    store: Store,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    *,
    images: str | Path | None = None,
    image_template: str | None = None,
    photos: int | None = None,
    columns: Columns = DEFAULT_COLUMNS,
    delimiter: str | None = None,
    encoding: str | None = None,
    fetchers: int | None = None,
    allow_private: bool | None = None,
    category_separator: str | None = None,
    source: str | None = None,
    max_megapixels: int | None = None,
    complete: bool = False,
) -> Catalogue:
    """Open a file of products as the store remembers its catalogue, except for the options given.

    Columns and photos given here must exist. Those that the store remembers may be absent;
    `classify` and `neighbours_to` work without them where they can.

    Args:
        path: the file.
        store: provides the options by which its catalogue was read.
        reading: the options given, as one value.
        images: location of the photos; None for that of the catalogue's, "none" for no photos,
            "web" for the URLs in the file.
        image_template, photos, columns, delimiter, encoding, fetchers, allow_private,
            category_separator, source, max_megapixels: single fields of `reading`; see
            `ReadingOptions`.
        complete: refuse a file that lacks anything the store remembers, except categories, as
            `embed` does.

    Raises CatalogueError, ImageSourceError.
    """
    given = {
        "images": None if images is None else str(images),
        "image_template": image_template,
        "photos": photos,
        "columns": columns if columns.given else None,
        "delimiter": delimiter,
        "encoding": encoding,
        "fetchers": fetchers,
        "allow_private": allow_private,
        "category_separator": category_separator,
        "source": source,
        "max_megapixels": max_megapixels,
    }
    named: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return open_as_remembered(store, Path(path), replace(reading, **named), complete=complete)
