"""The classification job: embed a batch with the head's own encoders, predict, explain, write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from vitrina.data.catalogue import Catalogue
from vitrina.errors import CatalogueError
from vitrina.pipelines.classify.options import ClassifyOptions
from vitrina.pipelines.classify.predictions import Predictions
from vitrina.pipelines.classify.predictor import ClassifyReport, Predictor
from vitrina.pipelines.common.batch_encoder import BATCH_ROWS, check_place, rejections, write_errors
from vitrina.pipelines.common.progress import Meter, timed_job
from vitrina.pipelines.common.reading import PREDICTIONS, check_batch
from vitrina.pipelines.train.category_drift import unknown
from vitrina.store.files import replacing
from vitrina.store.store import OpenStore
from vitrina.types import OutputFormat


def classify(catalogue: Catalogue, store: OpenStore, options: ClassifyOptions) -> Predictions:
    """Predict a batch that fits in memory: one row per product, in input order."""
    tables: list[pa.Table] = []

    def start(schema: pa.Schema) -> Callable[[pa.Table], None]:
        # A batch may have no rows at all.
        tables.append(schema.empty_table())
        return tables.append

    report = _run(catalogue, store, options, start)
    return Predictions(pa.concat_tables(tables), report)


def classify_to(
    catalogue: Catalogue, store: OpenStore, out: Path, options: ClassifyOptions
) -> ClassifyReport:
    """Predict a batch of any size into a Parquet file, or CSV for a submission named so.

    Unusable photos and rejected rows are listed in a Parquet file next to it. Raises StoreError if
    there is no head, FingerprintError if an encoder has changed.
    """
    as_csv = out.suffix.lower() == ".csv"
    if as_csv and options.format is not OutputFormat.SUBMISSION:
        raise CatalogueError(f"{out}: lists do not fit into CSV; use .parquet, or submission")
    check_place(out)
    with replacing(out) as temporary:
        writers: list[Any] = []

        def start(schema: pa.Schema) -> Callable[[pa.Table], None]:
            if as_csv:
                writers.append(pa_csv.CSVWriter(temporary, schema))
            else:
                writers.append(pq.ParquetWriter(temporary, schema, compression="zstd"))
            write: Callable[[pa.Table], None] = writers[0].write_table
            return write

        try:
            report = _run(catalogue, store, options, start)
        finally:
            for writer in writers:
                writer.close()
    report.out = str(out)
    write_errors(out, report.errors)
    return report


def _run(
    catalogue: Catalogue,
    store: OpenStore,
    options: ClassifyOptions,
    start: Callable[[pa.Schema], Callable[[pa.Table], None]],
) -> ClassifyReport:
    with timed_job("classifying", options.quiet):
        return _classified(catalogue, store, options, start)


def _classified(
    catalogue: Catalogue,
    store: OpenStore,
    options: ClassifyOptions,
    start: Callable[[pa.Schema], Callable[[pa.Table], None]],
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
    write = start(schema)
    with Meter("classifying", quiet=options.quiet) as meter:
        for batch in catalogue.batches(BATCH_ROWS):
            report.errors += rejections(batch)
            report.rejected += len(batch.rejected)
            rows = classifier.predict(batch.products, catalogue, report) if batch.products else []
            write(pa.Table.from_pylist(rows, schema=schema))
            meter.advance(len(batch.products))
        report.seconds = round(meter.seconds, 2)
    return report
