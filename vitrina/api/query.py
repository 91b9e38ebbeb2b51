"""Queries about products: their neighbours and categories."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrina.api.keywords import with_keywords
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.pipelines.classify.options import ClassifyOptions
from vitrina.pipelines.common.reading import open_as_remembered
from vitrina.pipelines.index.options import QueryOptions
from vitrina.store.store import OpenStore

if TYPE_CHECKING:
    from vitrina.pipelines.classify.predictions import Predictions
    from vitrina.pipelines.classify.predictor import ClassifyReport
    from vitrina.pipelines.index.batch_queries import QueriesReport


@with_keywords(QueryOptions)
def neighbours_to(
    store: OpenStore, queries: str | Path, out: str | Path, options: QueryOptions
) -> QueriesReport:
    """Find the neighbours of many products and write them to a Parquet file.

    The file has a row per neighbour: `query`, `rank` from 1, `product_id`, `score`, `category_id`
    and `category_name`, in the order of the queries. Queries that can't be searched for are listed
    in a file beside it.

    Parameters
    ----------
    store : Store
        Store with the index.
    queries : str or Path
        Parquet file with a single column of ids, for products of the store; or a file of new
        products, in the format of the catalogue.
    out : str or Path
        Parquet file to write.
    {options}

    Returns
    -------
    QueriesReport
        Counts of queries and neighbours.

    Raises
    ------
    CatalogueError, ImageSourceError, OptionError, StoreError

    Examples
    --------
    >>> report = vt.neighbours_to(store, batch, folder / "neighbours.parquet", k=5)
    >>> report.queries
    18
    """
    from vitrina.pipelines.index.batch_queries import (
        id_column,
        neighbours_of_batch,
        neighbours_of_ids,
    )

    if column := id_column(store, Path(queries), options.reading.columns):
        return neighbours_of_ids(store, Path(queries), Path(out), options, column)
    reading = options.reading
    if options.images is not None:
        reading = replace(reading, images=options.images)
    with closing(open_batch(queries, store, reading)) as opened:
        return neighbours_of_batch(store, opened, Path(out), options)


@with_keywords(ClassifyOptions)
def classify(catalogue: Catalogue, store: OpenStore, options: ClassifyOptions) -> Predictions:
    """Classify a batch that fits in memory.

    Parameters
    ----------
    catalogue : Catalogue
        The batch, from `open_batch`.
    store : Store
        Store with the head.
    {options}

    Returns
    -------
    Predictions
        A row per product, in input order; `to_pandas`, `to_polars` and `to_arrow` give a table.

    Raises
    ------
    StoreError
        If there is no head.
    FingerprintError
        If an encoder has changed since the head was trained.

    Examples
    --------
    >>> predictions = vt.classify(vt.open_batch(batch, store), store)
    >>> predictions.column_names[:3]
    ['product_id', 'predicted_category_id', 'category_name']
    """
    from vitrina.pipelines.classify.job import classify as run

    return run(catalogue, store, options)


@with_keywords(ClassifyOptions)
def classify_to(
    catalogue: Catalogue, store: OpenStore, out: str | Path, options: ClassifyOptions
) -> ClassifyReport:
    """Classify a batch of any size into a file.

    Parameters
    ----------
    catalogue : Catalogue
        The batch, from `open_batch`.
    store : Store
        Store with the head.
    out : str or Path
        Parquet file to write; a CSV file for the format "submission" too.
    {options}

    Returns
    -------
    ClassifyReport
        Counts of products, and notes on what the batch lacks.

    Raises
    ------
    CatalogueError
        If the file can't be written.
    StoreError
        If there is no head.
    FingerprintError
        If an encoder has changed since the head was trained.

    Examples
    --------
    >>> opened = vt.open_batch(batch, store)
    >>> vt.classify_to(opened, store, folder / "out.csv", format="submission").products
    18
    """
    from vitrina.pipelines.classify.job import classify_to as run

    return run(catalogue, store, Path(out), options)


# A checker of types can't add `complete` to the keywords of the options.
_reading_keywords: Callable[[Callable[..., Catalogue]], Callable[..., Catalogue]] = with_keywords(
    ReadingOptions
)


@_reading_keywords
def open_batch(
    path: str | Path | Any,
    store: OpenStore,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    *,
    complete: bool = False,
) -> Catalogue:
    """Open a file or table of products as the store remembers its catalogue.

    Options given here take precedence over those of the store. A table is a pandas or Polars
    DataFrame, an Arrow table, dataset or stream, or a list of dictionaries; see `Catalogue.read`.

    Columns and photos given here must exist. Those that the store remembers may be absent;
    `classify` and `neighbours_to` work without them where they can.

    Parameters
    ----------
    path : str, Path, DataFrame, pyarrow.Table, list of dict, or other table
        File of products, or a table of them in memory.
    store : Store
        Store that provides the options by which its catalogue was read.
    {options}
    complete : bool, default False
        Refuse a file that lacks anything the store remembers, except categories, as `embed` does.

    Returns
    -------
    Catalogue
        The open batch.

    Raises
    ------
    CatalogueError, ImageSourceError, OptionError

    Examples
    --------
    >>> vt.open_batch(batch, store, images="none").reading.photos
    1
    """
    return open_as_remembered(store, path, reading, complete=complete)
