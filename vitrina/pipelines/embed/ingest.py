"""Ingestion of a catalogue: every product, with its content hashes, into the product table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.errors import CatalogueError
from vitrina.pipelines.common.progress import Meter
from vitrina.pipelines.embed.catalogue_rows import CatalogueRows, Row
from vitrina.pipelines.embed.category_changes import compare_categories, reused_names
from vitrina.pipelines.embed.change_guard import check_changes, check_rejections
from vitrina.pipelines.embed.id_forms import IdForms
from vitrina.pipelines.embed.ingest_result import Ingested, IngestOptions
from vitrina.pipelines.embed.snapshot import ProductSnapshot
from vitrina.store.product_writer import ProductWriter
from vitrina.store.products import schema
from vitrina.store.shards import array_keys
from vitrina.store.sources import Source, with_retired
from vitrina.store.store import OpenStore
from vitrina.store.writer import Writer
from vitrina.types import Codes


def ingest(
    catalogue: Catalogue, store: OpenStore, writer: Writer, source: Source, options: IngestOptions
) -> Ingested:
    """Stream a catalogue into new parts of the product table; they become visible with a commit.

    Raises CatalogueError if all rows are rejected, TooManyFailuresError if too many are,
    UnusualChangeError if too many products vanished or changed, StoreError for an id of another
    source.
    """
    result = Ingested(source)
    forms = IdForms.of(catalogue, store, source)
    result.retyped = forms.retyped
    table = ProductWriter(writer, schema(*forms.arrow))
    snapshot = ProductSnapshot(store, forms.category)
    reading = CatalogueRows(catalogue, store, snapshot, forms, options, result)
    try:
        with Meter("reading the catalogue", unit="rows", quiet=options.quiet) as meter:
            for batch in catalogue.batches():
                table.add(reading.rows(batch))
                meter.advance(len(batch.products) + len(batch.rejected))
        if result.fresh == 0:
            reasons = result.rejections() or "it has no rows; was its export cut short?"
            raise CatalogueError(f"{catalogue.path}: no row can be used ({reasons})")
        check_rejections(
            len(result.rejected),
            result.rows,
            options.failures,
            result.rejections(),
            catalogue.path,
        )
        reading.check_twins()
        _carry_over(store, snapshot, reading, table, options)
        reading.counts.removed = result.removed
        if not options.accept_changes:
            check_changes(reading.counts, catalogue.path, source.title)
        _compare_categories(snapshot, reading, options)
        result.products = table.finish()
        result.lasting = result.lasting or len(result.products)
    finally:
        table.close()
    return result


def _carry_over(
    store: OpenStore,
    snapshot: ProductSnapshot,
    reading: CatalogueRows,
    table: ProductWriter,
    options: IngestOptions,
) -> None:
    """Copy the products that the catalogue lacks, those to be pruned last.

    The product of a rejected row stays as it was. If such a row has no usable id, any missing
    product may be meant, so none is pruned.
    """
    if not len(snapshot):
        return
    result = reading.result
    gone: list[Codes] = []
    columns = [name for name in table.schema.names if name in store.products.schema.names]
    held_back = bool(reading.nameless) and not options.accept_changes
    # Without rows to carry over, their ids are all that is read.
    for start, batch in store.products.batches(["product_id"]):
        keys = array_keys(batch.column("product_id"))
        others = ~reading.seen.contains(keys)
        if not others.any():
            continue
        at = np.flatnonzero(others) + start
        mentioned = reading.mentioned.contains(keys[others])
        own = reading.own(snapshot.source_codes[at])
        result.spared += int((mentioned & own).sum())
        dropped = own & ~mentioned if options.prune else np.zeros(len(at), dtype=bool)
        if held_back:
            result.unpruned += int(dropped.sum())
            dropped[:] = False
        result.kept += int((~dropped).sum())
        result.removed += int(dropped.sum())
        table.add(_rows_at(store, at[~dropped], columns, table.schema))
        gone.append(at[dropped])
    if result.removed:
        result.lasting = table.end_part()
        for at in gone:
            table.add(_rows_at(store, at, columns, table.schema))


def _rows_at(store: OpenStore, at: Codes, columns: Sequence[str], wanted: pa.Schema) -> list[Row]:
    """Convert rows of the current table to rows of the new one, whose ids may be strings now."""
    if not len(at):
        return []
    taken = store.products.take(at, columns)
    kinds = pa.schema([wanted.field(name) for name in columns])
    rows: list[Row] = taken.cast(kinds).to_pylist()
    return rows


def _compare_categories(
    snapshot: ProductSnapshot, reading: CatalogueRows, options: IngestOptions
) -> None:
    """Compare the category trees; reused ids are recorded with the source."""
    if not reading.tally.products:
        return
    result = reading.result
    before = snapshot.category_names(result.source.name)
    labels = snapshot.categories
    counted = np.bincount(labels.codes[labels.codes >= 0], minlength=len(labels.ids))
    kind = snapshot.category_id
    sizes = {kind(key): int(n) for key, n in zip(labels.ids, counted.tolist(), strict=True)}
    before = {kind(key): names for key, names in before.items()}
    prune = options.prune and not result.unpruned
    result.categories = compare_categories(before, sizes, reading.tally, prune=prune)
    if reused := reused_names(result.categories, before):
        result.source = with_retired(result.source, reused)
