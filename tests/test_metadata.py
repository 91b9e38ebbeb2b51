import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.catalogue_files import all_rows, fields, jsonl, parquet, products_of, text
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import ReadingOptions
from vitrina.data.product import Product
from vitrina.data.readers import ALL_NEEDED, LABELS_OPTIONAL, Columns
from vitrina.data.readers.metadata import metadata_of
from vitrina.data.reading import Reading
from vitrina.errors import CatalogueError


def kept(path, *names):
    return [product.metadata for product in products_of(path, columns=Columns(keep=names))]


# Which columns.


def test_the_marketplace_form_keeps_its_own_columns(tmp_path):
    path = parquet(
        tmp_path / "a.parquet",
        rating=[4.5, None],
        product_id=[1, 2],
        sale=[True, False],
        shop_id=[10, 11],
        price=[99.0, 5.5],
        text_fields=[fields(title="a"), fields(title="b")],
    )
    own = [(("sale", True), ("shop_id", 10), ("rating", 4.5)), (("sale", False), ("shop_id", 11))]
    assert kept(path) == own
    assert kept(path, "price", "rating") == [
        (*own[0], ("price", 99.0)),
        (*own[1], ("price", 5.5)),
    ]
    assert products_of(path)[0].text == "a"


def test_another_marketplace_file_may_lack_them(tmp_path):
    path = parquet(
        tmp_path / "a.parquet", product_id=[1], rating=[0.0], text_fields=[fields(title="a")]
    )
    assert kept(path) == [(("rating", 0.0),)]


def test_a_plain_table_keeps_what_is_named_in_that_order(tmp_path):
    path = parquet(
        tmp_path / "a.parquet", product_id=[1], title=["a"], rating=[5], price=[10], url=["u"]
    )
    assert kept(path) == [()]
    assert kept(path, "url", "price", "url") == [(("url", "u"), ("price", 10))]


def test_a_kept_column_may_serve_elsewhere_too(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,title,brand,category_id\n7,a,Чудо,3\n")
    columns = Columns(attributes=("brand",), keep=("brand", "product_id", "title", "category_id"))
    assert products_of(path, columns=columns) == [
        Product(
            row=1,
            product_id=7,
            title="a",
            attributes=("brand: Чудо",),
            category_id=3,
            metadata=(("brand", "Чудо"), ("product_id", "7"), ("title", "a"), ("category_id", "3")),
        )
    ]


def test_kept_columns_are_no_text(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"product_id": 1, "title": "a", "price": "199 попугаев"})
    (product,) = products_of(path, columns=Columns(keep=("price",)))
    assert product.metadata == (("price", "199 попугаев"),)
    assert product.text == "a"


def test_columns_to_keep_do_not_stand_in_for_a_title(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,price\n1,5\n")
    with pytest.raises(CatalogueError, match="no column 'title'"):
        Catalogue.read(path, columns=Columns(keep=("price",)))


@pytest.mark.parametrize("needs", [ALL_NEEDED, LABELS_OPTIONAL])
def test_a_column_to_keep_that_is_not_there(tmp_path, needs):
    path = text(tmp_path / "a.csv", "product_id,title,price\n1,a,5\n")
    reading = Reading(Columns(keep=("price", "nope")))
    expected = r"a\.csv: no column 'nope'; there are product_id, title, price; .* --keep-columns$"
    with pytest.raises(CatalogueError, match=expected):
        Catalogue.open(path, reading, needs)


def test_a_column_that_is_there_twice(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,text_fields,rating,rating\n1,{},4,5\n")
    assert kept(path) == [()]
    with pytest.raises(CatalogueError, match=r"more than one column 'rating'.* --keep-columns$"):
        kept(path, "rating")


# Which values.


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([10.0, None, math.nan]), [10.0, None, None]),
        (pa.array([math.inf, -math.inf, -0.5]), [None, None, -0.5]),
        (pa.array([1, 2**62, None]), [1, 2**62, None]),
        (pa.array([2**64 - 1, 0, 1], pa.uint64()), [2**64 - 1, 0, 1]),
        (pa.array([True, False, None]), [True, False, None]),
        (pa.array([Decimal("9.90"), None, Decimal(5)]), [9.9, None, 5.0]),
        (pa.array([" a&amp;b ", "", "  "]), ["a&amp;b", None, None]),
        (pa.array(["x", None, "y"]).dictionary_encode(), ["x", None, "y"]),
        (pa.array([date(2024, 5, 1), None, date(1, 1, 1)]), ["2024-05-01", None, "0001-01-01"]),
        (
            pa.array([datetime(2024, 5, 1, 12, tzinfo=UTC), None, None], pa.timestamp("ns", "UTC")),
            ["2024-05-01 12:00:00.000000000Z", None, None],
        ),
        (pa.array([time(12, 30), None, None]), ["12:30:00", None, None]),
        (pa.array([timedelta(hours=1), None, None]), ["1:00:00", None, None]),
        (pa.array([["a", "b"], [], None]), ["a, b", None, None]),
        (pa.array([{"a": 1, "b": ["x", "y"]}, None, None]), ["a: 1, b: x, y", None, None]),
        (pa.array(["ж".encode(), b"\xff\xd8\xff", b""]), ["ж", None, None]),
        (pa.array([[b"\xff"], [b"a"], None]), [None, "a", None]),
        (pa.nulls(3), [None, None, None]),
    ],
)
def test_values_of_parquet(tmp_path, array, expected):
    path = parquet(tmp_path / "a.parquet", product_id=[1, 2, 3], title=["t"] * 3, x=array)
    values = [dict(metadata).get("x") for metadata in kept(path, "x")]
    assert [(value, type(value)) for value in values] == [(e, type(e)) for e in expected]


def test_values_of_jsonl(tmp_path):
    lines = ["12", "12.0", "true", "null", "NaN", '"\\ud83d x"', '{"a": [1, null]}', "1e999", '""']
    path = jsonl(
        tmp_path / "a.jsonl",
        *(f'{{"product_id": {n}, "title": "", "x": {value}}}' for n, value in enumerate(lines)),
    )
    values = [dict(metadata).get("x") for metadata in kept(path, "x")]
    assert values == [12, 12.0, True, None, None, "? x", "a: 1", None, None]
    assert list(map(type, values[:3])) == [int, float, bool]


def test_values_of_csv_are_text(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,title,x\n1,a, 5.50 \n2,b,\n3,c,<b>\n")
    assert kept(path, "x") == [(("x", "5.50"),), (), (("x", "<b>"),)]


def test_what_cannot_be_kept_costs_no_product(tmp_path):
    deep = "[" * 900 + "]" * 900
    path = jsonl(tmp_path / "a.jsonl", f'{{"product_id": 1, "title": "a", "x": {deep}}}')
    assert kept(path, "x") == [()]


class Odd:
    def __str__(self):
        return " odd "


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), "0.5"),
        (np.float64(2.0), 2.0),
        (np.float64("nan"), None),
        (np.int64(5), "5"),
        (np.bool_(True), "True"),
        (np.datetime64("2024-05-01"), "2024-05-01"),
        (Decimal("NaN"), None),
        (Decimal("sNaN"), None),
        (Decimal("1e400"), None),
        (Odd(), "odd"),
        ((1, "a"), "1, a"),
    ],
)
def test_values_from_python(value, expected):
    (found,) = metadata_of([("x", value)]) or [("x", None)]
    assert found == ("x", expected)
    assert type(found[1]) is type(expected)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text()
    | st.binary()
    | st.dates()
    | st.sampled_from(["\ud800", "a\0b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(ANYTHING, max_size=6))
def test_any_value_becomes_one_that_json_holds(values):
    found = metadata_of((str(n), value) for n, value in enumerate(values))
    written = json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    assert json.loads(written) == [list(pair) for pair in found]
    assert {type(value) for _, value in found} <= {str, int, float, bool}
    names = [name for name, _ in found]
    assert names == sorted(set(names), key=int)


# Settings.


def test_settings_remember_what_to_keep():
    reading = Reading(Columns(keep=("price", "url")))
    stored = json.loads(json.dumps(reading.to_json()))
    assert stored["columns"]["keep"] == ["price", "url"]
    assert Reading.from_json(stored) == reading
    assert reading.with_options(ReadingOptions(photos=2)).columns.keep == ("price", "url")
    named = reading.with_options(ReadingOptions(columns=Columns(title="name")))
    assert named.columns == Columns(title="name", keep=("price", "url"))
    fewer = reading.with_options(ReadingOptions(columns=Columns(keep=("url",))))
    assert fewer.columns.keep == ("url",)


def test_settings_stored_before_there_was_anything_to_keep():
    stored = Reading(Columns(attributes=("brand",))).to_json()
    del stored["columns"]["keep"]
    assert Reading.from_json(stored) == Reading(Columns(attributes=("brand",)))


def test_a_later_batch_keeps_the_same(tmp_path):
    train = text(tmp_path / "train.csv", "product_id,title,price\n1,a,5\n")
    reading = Catalogue.read(train, columns=Columns(keep=("price",))).reading
    batch = jsonl(tmp_path / "batch.jsonl", {"product_id": 2, "title": "b", "price": 7.0})
    assert all_rows(Catalogue.open(batch, Reading.from_json(reading.to_json())))[0] == [
        Product(row=1, product_id=2, title="b", metadata=(("price", 7.0),))
    ]
