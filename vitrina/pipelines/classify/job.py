"""The classification job: embed a batch with the head's own encoders, predict, explain, write."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.pipelines.classify.options import ClassifyOptions
from vitrina.pipelines.classify.predictions import Predictions
from vitrina.pipelines.classify.predictor import ClassifyReport, Predictor
from vitrina.pipelines.common.batch_encoder import BATCH_ROWS, rejections, write_errors
from vitrina.pipelines.common.progress import Meter, timed_job
from vitrina.pipelines.common.reading import PREDICTIONS, check_batch
from vitrina.pipelines.train.category_drift import unknown
from vitrina.store.store import OpenStore
from vitrina.tables.destination import Destination
from vitrina.tables.write import Names, Write, writing
from vitrina.types import OutputFormat

TITLE = "title"


def classify(catalogue: Catalogue, store: OpenStore, options: ClassifyOptions) -> Predictions:
    """Predict a batch that fits in memory: one row per product, in input order."""
    tables: list[pa.Table] = []

    def start(schema: pa.Schema, names: Names) -> Write:  # noqa: ARG001
        # A batch may have no rows at all.
        tables.append(schema.empty_table())
        return tables.append

    report = _run(catalogue, store, options, start)
    return Predictions(pa.concat_tables(tables), report)


def classify_to(
    catalogue: Catalogue, store: OpenStore, out: str | Path, options: ClassifyOptions
) -> ClassifyReport:
    """Predict a batch of any size into a file or a table of a database.

    Formats without lists get flat columns and the products' titles; see `tables.flat`. Unusable
    photos and rejected rows are listed in a file next to it. Raises OptionError for a file name
    that ends otherwise, StoreError if there is no head, FingerprintError if an encoder has changed.
    """
    destination = Destination.of(out, options)
    destination.check()
    full = options.format is OutputFormat.FULL
    with ExitStack() as stack:

        def start(schema: pa.Schema, names: Names) -> Write:
            # Only programs read a submission.
            return stack.enter_context(writing(destination, schema, names=names, guarded=full))

        report = _run(catalogue, store, options, start, titles=full and destination.is_flat)
    report.out = str(destination)
    errors = write_errors(destination, report.errors)
    report.errors_out = None if errors is None else str(errors)
    return report


def _run(
    catalogue: Catalogue,
    store: OpenStore,
    options: ClassifyOptions,
    start: Callable[[pa.Schema, Names], Write],
    *,
    titles: bool = False,
) -> ClassifyReport:
    """titles: whether to add a column of the products' titles."""
    with timed_job("classifying", options.quiet):
        return _classified(catalogue, store, options, start, titles)


def _classified(
    catalogue: Catalogue,
    store: OpenStore,
    options: ClassifyOptions,
    start: Callable[[pa.Schema, Names], Write],
    titles: bool,
) -> ClassifyReport:
    classifier = Predictor(store, options)
    notes = check_batch(catalogue, classifier.model.modalities, PREDICTIONS)
    report = ClassifyReport(
        model=classifier.model.name,
        voted=classifier.index is not None,
        reused=classifier.reused,
        notes=notes,
        unknown=unknown(store.products.category_counts(), classifier.model.categories),
    )
    schema = classifier.schema(pa.int64() if catalogue.id_type is int else pa.string())
    if titles:
        schema = schema.insert(1, pa.field(TITLE, pa.string()))
    write = start(schema, classifier.names)
    with Meter("classifying", quiet=options.quiet) as meter:
        for batch in catalogue.batches(BATCH_ROWS):
            report.errors += rejections(batch)
            report.rejected += len(batch.rejected)
            rows = classifier.predict(batch.products, catalogue, report) if batch.products else []
            if titles:
                for row, product in zip(rows, batch.products, strict=True):
                    row[TITLE] = product.title or None
            write(pa.Table.from_pylist(rows, schema=schema))
            meter.advance(len(batch.products))
        report.seconds = round(meter.seconds, 2)
    return report
