"""Writer of the sample catalogue in the marketplace's format, with its ground truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.page.summary import Summarised, Summary, counted
from vitrina.sample.maker import INDEX, Maker
from vitrina.sample.plan import BROKEN, Photo, draw_plan
from vitrina.temporary_files import removing

_ROWS_PER_GROUP = 1_000

_TEST = pa.schema(
    [
        pa.field("product_id", pa.int64()),
        pa.field("sale", pa.bool_()),
        pa.field("shop_id", pa.int64()),
        pa.field("shop_title", pa.string()),
        pa.field("rating", pa.float64()),
        pa.field("text_fields", pa.string()),
    ]
)
_TRAIN = pa.schema(
    [
        _TEST.field("product_id"),
        pa.field("category_id", pa.int64()),
        pa.field("category_name", pa.string()),
        *list(_TEST)[1:],
        pa.field(INDEX, pa.int64()),
    ]
)
_TRUTH = pa.schema(
    [
        pa.field("product_id", pa.int64()),
        pa.field("split", pa.string()),
        pa.field("true_category_id", pa.int64()),
        pa.field("given_category_id", pa.int64()),
        pa.field("wrong_label", pa.bool_()),
        pa.field("photo", pa.string()),
        pa.field("duplicate_of", pa.int64()),
        pa.field("same_photo", pa.bool_()),
        pa.field("same_text", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True, repr=False)
class SampleReport(Summarised):
    """Paths and counts of a written sample.

    `products` counts train and test together. `categories` and `wrong_labels` count the train
    file, `test_products` the test file. The photo and duplicate counts cover both.
    """

    train: Path
    test: Path
    images: Path
    truth: Path
    seed: int
    products: int
    test_products: int
    categories: int
    wrong_labels: int
    missing_photos: int
    broken_photos: int
    near_duplicates: int

    @property
    def train_products(self) -> int:
        """Number of products in the train file, which gives their categories."""
        return self.products - self.test_products

    def summary(self) -> Summary:
        """Counts and paths."""
        facts = [
            ("train", str(self.train)),
            ("test", f"{self.test}, {counted(self.test_products, 'product')}"),
            ("images", str(self.images)),
            ("truth", str(self.truth)),
            ("categories", self.categories),
            ("wrong labels", self.wrong_labels),
        ]
        return Summary(f"Sample of {counted(self.products, 'product')}, seed {self.seed}", facts)


def write_sample(
    out: Path,
    *,
    products: int = 1200,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> SampleReport:
    """Write a catalogue of `products` products, train and test together, to the folder `out`.

    Makes `train.parquet` (85%), `test.parquet` (15%, without categories), `images.zip` and
    `truth.parquet`, the ground truth: true categories, wrong labels, bad photos and copies. The
    same size and seed give byte-identical files. Files get their names when all are complete, and
    replace those of an earlier sample. `progress` is called with the number of products written
    so far, after every thousand and at the end. `seed` is not negative. Raises CatalogueError for
    fewer than 50 products.
    """
    plan = draw_plan(products, seed)
    maker = Maker(plan, seed)
    out.mkdir(parents=True, exist_ok=True)
    names = ("train.parquet", "test.parquet", "truth.parquet", "images.zip")
    paths = [out / name for name in names]
    parts = [out / f"{name}.part" for name in names]
    with ExitStack() as unfinished:
        for part in parts:
            unfinished.enter_context(removing(partial(part.unlink, missing_ok=True)))
        with ExitStack() as files:
            train = files.enter_context(_Table(parts[0], _with_gapped_index(_TRAIN)))
            test = files.enter_context(_Table(parts[1], _TEST))
            truth = files.enter_context(_Table(parts[2], _TRUTH))
            images = files.enter_context(ZipFile(parts[3], "w", ZIP_STORED))
            for position in range(products):
                (test if plan.in_test[position] else train).add(maker.make_row(position))
                truth.add(maker.make_truth(position))
                image = maker.make_image(position)
                if image is not None:
                    images.writestr(_zip_entry(maker.image_name(position)), image)
                done = position + 1
                if progress is not None and (done % _ROWS_PER_GROUP == 0 or done == products):
                    progress(done)
        for part, path in zip(parts, paths, strict=True):
            part.replace(path)
    return SampleReport(
        train=paths[0],
        test=paths[1],
        truth=paths[2],
        images=paths[3],
        seed=seed,
        products=products,
        test_products=int(plan.in_test.sum()),
        categories=len(np.unique(plan.given[~plan.in_test])),
        wrong_labels=int((plan.true != plan.given).sum()),
        missing_photos=int((plan.photo == Photo.MISSING).sum()),
        broken_photos=int(np.isin(plan.photo, BROKEN).sum()),
        near_duplicates=int((plan.original >= 0).sum()),
    )


class _Table:
    """A Parquet writer that takes single rows and buffers at most one row group.

    Columns of a row that the schema lacks are left out.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema)
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._rows:
            self._flush()
        self._writer.close()

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows.clear()


def _zip_entry(name: str) -> ZipInfo:
    # By default an entry records the current time and system, so its bytes differ in each run.
    info = ZipInfo(name, date_time=(2024, 1, 1, 0, 0, 0))
    info.create_system = 3
    info.external_attr = 0o644 << 16
    return info


def _with_gapped_index(schema: pa.Schema) -> pa.Schema:
    """Mark the index column as pandas does for a frame with some rows removed."""
    kinds = {
        "int64": ("int64", "int64"),
        "bool": ("bool", "bool"),
        "double": ("float64", "float64"),
    }
    columns = []
    for field in schema:
        pandas_type, numpy_type = kinds.get(str(field.type), ("unicode", "object"))
        columns.append(
            {
                "name": None if field.name == INDEX else field.name,
                "field_name": field.name,
                "pandas_type": pandas_type,
                "numpy_type": numpy_type,
                "metadata": None,
            }
        )
    note = {"index_columns": [INDEX], "column_indexes": [], "columns": columns}
    return schema.with_metadata({"pandas": json.dumps(note)})
