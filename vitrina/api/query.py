"""Queries about products: their neighbours and categories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vitrina.api.keywords import with_keywords
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.pipelines.classify.options import ClassifyOptions
from vitrina.pipelines.common.reading import open_as_remembered
from vitrina.pipelines.index.options import QueryOptions
from vitrina.store.store import OpenStore

if TYPE_CHECKING:
    import pyarrow as pa

    from vitrina.pipelines.classify.predictor import ClassifyReport
    from vitrina.pipelines.index.batch_queries import QueriesReport
    from vitrina.pipelines.index.neighbours import NeighbourProduct
    from vitrina.tables.destination import Destination


@with_keywords(QueryOptions)
def neighbours_to(
    store: OpenStore, queries: str | Path, out: str | Path, options: QueryOptions
) -> QueriesReport:
    """Find the neighbours of many products and write them to a file or a table of a database.

    It has a row per neighbour: `query`, `rank` from 1, `product_id`, `score`, `category_id` and
    `category_name`, in the order of the queries; formats for people have the neighbour's `title`
    too. Queries that can't be searched for are listed in a file beside it.

    Parameters
    ----------
    store : Store
        Store with the index.
    queries : str or Path
        Parquet file or database's query with a single column of ids, for products of the store; or
        new products, in the format of the catalogue.
    out : str or Path
        File to write (.parquet, .csv, .xlsx, .jsonl), or a database's URL.
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
        id_records,
        neighbours_of_batch,
        neighbours_of_ids,
    )

    if ids := id_records(store, queries, options.reading):
        records, column = ids
        return neighbours_of_ids(store, records, out, options, column)
    reading = options.reading
    if options.images is not None:
        reading = replace(reading, images=options.images)
    with closing(open_batch(queries, store, reading)) as opened:
        return neighbours_of_batch(store, opened, out, options)


def write_neighbours(store: OpenStore, found: Sequence[NeighbourProduct], out: Destination) -> None:
    """Write the neighbours of one query to a file or to a table of a database."""
    from vitrina.pipelines.index.neighbour_table import write_neighbours as run

    run(store, found, out)


@with_keywords(ClassifyOptions)
def classify(catalogue: Catalogue, store: OpenStore, options: ClassifyOptions) -> pa.Table:
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
    pyarrow.Table
        A row per product, in input order.

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

    return run(catalogue, store, options)[0]


@with_keywords(ClassifyOptions)
def classify_to(
    catalogue: Catalogue, store: OpenStore, out: str | Path, options: ClassifyOptions
) -> ClassifyReport:
    """Classify a batch of any size into a file or a table of a database.

    CSV, Excel and databases have flat columns: the prediction, its product's `title`, the second
    and third category, the vote, and the neighbours and reasons as text.

    Parameters
    ----------
    catalogue : Catalogue
        The batch, from `open_batch`.
    store : Store
        Store with the head.
    out : str or Path
        File to write (.parquet, .csv, .xlsx, .jsonl; .csv.gz), or a database's URL.
    {options}

    Returns
    -------
    ClassifyReport
        Counts of products, and notes on what the batch lacks.

    Raises
    ------
    CatalogueError
        If the file or the table can't be written.
    OptionError
        If the file's name ends otherwise.
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

    return run(catalogue, store, out, options)


# A checker of types can't add `complete` to the keywords of the options.
_reading_keywords: Callable[[Callable[..., Catalogue]], Callable[..., Catalogue]] = with_keywords(
    ReadingOptions
)


@_reading_keywords
def open_batch(
    path: str | Path,
    store: OpenStore,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    *,
    complete: bool = False,
) -> Catalogue:
    """Open a file of products as the store remembers its catalogue, except for the options given.

    Columns and photos given here must exist. Those that the store remembers may be absent;
    `classify` and `neighbours_to` work without them where they can.

    Parameters
    ----------
    path : str or Path
        File of products, or a database's URL (see `query`).
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
