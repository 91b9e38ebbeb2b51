"""The classification job: embed a batch with the head's own encoders, predict, explain, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from vitrina.classifier.model import Model, top
from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Product
from vitrina.errors import CatalogueError
from vitrina.pipelines.batch import (
    BATCH_ROWS,
    BatchEncoder,
    EncodedBatch,
    check_place,
    rejections,
    write_errors,
)
from vitrina.pipelines.neighbours import Index
from vitrina.pipelines.progress import Meter
from vitrina.store.files import replacing
from vitrina.store.store import Store
from vitrina.types import Features, Modality, OutputFormat


def submission_schema(product_id: pa.DataType, category_id: pa.DataType) -> pa.Schema:
    """What `--format submission` writes."""
    return pa.schema([("product_id", product_id), ("predicted_category_id", category_id)])


def predictions_schema(
    product_id: pa.DataType, category_id: pa.DataType, neighbour_id: pa.DataType
) -> pa.Schema:
    """What a predictions file holds. neighbour_id: the type of the store's product ids."""
    likely = pa.struct({"category_id": category_id, "probability": pa.float32()})
    near = pa.struct(
        {"product_id": neighbour_id, "category_id": category_id, "score": pa.float32()}
    )
    return pa.schema(
        [
            *submission_schema(product_id, category_id),
            ("category_name", pa.string()),
            ("probability", pa.float32()),
            ("accepted", pa.bool_()),
            ("top_k", pa.list_(likely)),
            ("vote", pa.struct({"category_id": category_id, "share": pa.float32()})),
            ("neighbours", pa.list_(near)),
            ("has_text", pa.bool_()),
            ("has_image", pa.bool_()),
            ("model", pa.string()),
        ]
    )


@dataclass(frozen=True)
class ClassifyOptions:
    """How to classify. model: a head's name, None for the one trained last. top_k: categories
    listed for each product. neighbours: how many are listed; how many vote is the index's rule."""

    model: str | None = None
    format: OutputFormat = OutputFormat.FULL
    top_k: int = 5
    neighbours: int = 10
    quiet: bool = True


@dataclass
class ClassifyReport:
    """What was predicted. `failed`: photos that could not be used; `rejected`: rows."""

    model: str
    out: str | None = None
    products: int = 0
    accepted: int = 0
    without_text: int = 0
    without_image: int = 0
    failed: int = 0
    rejected: int = 0
    voted: bool = False
    seconds: float = 0.0
    errors: list[dict[str, Any]] = field(default_factory=list, repr=False)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it, the errors left to their file."""
        plain = asdict(self)
        del plain["errors"]
        return plain


class Classifier:
    """A head, the encoders it was trained on, and the index that votes beside it."""

    def __init__(self, store: Store, options: ClassifyOptions) -> None:
        self.options = options
        self.model = Model.load(store.model_folder(options.model))
        spaces = [store.open_space(self.model.spaces[one]) for one in self.model.modalities]
        self.encoder = BatchEncoder.of(store, spaces)
        for space in spaces:
            self.model.check(space.modality, space.entry.fingerprint)
        features = Features(self.model.report["features"])
        self.index = Index.open(store, features) if features in store.manifest.indexes else None
        if self.index:
            self.index.vectors.check(self.encoder.fingerprints)
        ids = store.products.schema
        self._product_type = ids.field("product_id").type
        self._category_type = ids.field("category_id").type

    def schema(self, product_id: pa.DataType) -> pa.Schema:
        """The columns of a predictions file, for a batch with ids of this type."""
        if self.options.format is OutputFormat.SUBMISSION:
            return submission_schema(product_id, self._category_type)
        return predictions_schema(product_id, self._category_type, self._product_type)

    def predict(
        self, products: Sequence[Product], catalogue: Catalogue, report: ClassifyReport
    ) -> list[dict[str, Any]]:
        """One row of predictions per product, in order; counts go into `report`."""
        encoded = self.encoder.encode(products, catalogue)
        probabilities = self.model.probabilities(encoded.vectors, encoded.present)
        # A product of which nothing is known is a guess, however sure the head's bias is.
        known = np.logical_or.reduce(encoded.present)
        best, chance = top(probabilities, self.options.top_k)
        accepted = (chance[:, 0] >= self.model.accept_from) & known
        has = dict(zip(self.model.modalities, encoded.present, strict=True))
        report.products += len(products)
        report.accepted += int(accepted.sum())
        report.failed += len(encoded.failures)
        report.errors += encoded.failures
        report.without_text += int((~has[Modality.TEXT]).sum()) if Modality.TEXT in has else 0
        report.without_image += int((~has[Modality.IMAGE]).sum()) if Modality.IMAGE in has else 0
        ids, names = self.model.categories, self.model.names
        rows = [
            {
                "product_id": product.product_id,
                "predicted_category_id": ids[best[at, 0]],
                "category_name": names[best[at, 0]] or None,
                "probability": chance[at, 0],
                "accepted": accepted[at],
                "top_k": [
                    {"category_id": ids[code], "probability": share}
                    for code, share in zip(best[at], chance[at], strict=True)
                ],
                "has_text": bool(has[Modality.TEXT][at]) if Modality.TEXT in has else False,
                "has_image": bool(has[Modality.IMAGE][at]) if Modality.IMAGE in has else False,
                "model": self.model.name,
            }
            for at, product in enumerate(products)
        ]
        if self.index and self.options.format is OutputFormat.FULL:
            self._explain(self.index, encoded, rows)
        return rows

    def _explain(self, index: Index, encoded: EncodedBatch, rows: list[dict[str, Any]]) -> None:
        listed = self.options.neighbours
        found = index.find(encoded.vectors, encoded.present, max(listed, index.rule.k))
        votes, labels = index.vote(found)
        ids = index.categories.ids
        for at, row in enumerate(rows):
            if votes.codes[at] >= 0:
                row["vote"] = {"category_id": ids[votes.codes[at]], "share": votes.shares[at]}
            row["neighbours"] = [
                {
                    "product_id": near.product_id,
                    "category_id": ids[label] if label >= 0 else None,
                    "score": near.score,
                }
                for near, label in zip(found.neighbours(at)[:listed], labels[at], strict=False)
            ]


def classify(
    catalogue: Catalogue, store: Store, options: ClassifyOptions
) -> tuple[pa.Table, ClassifyReport]:
    """Predict a batch that fits in memory: one row per product, in input order."""
    tables: list[pa.Table] = []
    report = _run(catalogue, store, options, lambda _: tables.append)
    return pa.concat_tables(tables), report


def classify_to(
    catalogue: Catalogue, store: Store, out: Path, options: ClassifyOptions
) -> ClassifyReport:
    """Predict a batch of any size into a Parquet file, or CSV for a submission named so.

    Photos that can't be used and rows that were rejected are listed in a Parquet file beside it.
    Raises StoreError if there is no head, FingerprintError if an encoder is another one by now.
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
    store: Store,
    options: ClassifyOptions,
    start: Callable[[pa.Schema], Callable[[pa.Table], None]],
) -> ClassifyReport:
    classifier = Classifier(store, options)
    report = ClassifyReport(model=classifier.model.name, voted=classifier.index is not None)
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
