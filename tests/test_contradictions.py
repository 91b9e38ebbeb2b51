"""Tables of a store that are whole by themselves and contradict others."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.audits import audited
from support.resealing import rename_decisions, reseal
from vitrina import api
from vitrina.audit.results import Audit
from vitrina.errors import StoreError, TrainingError
from vitrina.ids import id_keys
from vitrina.pipelines.common.seen_rows import TRAINED_ON, rows_seen
from vitrina.store.decisions import Decision, add_decisions, merge_decisions
from vitrina.store.entries import FileEntry
from vitrina.store.files import checksum
from vitrina.store.filters import Condition, matching
from vitrina.store.manifest import Manifest
from vitrina.store.products import Products
from vitrina.store.store import OpenStore
from vitrina.types import Action


@pytest.fixture(scope="module")
def made(tmp_path_factory, embedded_sample):
    path = tmp_path_factory.mktemp("made") / "shelf"
    store = OpenStore.open(shutil.copytree(embedded_sample, path))
    api.build_index(store, features="text", factory="Flat")
    audited(store)
    one = Decision(
        store.products.ids[0].as_py(), Action.SKIP, None, time=datetime(2026, 1, 2, tzinfo=UTC)
    )
    add_decisions(store.files, store.products, [one])
    return store.files.root


@pytest.fixture
def shelf(made, tmp_path):
    return shutil.copytree(made, tmp_path / "shelf")


def changed(path, name, values, kind=None):
    """Replace a column of a Parquet file."""
    table = pq.read_table(path)
    at = table.column_names.index(name)
    column = pa.array(values(table.column(name).to_pylist()), kind or table.schema.field(at).type)
    pq.write_table(table.set_column(at, name, column), path)


def index_rows(shelf):
    return next(
        shelf / name for name in OpenStore.open(shelf).manifest.names if "rows-00000" in name
    )


def test_an_index_names_a_product_that_is_not_there(shelf):
    changed(index_rows(shelf), "product_id", lambda ids: [10**12 + n for n in range(len(ids))])
    reseal(shelf)
    index = api.open_index(OpenStore.open(shelf), "text")
    why = "which its index names; run `vitrina index --rebuild`"
    with pytest.raises(StoreError, match=why):
        index.search(text="кружка", k=3)
    with pytest.raises(StoreError, match="names products that are not in its store"):
        _ = index.labels


def test_an_index_has_ids_of_another_type(shelf):
    changed(index_rows(shelf), "product_id", lambda ids: [*map(str, ids)], pa.string())
    reseal(shelf)
    with pytest.raises(StoreError, match="names products that are not in its store"):
        _ = api.open_index(OpenStore.open(shelf), "text").labels


@pytest.mark.parametrize("moment", [-(2**62), -1, 253_402_300_799_999_999, 2**62])
def test_a_decision_of_no_time_that_can_be(shelf, moment):
    (path,) = (shelf / "decisions").iterdir()
    table = pq.read_table(path)
    at, kind = table.column_names.index("time"), table.schema.field("time").type
    column = pa.array([moment], pa.int64()).cast(kind)
    pq.write_table(table.set_column(at, "time", column), path)
    path = rename_decisions(path)
    store = OpenStore.open(shelf)
    words = rf"{path.name} is damaged \(its column time holds {moment}, which is out of bounds"
    for use in (lambda: store.decisions(), lambda: merge_decisions(store.files)):
        shutil.copy(path, path.with_name(path.name.replace("2026", "2025")))
        with pytest.raises(StoreError, match=words.replace("2026", "202[56]")):
            use()


@pytest.mark.parametrize(
    ("name", "values", "kind", "words"),
    [
        ("neighbours", lambda lists: [lists[0] * 200] * len(lists), None, "neighbours has"),
        ("product_id", lambda ids: [0.5] * len(ids), pa.float64(), "product_id is double"),
        ("reasons", lambda lists: [["a wish"]] * len(lists), None, "a wish"),
        ("product_id", lambda ids: ["x"] * len(ids), pa.string(), "Failed to parse"),
        ("rank", lambda ranks: [1] * len(ranks), None, "has a rank twice"),
    ],
)
def test_suspects_that_can_be_none(shelf, name, values, kind, words):
    path = next(shelf / one for one in OpenStore.open(shelf).manifest.names if "suspects" in one)
    changed(path, name, values, kind)
    reseal(shelf)
    with pytest.raises(StoreError) as caught:
        Audit.of(OpenStore.open(shelf))
    assert "suspects.parquet" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("column", "words"),
    [(pa.array([0.5]), "product_id is double"), (pa.array(["x"]), "Failed to parse")],
)
def test_what_an_encoder_learnt_from_is_no_ids(made, tmp_path, column, words):
    pq.write_table(pa.table({"product_id": column}), tmp_path / TRAINED_ON)
    with pytest.raises(TrainingError, match=rf"{TRAINED_ON} is damaged .*{words}"):
        rows_seen(OpenStore.open(made), tmp_path)


def test_ids_that_are_none():
    with pytest.raises(ValueError, match="an id must be an integer or text"):
        id_keys([1, None])


# -- parts of the product table --------------------------------------------------------------------


class Parts:
    """The product table in two halves, the second of them changed."""

    def __init__(self, shelf, change):
        store = OpenStore.open(shelf)
        (part,) = store.manifest.products
        table = pq.read_table(shelf / part.path)
        half = len(table) // 2
        self.files, entries = store.files, []
        for number, one in enumerate((table.slice(0, half), change(table.slice(half)))):
            path = shelf / f"products/half-{number}.parquet"
            pq.write_table(one, path)
            size = path.stat().st_size
            name = str(path.relative_to(shelf))
            entries.append(FileEntry(name, len(one), size, checksum(path)))
        self.products = Products(self.files, Manifest(products=tuple(entries)))


def test_parts_that_differ_in_what_may_be_null(shelf):
    def change(table):
        return table.cast(pa.schema([one.with_nullable(True) for one in table.schema]))

    products = Parts(shelf, change).products
    taken = products.take(np.arange(len(products)), ["product_id", "title"])
    assert taken.column("product_id").to_pylist() == products.ids.to_pylist()


def test_a_part_that_lacks_a_column(shelf):
    products = Parts(shelf, lambda table: table.drop_columns(["source"])).products
    for use in (
        lambda: [*products.batches(["source"])],
        lambda: products.take(np.arange(len(products)), ["source"]),
        lambda: products.sources(),
    ):
        with pytest.raises(StoreError, match=r"half-1\.parquet is damaged .*lacks the column"):
            use()


def test_columns_of_nobody_are_left_alone(shelf):
    store = OpenStore.open(shelf)
    (part,) = store.manifest.products
    table = pq.read_table(shelf / part.path)
    odd = pa.array([{"a": [1]}] * len(table))
    pq.write_table(table.append_column("odd", odd), shelf / part.path)
    reseal(shelf)
    products = OpenStore.open(shelf).products
    assert "odd" not in products.schema.names
    with pytest.raises(StoreError, match="no product has 'odd'"):
        matching(products, [Condition.parse("odd=1")])
