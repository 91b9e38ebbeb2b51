"""What is asked about products: their neighbours, their categories."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrina.api.members import member
from vitrina.data.catalogue import Catalogue, Reading
from vitrina.data.readers import DEFAULT_COLUMNS, Columns
from vitrina.store.store import Store
from vitrina.types import Features, OutputFormat

if TYPE_CHECKING:
    import pyarrow as pa

    from vitrina.pipelines.classifier import ClassifyReport
    from vitrina.pipelines.queries import QueriesReport
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
    quiet: bool = True,
) -> QueriesReport:
    """Find the neighbours of many products, into a Parquet file.

    It has a row for each neighbour: `query`, `rank` from 1, `product_id`, `score`, `category_id`
    and `category_name`, in the queries' order. What can't be searched for is in a file beside it.

    Args:
        store: with the index.
        queries: a Parquet file with the one column `product_id` asks about products of the
            store; any other file is a batch of new products, in the catalogue's form.
        out: the file to write.
        features: "text", "image" or "fused"; None for the fused index, or the only one there is.
        k: how many neighbours of each.
        category, where, no_duplicates, other_shops: as in `Index.search`.
        images: where the photos of new products are; None for what the store remembers.
        quiet: print no progress.

    Raises CatalogueError, ImageSourceError, StoreError.
    """
    from vitrina.pipelines.neighbours import Only
    from vitrina.pipelines.queries import (
        QueryOptions,
        asks_by_id,
        neighbours_of_batch,
        neighbours_of_ids,
    )
    from vitrina.store.where import Condition

    options = QueryOptions(
        features=member(Features, features),
        k=k,
        only=Only(category, tuple(map(Condition.parse, where)), no_duplicates, other_shops),
        quiet=quiet,
    )
    if asks_by_id(Path(queries)):
        return neighbours_of_ids(store, Path(queries), Path(out), options)
    with closing(open_batch(queries, store, images=images)) as batch:
        return neighbours_of_batch(store, batch, Path(out), options)


def classify(
    catalogue: Catalogue, store: Store, *, model: str | None = None, neighbours: int = 10
) -> pa.Table:
    """Predict a batch that fits in memory: one row per product, in input order.

    Raises StoreError if there is no head, FingerprintError if an encoder is another one by now.
    """
    from vitrina.pipelines.classifier import ClassifyOptions
    from vitrina.pipelines.classify import classify as run

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
    """Predict a batch of any size into a file, "full" or as a "submission"."""
    from vitrina.pipelines.classifier import ClassifyOptions
    from vitrina.pipelines.classify import classify_to as run

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
) -> Catalogue:
    """Open a file of products as the store remembers its catalogue, except for what is given.

    images: where the photos are; None for where the catalogue's were, "none" for nowhere, "web"
    for the URLs that the catalogue gives: `fetchers` at once, and from private addresses only if
    `allow_private`. category_separator: between the names of a category's path; None for the
    catalogue's, or to find it out; "none" for names that are no paths.

    Raises CatalogueError, ImageSourceError.
    """
    remembered = store.manifest.reading.get("catalogue")
    reading = Reading.from_json(remembered) if remembered else Reading()
    asked = {"workers": fetchers, "allow_private": allow_private}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    reading = reading.with_options(
        columns=columns,
        delimiter=delimiter,
        encoding=encoding,
        images=images,
        image_template=image_template,
        photos=photos,
        fetching=replace(reading.fetching, **given),
        category_separator=category_separator,
    )
    # A column that was remembered may be absent from a new batch; one that is asked for may not.
    labels = columns.category_id is not None or columns.category_name is not None
    return Catalogue.open(path, reading, labels_needed=labels)
