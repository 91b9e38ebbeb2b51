"""Batch queries (`vitrina neighbours --queries`): neighbours of many products, written to a file.

Products of the store or new ones are searched and written in blocks, so memory use does not grow
with their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.data.options import NO_COLUMN, ReadingOptions
from vitrina.data.product import Batch, Product, Rejection
from vitrina.data.readers import Columns, IdType, TableReader
from vitrina.data.readers.database import DatabaseRecords, query_columns
from vitrina.data.readers.detect import place_of
from vitrina.data.readers.parquet import ParquetRecords
from vitrina.database.url import DatabaseURL
from vitrina.ids import id_keys, ids_as
from vitrina.index.results import SearchResult
from vitrina.page.summary import Summarised, Summary, counted
from vitrina.page.words import duration
from vitrina.pipelines.common.batch_encoder import (
    BATCH_ROWS,
    BatchEncoder,
    rejections,
    unusable,
    write_errors,
)
from vitrina.pipelines.common.group_keys import ExclusionFilter
from vitrina.pipelines.common.progress import Meter
from vitrina.pipelines.common.reading import NEIGHBOURS, check_batch, remembered_reading
from vitrina.pipelines.index.neighbours import Index
from vitrina.pipelines.index.options import QueryOptions
from vitrina.store.products import PART_ROWS
from vitrina.store.space import error_row
from vitrina.store.store import OpenStore
from vitrina.tables.destination import Destination
from vitrina.tables.write import writing

ID = "product_id"
PANDAS_INDEX = "__index_level_"
"""Prefix that pandas gives to columns of a frame's index."""
BLOCK_IDS = 4096
"""Queries of the store's products at once."""


@dataclass(repr=False)
class QueriesReport(Summarised):
    """Counts of a batch query, in rows.

    queries: rows of the input. found: queries with a neighbour. missing: those that could not be
    searched for: an id without a vector in the index, a new product with nothing to embed.
    rejected: rows that can't be read. failed: new products whose photos can't be used.
    neighbours: rows of the output. notes: missing parts of the queries, and their effect.
    errors_out: the file that lists what could not be used, if there is anything.
    """

    out: str
    queries: int = 0
    found: int = 0
    missing: int = 0
    rejected: int = 0
    failed: int = 0
    neighbours: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    errors_out: str | None = None

    def summary(self) -> Summary:
        """Counts of queries and neighbours."""
        facts = [
            ("file", self.out),
            ("queries with neighbours", f"{self.found:,} of {self.queries:,}"),
            ("without a vector", self.missing or None),
            ("unusable photos", self.failed or None),
            ("rejected rows", self.rejected or None),
            ("time", duration(self.seconds)),
        ]
        title = f"Found {counted(self.neighbours, 'neighbour')}"
        return Summary(title, facts, notes=self.notes)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for a terminal."""
        lines = [
            f"done: {self.neighbours} neighbours of {self.found} of {self.queries} products, "
            f"{self.queries / max(self.seconds, 1e-9):.0f}/s, in {self.out}"
        ]
        if self.missing + self.rejected + self.failed:
            told = f"see {self.errors_out}"
            counts = f"{self.missing} could not be searched for, {self.rejected} rows were rejected"
            lines.insert(0, f"{counts}, {self.failed} photos could not be used: {told}")
        return [*self.notes, *lines]


@dataclass(frozen=True, eq=False)
class _Block:
    """Some rows of the input. ids: (q,) of the queries, with their results. missing, failures:
    rows of `ERRORS_SCHEMA` of products that could not be searched for, and of photos."""

    batch: Batch
    ids: pa.Array
    found: SearchResult
    missing: list[dict[str, Any]]
    failures: list[dict[str, Any]]


def id_records(
    store: OpenStore, queries: str | Path, reading: ReadingOptions
) -> tuple[ParquetRecords, str] | None:
    """The rows of a Parquet file or a database that hold only product ids of the store, apart from
    a pandas index, and their column; None for anything else, which is a batch of new products.

    reading: as given by the user. Raises CatalogueError for a file or a query that can't be read.
    """
    place = place_of(queries)
    if reading.columns.given - {"product_id"}:
        return None
    own = remembered_reading(store).columns.updated(reading.columns).product_id
    if isinstance(place, DatabaseURL):
        names = query_columns(place, reading.query)
        return (DatabaseRecords(place, reading.query), names[0]) if names in ([ID], [own]) else None
    if not place.is_file() or reading.query is not None:
        return None
    with place.open("rb") as file:
        if file.read(4) != b"PAR1":
            return None
    records = ParquetRecords(place)
    names = [name for name in records.names if not name.startswith(PANDAS_INDEX)]
    return (records, names[0]) if names in ([ID], [own]) else None


def neighbours_of_ids(
    store: OpenStore,
    records: ParquetRecords,
    out: str | Path,
    options: QueryOptions,
    column: str = ID,
) -> QueriesReport:
    """Find the neighbours of products of the index, by their ids; see `id_records`.

    A product is never its own neighbour. Ids may be text in the file and integers in the store, or
    vice versa; the output has the ids of the file. Raises CatalogueError if the file can't be read,
    StoreError if there is no index or a filter is invalid.
    """
    destination = Destination.of(out, options)
    destination.check()
    index = Index.open(store, options.features)
    # Only ids are read.
    reader = TableReader(records, Columns(product_id=column, title=NO_COLUMN))
    blocks = _by_id(index, reader, options)
    return _write(index, _arrow(reader.id_type), blocks, destination, options, records.count())


def neighbours_of_batch(
    store: OpenStore, catalogue: Catalogue, out: str | Path, options: QueryOptions
) -> QueriesReport:
    """Find the neighbours of new products, which are embedded with the store's encoders.

    A product of the index with the same id, possibly an older version, is left out. Duplicates are
    identified by title and photo; by title alone if the catalogue has no photos.

    Raises as `neighbours_of_ids`; FingerprintError if an encoder has changed.
    """
    destination = Destination.of(out, options)
    destination.check()
    index = Index.open(store, options.features)
    notes = check_batch(catalogue, index.vectors.modalities, NEIGHBOURS)
    kind = _arrow(catalogue.id_type)
    report = _write(index, kind, _by_content(index, catalogue, options), destination, options)
    report.notes = notes
    return report


def _arrow(kind: IdType) -> pa.DataType:
    return pa.int64() if kind is int else pa.string()


def _id_type(index: Index) -> IdType:
    return int if pa.types.is_integer(index.vectors.product_ids.type) else str


def _by_id(index: Index, reader: TableReader, options: QueryOptions) -> Iterator[_Block]:
    rows = reader.rows()
    while chunk := list(islice(rows, BLOCK_IDS)):
        products = [row for row in chunk if isinstance(row, Product)]
        rejected = [row for row in chunk if isinstance(row, Rejection)]
        ids = [product.product_id for product in products]
        own = ids_as(_id_type(index), ids)
        positions = index.vectors.positions(own)
        typed = [at for at, one in enumerate(own) if one is not None]
        known = np.zeros(len(own), dtype=bool)
        keys = id_keys([one for one in own if one is not None])
        known[typed] = index.store.products.table.positions(keys) >= 0
        there = positions >= 0
        missing = []
        for at in np.flatnonzero(~there):
            reason = "the index holds no vector of it" if known[at] else "the store has no such id"
            missing.append(error_row(ids[at], stage="search", error=reason, row=products[at].row))
        queries = [ids[at] for at in np.flatnonzero(there)]
        yield _Block(
            Batch(tuple(products), tuple(rejected)),
            pa.array(queries, _arrow(reader.id_type)),
            index.of_products(positions[there], options.k, options.only),
            missing,
            failures=[],
        )


def _by_content(index: Index, catalogue: Catalogue, options: QueryOptions) -> Iterator[_Block]:
    vectors = index.vectors
    encoder = BatchEncoder.of(index.store, map(index.store.space, vectors.modalities))
    only = options.only
    bars = ExclusionFilter(
        index.store.products,
        index.products_at,
        duplicates=only.no_duplicates,
        shops=only.other_shops,
    )
    allowed = index.allowed(only)
    for batch in catalogue.batches(BATCH_ROWS):
        products = batch.products
        ids = [product.product_id for product in products]
        encoded = encoder.encode(products, catalogue)
        queries = vectors.fusion.fuse(encoded.vectors, encoded.present)
        found = vectors.search(
            queries,
            options.k,
            exclude=ids_as(_id_type(index), ids),
            allowed=allowed,
            barred=bars.of(products, catalogue.images),
        )
        missing = [
            error_row(ids[at], stage="search", error="nothing to search by", row=products[at].row)
            for at in np.flatnonzero(~queries.any(axis=1))
        ]
        ids_of_type = pa.array(ids, _arrow(catalogue.id_type))
        yield _Block(batch, ids_of_type, found, missing, encoded.failures)


class _Output:
    """Neighbours as rows of a table: one for each pair of a query and a neighbour.

    titles: whether to add the neighbours' titles.
    """

    def __init__(self, index: Index, query: pa.DataType, *, titles: bool = False) -> None:
        own = index.store.products.schema
        kind = own.field("category_id").type
        self.schema = pa.schema(
            [
                ("query", query),
                ("rank", pa.int32()),
                (ID, own.field(ID).type),
                ("score", pa.float32()),
                ("category_id", kind),
                ("category_name", pa.string()),
            ]
        )
        if titles:
            self.schema = self.schema.insert(3, pa.field("title", pa.string()))
        self._titles = titles
        self._index = index
        self._categories = pa.array(index.categories.ids, kind)
        # One number per product, and each name once: small enough for memory.
        names = [
            batch.column("category_name").dictionary_encode()
            for _, batch in index.store.products.batches(["category_name"], PART_ROWS)
        ]
        self._names = pa.chunked_array(names).unify_dictionaries().combine_chunks()

    def table(self, ids: pa.Array, found: SearchResult) -> pa.Table:
        """The neighbours of the queries with these ids, nearest first."""
        queries, ranks = np.nonzero(found.positions >= 0)
        positions = found.positions[queries, ranks]
        labels = self._index.labels[positions]
        at = self._index.products_at[positions]
        columns = [
            ids.take(pa.array(queries)),
            pa.array(ranks + 1, pa.int32()),
            found.product_ids.take(pa.array(positions)),
            pa.array(found.scores[queries, ranks]),
            self._categories.take(pa.array(labels, mask=labels < 0)),
            self._names.take(pa.array(at)).dictionary_decode(),
        ]
        if self._titles:
            titles = self._index.store.products.take(at, ["title"]).column("title")
            columns.insert(3, titles.cast(pa.string()))
        return pa.table(columns, schema=self.schema)


def _write(
    index: Index,
    query: pa.DataType,
    blocks: Iterator[_Block],
    out: Destination,
    options: QueryOptions,
    total: int | None = None,
) -> QueriesReport:
    report = QueriesReport(str(out))
    errors: list[dict[str, Any]] = []
    # Only programs read nested formats.
    output = _Output(index, query, titles=out.is_flat)
    with (
        writing(out, output.schema) as write,
        Meter("finding neighbours", total, quiet=options.quiet) as meter,
    ):
        for block in blocks:
            table = output.table(block.ids, block.found)
            write(table)
            batch = block.batch
            report.queries += len(batch.products) + len(batch.rejected)
            report.neighbours += table.num_rows
            report.found += int((block.found.positions[:, 0] >= 0).sum())
            report.missing += len(block.missing)
            report.rejected += len(batch.rejected)
            report.failed += unusable(block.failures)
            errors += [*rejections(batch), *block.failures, *block.missing]
            meter.advance(len(batch.products) + len(batch.rejected))
        report.seconds = round(meter.seconds, 2)
    if beside := write_errors(out, errors):
        report.errors_out = str(beside)
    return report
