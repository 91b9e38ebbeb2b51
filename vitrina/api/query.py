"""Queries about products: their neighbours and categories."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from vitrina.api.inputs import CatalogueLike, StoreLike, TableLike, as_catalogue, as_store
from vitrina.api.keywords import with_keywords
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.errors import OptionError
from vitrina.pipelines.classify.options import ClassifyOptions
from vitrina.pipelines.common.reading import open_as_remembered
from vitrina.pipelines.index.options import QueryOptions, SearchOptions
from vitrina.types import ProductId

if TYPE_CHECKING:
    from vitrina.pipelines.classify.predictions import Predictions
    from vitrina.pipelines.classify.predictor import ClassifyReport
    from vitrina.pipelines.index.batch_queries import QueriesReport
    from vitrina.pipelines.index.neighbour_products import NeighbourProduct, NeighbourTable
    from vitrina.tables.destination import Destination

_DEFAULT_SEARCH = SearchOptions()


@with_keywords(SearchOptions)
def neighbours(
    store: StoreLike,
    text: str | None = None,
    options: SearchOptions = _DEFAULT_SEARCH,
    *,
    product: ProductId | None = None,
    image: str | Path | object | None = None,
) -> NeighbourTable:
    """Find the nearest products of a text, of an image, of both, or of a product of the store.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, with the index.
    text : str, optional
        Any text, such as a title or what a customer searches for. An index of photos alone is
        searched by the text tower of the model that encoded them, if it has one.
    {options}
    product : int or str, optional
        Id of a product of the index, which is not its own neighbour; instead of a text or an image.
    image : str, Path, bytes, PIL image or array, optional
        Image file, its bytes, or the image itself, as PIL's or as (h, w, 3) uint8 pixels.

    Returns
    -------
    NeighbourTable
        The nearest first, with title, category and score; rows are `NeighbourProduct`.

    Raises
    ------
    ImageSourceError
        If the image can't be used.
    OptionError
        If there is nothing to search for, or a product together with a text or an image.
    StoreError
        If there is no such index, the product is not in it, or it is one of photos whose model has
        no text tower.

    Examples
    --------
    >>> near = vt.neighbours(store, "красная кружка", k=3)
    >>> len(near), near[0].score >= near[1].score
    (3, True)
    >>> next_one = vt.neighbours(store, product=near[0].product_id, k=1)[0]
    >>> next_one.product_id != near[0].product_id
    True
    """
    from vitrina.pipelines.index.neighbours import Index

    if text is None and image is None and product is None:
        raise OptionError("text", "must be given, or product or image")
    if product is not None and (text is not None or image is not None):
        raise OptionError("product", "must not be given together with a text or an image")
    if product is None and (options.no_duplicates or options.other_shops):
        name = "no_duplicates" if options.no_duplicates else "other_shops"
        raise OptionError(name, "needs a product to compare with")
    return Index.kept(as_store(store), options.features).search(
        product=product,
        text=text,
        image=image,
        k=options.k,
        category=options.category,
        where=options.where,
        no_duplicates=options.no_duplicates,
        other_shops=options.other_shops,
    )


@with_keywords(QueryOptions)
def neighbours_to(
    store: StoreLike, queries: CatalogueLike, out: str | Path, options: QueryOptions
) -> QueriesReport:
    """Find the neighbours of many products and write them to a file or a table of a database.

    It has a row per neighbour: `query`, `rank` from 1, `product_id`, `score`, `category_id` and
    `category_name`, in the order of the queries; formats for people have the neighbour's `title`
    too. Queries that can't be searched for are listed in a file beside it.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, with the index.
    queries : str, Path, Catalogue, DataFrame or other table
        Parquet file or database's query with a single column of ids, for products of the store; or
        new products: a file or a table in the format of the catalogue, or an open catalogue.
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

    opened = as_store(store)
    if isinstance(queries, (str, PathLike)):
        place = queries if isinstance(queries, str) else Path(queries)
        if ids := id_records(opened, place, options.reading):
            records, column = ids
            return neighbours_of_ids(opened, records, out, options, column)
    with as_catalogue(queries, opened, options.images, options.reading) as products:
        return neighbours_of_batch(opened, products, out, options)


def write_neighbours(store: StoreLike, found: Iterable[NeighbourProduct], out: Destination) -> None:
    """Write the neighbours of one query to a file or to a table of a database."""
    from vitrina.pipelines.index.neighbour_table import write_neighbours as run

    run(as_store(store), found, out)


@with_keywords(ClassifyOptions)
def classify(
    catalogue: CatalogueLike,
    store: StoreLike,
    options: ClassifyOptions,
    *,
    images: str | Path | None = None,
    reading: ReadingOptions | None = None,
) -> Predictions:
    """Classify a batch that fits in memory.

    Parameters
    ----------
    catalogue : Catalogue, str, Path, DataFrame or other table
        The batch, from `open_batch`, or its file or table, read as the store remembers its
        catalogue, except for the options given.
    store : Store, str or Path
        Store, or its directory or URL, with the head.
    {options}
    images : str or Path, optional
        Location of the photos of a file, as of `ReadingOptions`.
    reading : ReadingOptions, optional
        Options of reading a file, such as the names of its columns.

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
    >>> predictions = vt.classify(batch, store)
    >>> predictions.column_names[:3]
    ['product_id', 'predicted_category_id', 'category_name']
    """
    from vitrina.pipelines.classify.job import classify as run

    opened = as_store(store)
    with as_catalogue(catalogue, opened, images, reading) as products:
        return run(products, opened, options)


@with_keywords(ClassifyOptions)
def classify_to(
    catalogue: CatalogueLike,
    store: StoreLike,
    out: str | Path,
    options: ClassifyOptions,
    *,
    images: str | Path | None = None,
    reading: ReadingOptions | None = None,
) -> ClassifyReport:
    """Classify a batch of any size into a file or a table of a database.

    CSV, Excel and databases have flat columns: the prediction, its product's `title`, the second
    and third category, the vote, and the neighbours and reasons as text.

    Parameters
    ----------
    catalogue : Catalogue, str, Path, DataFrame or other table
        The batch, from `open_batch`, or its file or table, read as the store remembers its
        catalogue, except for the options given.
    store : Store, str or Path
        Store, or its directory or URL, with the head.
    out : str or Path
        File to write (.parquet, .csv, .xlsx, .jsonl; .csv.gz), or a database's URL.
    {options}
    images : str or Path, optional
        Location of the photos of a file, as of `ReadingOptions`.
    reading : ReadingOptions, optional
        Options of reading a file, such as the names of its columns.

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
    >>> vt.classify_to(batch, store, folder / "out.csv", format="submission").products
    18
    """
    from vitrina.pipelines.classify.job import classify_to as run

    opened = as_store(store)
    with as_catalogue(catalogue, opened, images, reading) as products:
        return run(products, opened, out, options)


@with_keywords(ReadingOptions)
def open_batch(
    path: TableLike,
    store: StoreLike,
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
        File of products, a table of them in memory, or a database's URL (see `query`).
    store : Store, str or Path
        Store, or its directory or URL, that provides the options by which its catalogue was
        read.
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
    return open_as_remembered(as_store(store), path, reading, complete=complete)
