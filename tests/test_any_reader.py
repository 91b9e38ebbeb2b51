"""Whatever reads Parquet reads a store, each tool in one line, right to the value."""

from dataclasses import replace
from glob import glob
from pathlib import Path

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import vitrina as vt
from support.stores import put_products, put_space, row
from support.vectors import units
from vitrina.errors import OptionError, StoreError
from vitrina.store.space import ERRORS_SCHEMA
from vitrina.types import Modality

# docs/reference/other-tools.md quotes these lines.
SPACE = {
    "pandas": (
        'pd.concat(map(pd.read_parquet, sorted(glob("shelf/spaces/text-lexical/part-*.parquet"))))'
    ),
    "polars": 'pl.read_parquet("shelf/spaces/text-lexical/part-*.parquet")',
    "duckdb": (
        'duckdb.sql("select product_id, embedding from '
        "'shelf/spaces/text-lexical/part-*.parquet'\")"
    ),
    "datasets": (
        'datasets.Dataset.from_parquet(sorted(glob("shelf/spaces/text-lexical/part-*.parquet")))'
    ),
    "pyarrow": 'pq.read_table(sorted(glob("shelf/spaces/text-lexical/part-*.parquet")))',
}
PRODUCTS = {
    "pandas": 'pd.read_parquet("shelf/products")',
    "polars": 'pl.read_parquet("shelf/products")',
    "duckdb": "duckdb.sql(\"select * from 'shelf/products/*.parquet'\")",
    "datasets": 'datasets.load_dataset("parquet", data_dir="shelf/products", split="train")',
    "pyarrow": 'pq.read_table("shelf/products")',
}
TOOLS = list(SPACE)

NAMES = {"pd": pd, "pl": pl, "duckdb": duckdb, "datasets": datasets, "pq": pq, "glob": glob}
ROWS = {
    "pandas": lambda frame: frame.to_dict("records"),
    "polars": lambda frame: frame.to_dicts(),
    "duckdb": lambda found: [
        dict(zip(found.columns, values, strict=True)) for values in found.fetchall()
    ],
    "datasets": lambda dataset: dataset.to_list(),
    "pyarrow": lambda table: table.to_pylist(),
}

INTS = [3, 1, 2**62 + 1, -7, 5, 40]
STRINGS = ["в", "a", "б/1", "01", "1", "ёж"]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((ids, dtype), id=f"{kind}-{dtype}")
        for kind, ids in (("int", INTS), ("str", STRINGS))
        for dtype in ("float16", "float32")
    ],
)
def made(request, tmp_path_factory):
    """A store that was written to several times, and what is in it by now."""
    ids, dtype = request.param
    folder = tmp_path_factory.mktemp("reader")
    store = vt.Store.open(folder / "shelf", create=True)
    rows = [row(product, f"товар {product}", at % 3, "Дом->Чай") for at, product in enumerate(ids)]
    rows[2] |= {"category_id": None, "category_name": None, "attributes": []}
    put_products(store, rows[:4])
    put_products(store, rows)
    texts, vectors = [one["title"] for one in rows], units(6, 5)
    old, new = units(6, 5, seed=1), vectors.astype(dtype)
    # The last product has no vector; shards that were replaced must not be read.
    put_space(store, "text-lexical", [(ids[:2], texts[:2], old[:2])], dtype=dtype)
    cuts = [(0, 3), (3, 5)]
    shards = [(ids[a:b], texts[a:b], vectors[a:b]) for a, b in cuts]
    put_space(store, "text-lexical", shards, dtype=dtype)
    put_space(store, "image-thumbnail", [(ids, texts, old)], modality=Modality.IMAGE)
    with store.writer("test") as writer:
        folders = ("", "spaces/text-lexical")
        rejected, failed = (writer.write_errors(at, ERRORS_SCHEMA.empty_table()) for at in folders)
        entry = replace(store.manifest.spaces["text-lexical"], errors=failed)
        manifest = store.manifest.with_space("text-lexical", entry)
        writer.commit(replace(manifest, rejected=rejected))
    return folder, rows, dict(zip(ids[:5], new[:5], strict=True))


@pytest.fixture
def there(made, monkeypatch, tmp_path):
    """Stand beside the store; `datasets` keeps its copies in the test's own folder."""
    monkeypatch.chdir(made[0])
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield made[1:]
    datasets.enable_progress_bars()


def plain(value):
    """A value without the tool's own type."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if isinstance(value, float) and np.isnan(value) else value


@pytest.mark.parametrize("tool", TOOLS)
def test_one_line_reads_a_space_to_the_value(there, tool):
    _, vectors = there
    rows = ROWS[tool](eval(SPACE[tool], NAMES))
    assert len(rows) == len(vectors)
    got = {one["product_id"]: plain(one["embedding"]) for one in rows}
    assert got == {product: vector.tolist() for product, vector in vectors.items()}


@pytest.mark.parametrize("tool", TOOLS)
def test_one_line_reads_the_products_to_the_value(there, tool):
    rows, _ = there
    got = ROWS[tool](eval(PRODUCTS[tool], NAMES))
    assert [{name: plain(value) for name, value in one.items()} for one in got] == rows


@pytest.mark.parametrize("tool", ["pandas", "polars", "datasets", "pyarrow"])
def test_numbers_keep_the_type_that_they_are_kept_in(there, tool):
    dtype = next(iter(there[1].values())).dtype
    types = {
        "pandas": lambda frame: frame["embedding"].iloc[0].dtype,
        "polars": lambda frame: frame["embedding"].dtype.inner,
        "datasets": lambda dataset: dataset.features["embedding"].feature.dtype,
        "pyarrow": lambda table: table.schema.field("embedding").type.value_type,
    }
    kind = types[tool](eval(SPACE[tool], NAMES))
    names = {
        "float16": ("float16", "Float16", "halffloat"),
        "float32": ("float32", "Float32", "float"),
    }
    if tool == "polars" and not hasattr(pl, "Float16"):
        # It widens them.
        names["float16"] = ("Float32",)
    assert str(kind) in names[dtype.name]


def test_vitrina_gives_the_same_ids_and_matrix_in_the_catalogues_order(there):
    _, expected = there
    ids, matrix = vt.vectors(vt.Store.open("shelf"), "text")
    assert ids.to_pylist() == list(expected)
    assert matrix.dtype == next(iter(expected.values())).dtype
    assert np.array_equal(matrix, np.stack(list(expected.values())))
    image = vt.vectors(vt.Store.open("shelf"), "image")
    # No product has a photo, so none of its rows is live.
    assert (image.ids.to_pylist(), image.matrix.shape) == ([], (0, 5))


def test_vectors_follow_the_catalogue_and_not_the_shards(tmp_path):
    store = vt.Store.open(tmp_path / "shelf", create=True)
    vectors = units(4, 3)
    put_products(store, [row(product, f"т{product}") for product in (10, 20, 30, 40)])
    put_space(
        store,
        "t",
        [([40, 10], ["т40", "т10"], vectors[:2]), ([50, 20], ["т50", "т20"], vectors[2:])],
        dtype="float32",
    )
    ids, matrix = vt.vectors(store, "text")
    assert ids.to_pylist() == [10, 20, 40]
    assert np.array_equal(matrix, vectors[[1, 3, 0]])
    with pytest.raises(StoreError, match="has no image space; run `vitrina embed`"):
        vt.vectors(store, "image")
    with pytest.raises(OptionError, match="features must be text, image or fused, not 'sound'"):
        vt.vectors(store, "sound")


@pytest.mark.parametrize("line", [*PRODUCTS.values(), *SPACE.values()])
def test_the_documentation_shows_the_line(line):
    page = Path(__file__).parent.parent / "docs" / "reference" / "other-tools.md"
    assert line in page.read_text(encoding="utf-8").splitlines()
