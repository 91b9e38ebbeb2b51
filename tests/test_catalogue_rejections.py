import gzip
import json
import math
import re
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.catalogue_files import all_rows, jsonl, parquet, products_of, rejected_of, text
from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Product, Rejection
from vitrina.data.readers import Columns
from vitrina.errors import CatalogueError, OptionError

# Rejected rows.


def test_rows_without_an_id(tmp_path):
    path = parquet(tmp_path / "a.parquet", product_id=[None, "", "  ", "a"], title=["t"] * 4)
    assert rejected_of(path) == [Rejection(row, "no product_id") for row in (1, 2, 3)]
    path = parquet(tmp_path / "b.parquet", product_id=[None, math.nan, 1.0], title=["t"] * 3)
    assert rejected_of(path) == [Rejection(row, "no product_id") for row in (1, 2)]
    path = jsonl(tmp_path / "a.jsonl", {"title": "a"}, {"product_id": None}, {"product_id": 1})
    assert rejected_of(path) == [Rejection(row, "no product_id") for row in (1, 2)]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_an_id_seen_twice_in_the_file(tmp_path, size):
    path = parquet(
        tmp_path / "a.parquet", product_id=[5, 6, 5, 7, 6], title=["a", "b", "c", "d", "e"]
    )
    products, rejected = all_rows(Catalogue.read(path), size)
    assert [(p.row, p.product_id) for p in products] == [(1, 5), (2, 6), (4, 7)]
    reason = "this product_id was seen before, in an earlier row"
    assert rejected == [Rejection(3, reason, 5), Rejection(5, reason, 6)]


def test_a_rejected_row_does_not_claim_its_id(tmp_path):
    path = parquet(tmp_path / "a.parquet", product_id=[5, 5], text_fields=["{", "{}"])
    products, rejected = all_rows(Catalogue.read(path))
    assert [product.row for product in products] == [2]
    assert [rejection.row for rejection in rejected] == [1]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1, True], "product_id True is neither an integer nor text"),
        ([1, [2]], "product_id [2] is neither an integer nor text"),
        ([1, 1.5], "product_id 1.5 is not a whole number"),
        ([1, math.inf], "product_id inf is not a whole number"),
        (
            [1, 2.0**60],
            "product_id 1.152921504606847e+18 is a float too large to represent an id exactly",
        ),
        (["a", "\ud800"], "product_id is not valid text"),
    ],
)
def test_ids_of_the_wrong_kind(tmp_path, values, reason):
    path = jsonl(
        tmp_path / "a.jsonl", *(json.dumps({"product_id": value, "title": ""}) for value in values)
    )
    assert rejected_of(path) == [Rejection(2, reason)]


def test_nan_does_not_decide_what_the_others_are(tmp_path):
    rows = (
        '{"product_id": 1, "title": "", "category_id": NaN}',
        '{"product_id": 2, "title": "", "category_id": "x"}',
    )
    products = products_of(jsonl(tmp_path / "a.jsonl", *rows))
    assert [product.category_id for product in products] == [None, "x"]


def test_broken_lines_of_jsonl(tmp_path):
    good = {"product_id": 1, "title": "a"}
    path = jsonl(tmp_path / "a.jsonl", good, '{"product_id": 2', "", "[1]", "9" * 5000)
    rejected = rejected_of(path)
    assert [rejection.row for rejection in rejected] == [2, 3, 4]
    assert rejected[0].reason.startswith("broken JSON: Expecting")
    assert rejected[1].reason == "not a JSON object"
    assert rejected[2].reason.startswith("broken JSON: Exceeds the limit")


def test_csv_lines_with_the_wrong_number_of_fields(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,title\n1,a\n2\n3,b,c\n4,d\n")
    products, rejected = all_rows(Catalogue.read(path))
    assert [(p.row, p.product_id) for p in products] == [(1, 1), (4, 4)]
    assert rejected == [
        Rejection(2, "1 fields, but the header has 2", 2),
        Rejection(3, "3 fields, but the header has 2", 3),
    ]


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path):
    path = text(tmp_path / "a.csv", 'product_id,title\n1,"a\n2,b\n3,c\n')
    products, rejected = all_rows(Catalogue.read(path))
    assert [(p.row, p.product_id, p.title) for p in products] == [(2, 2, "b"), (3, 3, "c")]
    assert rejected == [Rejection(1, "a quote is opened and never closed", 1)]


def test_two_stray_quotes_lines_apart_cost_their_own_rows(tmp_path):
    path = text(tmp_path / "a.csv", 'product_id,title\n1,"a\n2,b\n3,"c"d\n4,e\n')
    products, rejected = all_rows(Catalogue.read(path))
    assert [p.product_id for p in products] == [2, 3, 4]
    assert rejected == [Rejection(1, "',' expected after '\"'", 1)]


def test_a_quote_left_open_for_long(tmp_path):
    lines = "".join(f"{number},{'x' * 500}\n" for number in range(2, 3000))
    path = text(tmp_path / "a.csv", f'product_id,title\n1,"a\n{lines}')
    products, rejected = all_rows(Catalogue.read(path))
    assert len(products) == 2998
    assert [rejection.row for rejection in rejected] == [1]


def test_a_title_of_any_length(tmp_path):
    path = text(tmp_path / "a.csv", f"product_id,title\n1,{'x' * 200_000}\n2,b\n")
    assert [(p.product_id, len(p.title)) for p in products_of(path)] == [(1, 200_000), (2, 1)]


PIECES = st.sampled_from(
    [b"1", b"2", b"a", b",", b'"', b"\n", b"\r\n", b"\0", b"\xff", b" ", b"{", b"}"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pieces=st.lists(PIECES, max_size=60), size=st.integers(1, 5))
@pytest.mark.parametrize("head", [b"product_id,title\n", b'{"product_id": 1, "title": ""}\n'])
def test_any_bytes_give_rows_in_order_or_one_clear_error(tmp_path, head, pieces, size):
    path = tmp_path / "a.txt"
    path.write_bytes(head + b"".join(pieces))
    try:
        catalogue = Catalogue.read(path)
    except CatalogueError as err:
        assert str(err).startswith(str(path))  # noqa: PT017 - most inputs are no error
        return
    numbers = []
    for batch in catalogue.batches(size):
        both = [*batch.products, *batch.rejected]
        assert 1 <= len(both) <= size
        numbers += sorted(row.row for row in both)
        assert all(row.reason for row in batch.rejected)
    assert numbers == list(range(1, len(numbers) + 1))


def test_undecodable_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("product_id,title\n1,ж\n2,\n3,ы\n".encode().replace(b"2,", b"2,\xff\xfe"))
    reason = "not valid utf-8: its bytes can't be decoded"
    assert rejected_of(path) == [Rejection(2, reason, 2)]
    path.write_bytes(b'product_id,title\n1,a\n2,"\xff\n3,b"\n4,d\n')
    products, rejected = all_rows(Catalogue.read(path))
    assert [(p.row, p.product_id) for p in products] == [(1, 1), (3, 4)]
    assert rejected == [Rejection(2, reason, 2)]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"product_id": 1, "title": ""}\n{"product_id": 2, "title": "\xff"}\n')
    assert rejected_of(path) == [Rejection(2, reason, 2)]


def test_undecodable_bytes_in_parquet(tmp_path):
    titles = pa.array([b"a", b"\xff", "ж".encode()]).view(pa.string())
    path = parquet(tmp_path / "a.parquet", product_id=[1, 2, 3], title=titles)
    products, rejected = all_rows(Catalogue.read(path))
    assert [product.title for product in products] == ["a", "ж"]
    reason = "column 'title' can't be read: it is not valid utf-8"
    assert rejected == [Rejection(2, reason, 2)]


def test_a_row_with_no_text_is_kept(tmp_path):
    path = parquet(tmp_path / "a.parquet", product_id=[1], title=pa.array([None], pa.string()))
    assert products_of(path) == [Product(row=1, product_id=1, title="")]


# What is refused as a whole.

NAMED = {
    "product_id": "--id-column",
    "title": "--title-column",
    "description": "--description-column",
    "shop": "--shop-column",
    "category_id": "--category-column",
    "category_name": "--category-name-column",
    "image": "--image-column",
}


@pytest.mark.parametrize(("name", "option"), NAMED.items())
def test_a_named_column_that_is_not_there(tmp_path, name, option):
    path = parquet(tmp_path / "a.parquet", product_id=[1], title=["a"])
    expected = f"{path}: no column 'nope'; there are product_id, title; "
    expected += f"say which one to take with {option}"
    with pytest.raises(CatalogueError, match=f"^{re.escape(expected)}$"):
        Catalogue.read(path, columns=replace(Columns(), **{name: "nope"}))


def test_a_named_attribute_column_that_is_not_there(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,title,brand\n1,a,b\n")
    with pytest.raises(CatalogueError, match=r"no column 'nope'.*brand.*--attribute-columns$"):
        Catalogue.read(path, columns=Columns(attributes=("brand", "nope")))


def test_a_name_with_a_comma_is_shown_as_it_is_typed(tmp_path):
    path = text(tmp_path / "a.csv", 'product_id,title,"Вес, кг",brand\n1,a,2,b\n')
    with pytest.raises(CatalogueError, match=r'there are product_id, title, "Вес, кг", brand; say'):
        Catalogue.read(path, columns=Columns(keep=("nope",)))
    unquoted = Columns(keep="brand,Вес, кг")
    expected = "a name with a comma is quoted: --keep-columns '\"Вес, кг\"'"
    with pytest.raises(CatalogueError, match=f"; {expected}$"):
        Catalogue.read(path, columns=unquoted)
    (product,) = products_of(path, columns=Columns(keep='brand,"Вес, кг"'))
    assert product.metadata == (("brand", "b"), ("Вес, кг", "2"))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("sku,title", "no column 'product_id'; there are sku, title; .* --id-column"),
        ("product_id,name", "no column 'title'; there are product_id, name; .* --title-column"),
        ("product_id,title,title", "more than one column 'title'; .* --title-column"),
        (
            "product_id,text_fields,text_fields",
            "more than one column 'text_fields'; leave one of them in the file",
        ),
    ],
)
def test_columns_that_must_be_there(tmp_path, header, message):
    path = text(tmp_path / "a.csv", f"{header}\n1,a\n")
    with pytest.raises(CatalogueError, match=f"^{re.escape(str(path))}: {message}$"):
        Catalogue.read(path)


def test_a_long_list_of_columns_is_cut(tmp_path):
    path = text(tmp_path / "a.csv", ",".join(f"c{number}" for number in range(50)))
    with pytest.raises(CatalogueError, match=r"c29 and 20 more; say"):
        Catalogue.read(path)


def test_other_text_may_stand_in_for_the_title(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,name\n1,a\n")
    columns = Columns(attributes=("name",))
    assert products_of(path, columns=columns)[0].attributes == ("name: a",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.parquet", b"", "the file is empty"),
        ("a.csv", b" \n\n", "the file is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "the file is empty"),
        ("a.parquet", b"PAR1" + b"x" * 100, "can't be read as Parquet: "),
        ("a.parquet", b"product_id,title\n", "can't be read as Parquet: "),
        ("a.xlsx", b"PK\x03\x04....", "this is a zip archive and no spreadsheet"),
        ("a.arrow", b"ARROW1\0\0", "this is an Arrow IPC file"),
        ("a.json", b' [{"product_id": 1, "title": "a"}', "cut short: the JSON array has no end"),
        ("a.json", b"[]", "no JSON object in the array"),
        ("a.json", b"[1, 2]", "no JSON object in the array"),
        ("a.html", b"<html></html>", "this is XML or HTML"),
        ("a.parquet.gz", gzip.compress(b"PAR1....", mtime=0), "this is a gzipped Parquet file"),
        ("a.jsonl", b"{1\n{2\n", "no JSON object on any of the first 2 lines"),
        ("a.csv.gz", gzip.compress(b"product_id,title\n1,a\n", mtime=0)[:-10], "can't be read: "),
        ("a.csv", "product_id,имя\n".encode("cp1251"), "not valid utf-8; .*--encoding cp1251"),
        ("a.csv", b'"product_id,title\n1,a\n', "the header can't be read: a quote is opened"),
    ],
)
def test_files_that_are_no_catalogue(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CatalogueError, match=rf"^{re.escape(str(path))}: .*{message}") as caught:
        Catalogue.read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(CatalogueError, match=r"nope\.csv: can't be read: .*No such file"):
        Catalogue.read(tmp_path / "nope.csv")


def test_a_directory_without_parquet(tmp_path):
    with pytest.raises(CatalogueError, match=r"no \.parquet file in this directory"):
        Catalogue.read(tmp_path)


def test_parquet_damaged_in_the_middle(tmp_path):
    path = parquet(tmp_path / "a.parquet", product_id=[1, 2], title=["a" * 5000, "b" * 5000])
    content = bytearray(path.read_bytes())
    content[20:200] = b"\xff" * 180
    path.write_bytes(content)
    catalogue = Catalogue.read(path)
    with pytest.raises(CatalogueError, match=r"a\.parquet: can't be read as Parquet"):
        list(catalogue.batches())


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_the_wrong_encoding_for_most_rows(tmp_path, name):
    rows = [f"{number},ж" for number in range(6)]
    if name == "a.jsonl":
        rows = [f'{{"product_id": {number}, "title": "ж"}}' for number in range(6)]
    else:
        rows.insert(0, "product_id,title")
    path = text(tmp_path / name, "\n".join(rows), "cp1251")
    message = "6 of the first 6 rows are not valid utf-8; .* --encoding cp1251"
    with pytest.raises(CatalogueError, match=message):
        Catalogue.read(path)
    assert products_of(path, encoding="cp1251")[5].title == "ж"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "klingon"}, "unknown --encoding 'klingon'"),
        ({"encoding": "base64"}, "unknown --encoding 'base64'"),
        ({"encoding": "utf-16"}, "can't be decoded, see --encoding"),
        ({"delimiter": ";;"}, "--delimiter must be one character, not ';;'"),
        ({"delimiter": ""}, "--delimiter must be one character, not ''"),
        ({"delimiter": '"'}, "--delimiter must be one character"),
        ({"photos": 0}, "photos must be at least 1, not 0"),
    ],
)
def test_options_that_make_no_sense(tmp_path, options, message):
    path = text(tmp_path / "a.csv", "product_id;title\n1;aa\n")
    with pytest.raises((CatalogueError, OptionError), match=message):
        Catalogue.read(path, **options)


@pytest.mark.parametrize("name", ["product_id", "category_id"])
def test_columns_that_cannot_hold_ids(tmp_path, name):
    columns = {"product_id": [1], "category_id": [1], "title": ["a"]}
    path = parquet(tmp_path / "a.parquet", **{**columns, name: [True]})
    with pytest.raises(CatalogueError, match=f"column '{name}' holds bool, which can't be an id"):
        Catalogue.read(path)
