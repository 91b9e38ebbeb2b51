"""Columns of every Arrow type: a value that can't be read costs its row, or only itself."""

import json
import struct
from datetime import date, time, timedelta
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.catalogue_files import all_rows, parquet, products_of
from vitrina.data.catalogue import Catalogue
from vitrina.data.readers import Columns
from vitrina.data.readers.arrow_values import values_of
from vitrina.data.readers.base import UnreadableValue
from vitrina.errors import CatalogueError

BAD = pa.array([b"ok", b"\xff"]).view(pa.string())
SMALL, LARGE = pa.array([0, 2**31 - 1], pa.int32()), pa.array([0, 2**62], pa.int64())


def nested(kind):
    return pa.array([["ok"], ["x"]], kind)


BROKEN = {
    "text": BAD,
    "dictionary": BAD.dictionary_encode(),
    "list": pa.ListArray.from_arrays([0, 1, 2], BAD),
    "large list": pa.LargeListArray.from_arrays([0, 1, 2], BAD),
    "fixed-size list": pa.FixedSizeListArray.from_arrays(BAD, 1),
    "struct": pa.StructArray.from_arrays([BAD], ["x"]),
    "map": pa.MapArray.from_arrays([0, 1, 2], pa.array(["k", "k"]), BAD),
    "list of structs": pa.ListArray.from_arrays(
        [0, 1, 2], pa.StructArray.from_arrays([BAD], ["x"])
    ),
    "date32": SMALL.view(pa.date32()),
    "date64": pa.array([0, 86_400_000 * 2**36], pa.int64()).view(pa.date64()),
    "time64": LARGE.view(pa.time64("us")),
    "timestamp in s": LARGE.view(pa.timestamp("s")),
    "timestamp in us": LARGE.view(pa.timestamp("us", "UTC")),
    "duration": LARGE.view(pa.duration("s")),
}
# These can't be written to Parquet, or not so that they are read again.
UNWRITTEN = {"timestamp in s", "date64", "duration"}


@pytest.mark.parametrize("name", BROKEN)
def test_a_value_that_cannot_be_read(tmp_path, name):
    good, bad = values_of("x", BROKEN[name])
    assert not isinstance(good, UnreadableValue)
    assert isinstance(bad, UnreadableValue)
    assert bad.reason.startswith("column 'x' can't be read: it is ")
    if name in UNWRITTEN:
        return
    path = parquet(tmp_path / "a.parquet", product_id=[1, 2], title=["a", "b"], x=BROKEN[name])
    products, rejected = all_rows(Catalogue.read(path, columns=Columns(attributes=("x",))))
    assert [one.product_id for one in products] == [1]
    assert [(one.row, one.product_id, one.reason) for one in rejected] == [(2, 2, bad.reason)]
    catalogue = Catalogue.read(path, columns=Columns(keep=("x",)))
    products, rejected = all_rows(catalogue)
    assert ([len(one.metadata) for one in products], rejected) == ([1, 0], [])
    assert catalogue.repairs == {"values of column 'x' left out that can't be read": 1}
    assert [one.product_id for one in products_of(path)] == [1, 2]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["a"], pa.string_view()), "a"),
        (pa.array([b"a"], pa.binary_view()), "a"),
        (pa.array([b"a"], pa.large_binary()), "a"),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (nested(pa.list_view(pa.string())), "ok"),
        (nested(pa.large_list_view(pa.string())), "ok"),
        (nested(pa.list_(pa.string(), 1)), "ok"),
        (pa.array([{"x": "a"}]), "x: a"),
        (pa.array([[("k", "a"), ("l", "b")]], pa.map_(pa.string(), pa.string())), "k: a, l: b"),
        (pa.array([1.5], pa.float16()), "1.5"),
        (pa.array([Decimal("1.50")], pa.decimal256(50, 2)), "1.50"),
        (pa.array([date(2024, 5, 1)]), "2024-05-01"),
        (pa.array([time(12, 30)]), "12:30:00"),
        (pa.array([5], pa.int64()).view(pa.time64("ns")), "00:00:00"),
        (pa.array([timedelta(hours=1)]), "1:00:00"),
        (pa.array([3_600_000_000_001], pa.int64()).view(pa.duration("ns")), "1:00:00"),
        (
            pa.array([0], pa.int64()).view(pa.timestamp("ms", "No/Where")),
            "1970-01-01 00:00:00.000Z",
        ),
        (pa.RunEndEncodedArray.from_arrays([1], ["a"]), "a"),
        (pa.nulls(1), ""),
        (
            pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)], pa.binary(16))),
            str(UUID(int=0)),
        ),
        (pa.ExtensionArray.from_storage(pa.json_(), pa.array(["[1]"])), "[1]"),
    ],
)
def test_text_of_every_type(array, expected, tmp_path):
    (value, *_) = values_of("x", array)
    assert not isinstance(value, UnreadableValue)
    try:
        path = parquet(tmp_path / "a.parquet", product_id=[1], title=["t"], x=array[:1])
    except pa.ArrowNotImplementedError:
        path = None
    if path is not None:
        (product,) = products_of(path, columns=Columns(title="x"))
        assert product.title == expected


# Files that lie.


def test_a_long_value_in_few_bytes_costs_its_row(tmp_path):
    texts = [json.dumps({"title": "a" * length}) for length in (1, 17_000_000)]
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 20, pa.int32()), pa.array(texts))
    path = tmp_path / "a.parquet"
    table = pa.table({"product_id": list(range(40)), "text_fields": array})
    pq.write_table(table, path, compression="zstd")
    products, rejected = all_rows(Catalogue.read(path))
    assert [one.product_id for one in products] == list(range(0, 40, 2))
    assert {one.reason for one in rejected} == {
        "column 'text_fields' is longer than 16777216 bytes"
    }
    plain = table.set_column(1, "text_fields", array.dictionary_decode())
    pq.write_table(plain, path, compression="zstd", store_schema=False)
    assert [one.product_id for one in all_rows(Catalogue.read(path))[1]] == list(range(1, 40, 2))


def test_a_page_that_claims_gigabytes(tmp_path):
    path = parquet(tmp_path / "a.parquet", product_id=[1, 2], title=["a" * 50, "b" * 50])
    chunk = pq.read_metadata(path).row_group(0).column(1)
    content = bytearray(path.read_bytes())
    at = chunk.dictionary_page_offset
    # A header of the same length whose page is 2,000,000,000 bytes, packed or not.
    size = (2_000_000_000 << 1).to_bytes(5, "little")
    number = int.from_bytes(size, "little")
    varint = bytes(
        (number >> shift & 127) | (128 if shift < 28 else 0) for shift in range(0, 35, 7)
    )
    content[at : at + 12] = (
        struct.pack("<BB", 0x15, 4) + b"\x15" + varint[:5] + b"\x15\x02" + b"\x00\x00"
    )
    path.write_bytes(content)
    catalogue = Catalogue.read(path)
    with pytest.raises(CatalogueError, match="is said to hold 1 bytes, 2000000000 unpacked"):
        list(catalogue.batches())


def test_rows_that_are_missing(tmp_path, monkeypatch):
    path = parquet(tmp_path / "a.parquet", product_id=[1, 2], title=["a", "b"])
    catalogue = Catalogue.read(path)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: iter(()))
    with pytest.raises(CatalogueError, match="0 rows are there, 2 are declared"):
        list(catalogue.batches())


@pytest.mark.slow
def test_long_texts_come_in_small_batches(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"product_id": range(40), "title": ["a" * 5_000_000] * 40})
    pq.write_table(table, path, compression="none", use_dictionary=False)
    sizes = [len(batch.products) for batch in Catalogue.read(path).batches()]
    assert sizes == [14, 14, 12]


@pytest.mark.parametrize("columns", [["a.b"], ["a.b", "a"]])
def test_columns_whose_names_have_points(tmp_path, columns):
    path = parquet(
        tmp_path / "a.parquet", **{"a.b": [1, 2], "a": [{"c": 1}, {"c": 2}], "b": ["x", "y"]}
    )
    named = Columns(product_id="a.b", title="b", keep=tuple(columns[1:]))
    assert [one.product_id for one in products_of(path, columns=named)] == [1, 2]
