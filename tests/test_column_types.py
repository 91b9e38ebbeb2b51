"""Ids and labels: the type of a column is found over all of its rows, and faults cost little."""

import json
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.catalogue_files import all_rows, fields, jsonl, parquet, products_of, rejected_of, text
from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Rejection
from vitrina.data.readers import Columns
from vitrina.data.readers.csv_lines import CsvLines
from vitrina.data.reading import Reading
from vitrina.errors import CatalogueError


def ids_of(path, **options):
    catalogue = Catalogue.read(path, **options)
    products, rejected = all_rows(catalogue)
    assert rejected == []
    assert {type(one.product_id) for one in products} == {catalogue.id_type}
    return [one.product_id for one in products], catalogue.integer_ids


@pytest.mark.parametrize(
    ("values", "expected", "integers"),
    [
        ([1, 2], [1, 2], True),
        ([1, 2.0], [1, 2], True),
        (["1", "2"], ["1", "2"], True),
        (["a", "2"], ["a", "2"], False),
        ([1, "2"], [1, 2], True),
        (["1", 2], [1, 2], True),
        (["-5", 0], [-5, 0], True),
        (["007", 7], ["007", "7"], False),
        (["1.0", 7], ["1.0", "7"], False),
        (["+1", 7.0], ["+1", "7"], False),
        (["A-1", 7], ["A-1", "7"], False),
        ([1, 2**63], ["1", "9223372036854775808"], False),
        (["9223372036854775808", 5], ["9223372036854775808", "5"], False),
        ([-(2**63), "9223372036854775807"], [-(2**63), 2**63 - 1], True),
        (["nan", "NULL", 5, "#N/A"], None, None),
    ],
)
def test_ids_of_jsonl(tmp_path, values, expected, integers):
    path = jsonl(tmp_path / "a.jsonl", *({"product_id": one, "title": "t"} for one in values))
    if expected is None:
        products, rejected = all_rows(Catalogue.read(path))
        assert [one.product_id for one in products] == [5]
        assert {one.reason for one in rejected} == {"no product_id"}
    else:
        assert ids_of(path) == (expected, integers)


def test_values_that_are_no_ids_do_not_decide(tmp_path):
    rows = [1, True, [2], {"a": 1}, 1.5, 1e300, "3"]
    path = jsonl(tmp_path / "a.jsonl", *({"product_id": one, "title": "t"} for one in rows))
    products, rejected = all_rows(Catalogue.read(path))
    assert [one.product_id for one in products] == [1, 3]
    assert [one.row for one in rejected] == [2, 3, 4, 5, 6]


MISSING = {"", "NaN", "nan", "NULL", "null", "None", "#N/A", "<NA>"}
TEXT_IDS = st.text(min_size=1, max_size=4).filter(lambda one: not one.isspace())
ID_LISTS = st.lists(
    st.one_of(
        st.integers(-(2**64), 2**64),
        st.integers(-20, 20).map(str),
        st.integers(-20, 20).map(float),
        st.sampled_from(["007", "1.0", "a", " 5", "5 ", "٣", "-0", "", "nan"]),
        TEXT_IDS,
    ),
    min_size=1,
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=ID_LISTS)
def test_no_id_is_lost_or_changed_whatever_the_mixture(tmp_path, values):
    path = jsonl(tmp_path / "a.jsonl", *({"product_id": one, "title": "t"} for one in values))
    catalogue = Catalogue.read(path)
    products, rejected = all_rows(catalogue)
    written = [str(int(one)) if isinstance(one, float) else str(one) for one in values]
    wanted = [one for one in written if one.strip() and one not in MISSING]
    assert [str(one.product_id) for one in products] == list(dict.fromkeys(wanted))
    assert len(products) + len(rejected) == len(values)
    if catalogue.integer_ids:
        assert all(str(int(one)) == one for one in wanted)
    assert catalogue.id_type is str or catalogue.integer_ids


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, 2**63], pa.uint64()), ["1", "9223372036854775808"]),
        (pa.array([1, 2], pa.uint64()), [1, 2]),
        (pa.array([1.0, 2.0], pa.float16()), [1, 2]),
        (pa.array([Decimal(1), Decimal(2)], pa.decimal256(40, 0)), [1, 2]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (pa.array([b"a", b"b"], pa.binary_view()), ["a", "b"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([b"abc", b"abd"], pa.binary(3)), ["abc", "abd"]),
        (
            pa.array([bytes(16), bytes(range(16))], pa.binary(16)),
            [str(UUID(int=0)), "00010203-0405-0607-0809-0a0b0c0d0e0f"],
        ),
        (
            pa.ExtensionArray.from_storage(
                pa.uuid(), pa.array([bytes(16), bytes([1] * 16)], pa.binary(16))
            ),
            [str(UUID(int=0)), "01010101-0101-0101-0101-010101010101"],
        ),
    ],
)
def test_ids_of_parquet(tmp_path, array, expected):
    path = parquet(tmp_path / "a.parquet", product_id=array, title=["t", "t"])
    assert ids_of(path)[0] == expected


def test_integers_are_found_in_a_column_of_text(tmp_path):
    for values, integers in (["1", "2"], True), (["1", "02"], False):
        path = parquet(tmp_path / "a.parquet", product_id=values, title=["t", "t"])
        assert ids_of(path) == (values, integers)


@pytest.mark.parametrize(
    ("other", "expected"), [("2", [1, 2]), ("002", ["1", "002"]), ("x", ["1", "x"])]
)
def test_files_of_a_directory_whose_ids_differ_in_type(tmp_path, other, expected):
    parquet(tmp_path / "0.parquet", product_id=[1], title=["a"])
    parquet(tmp_path / "1.parquet", product_id=[other], title=["b"], category_id=[3])
    assert ids_of(tmp_path)[0] == expected
    assert [one.category_id for one in products_of(tmp_path)] == [None, 3]


# Labels.


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1.5, "category_id 1.5 is not a whole number"),
        (True, "category_id True is neither an integer nor text"),
        ({"a": 1}, "category_id {'a': 1} is neither an integer nor text"),
    ],
)
def test_a_faulty_label_costs_the_label(tmp_path, value, reason):
    rows = [{"product_id": n, "title": "t", "category_id": c} for n, c in enumerate((3, value))]
    first, second = products_of(jsonl(tmp_path / "a.jsonl", *rows))
    assert (first.category_id, first.label_fault) == (3, "")
    assert (second.category_id, second.label_fault) == (None, reason)


def test_labels_of_two_types_are_one(tmp_path):
    rows = [
        {"product_id": n, "title": "t", "category_id": str(n % 3) if n % 2 else n % 3}
        for n in range(9)
    ]
    catalogue = Catalogue.read(jsonl(tmp_path / "a.jsonl", *rows))
    assert catalogue.category_type is int
    assert [one.category_id for one in all_rows(catalogue)[0]] == [n % 3 for n in range(9)]


def test_a_label_or_its_name_that_is_no_text(tmp_path):
    bad = pa.array([b"ok", b"\xff"]).view(pa.string())
    path = parquet(tmp_path / "a.parquet", product_id=[1, 2], title=["a", "b"], category_name=bad)
    assert [one.category_id for one in products_of(path)] == ["ok", None]
    path = parquet(
        tmp_path / "b.parquet",
        product_id=[1, 2],
        title=["a", "b"],
        category_id=[5, 6],
        category_name=bad,
    )
    _, second = products_of(path)
    assert (second.category_id, second.category_name) == (6, None)
    assert second.label_fault == "column 'category_name' can't be read: it is not valid utf-8"


def test_a_column_that_cannot_be_a_label_costs_a_batch_nothing(tmp_path):
    path = parquet(tmp_path / "a.parquet", product_id=[1], title=["a"], category_id=[True])
    with pytest.raises(CatalogueError, match="holds bool, which can't be an id"):
        Catalogue.read(path)
    catalogue = Catalogue.open(path, Reading())
    assert [one.category_id for one in all_rows(catalogue)[0]] == [None]
    assert "products get no label" in catalogue.notes[0]


# Rejections name the product.


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"product_id": 7, "title": "обры', 7),
        ('{"title": "a", "product_id" : "7" , "x": [', 7),
        ('{"product_id": 7', None),
        ('{"product_id": 71e', None),
        ('{"parent": {"product_id": 5}, "product_id": 7, "x": ', 7),
        ('{"parent": {"product_id": 5}, "x": ', None),
        ('{"title": "\\"product_id\\": 5, ", "x": ', None),
        ('{"product_id": "x7", "title": "обры', None),
        ("[1, 2]", None),
    ],
)
def test_a_broken_line_of_json_names_its_product(tmp_path, line, expected):
    path = jsonl(tmp_path / "a.jsonl", {"product_id": 1, "title": "a"}, line)
    (rejection,) = rejected_of(path)
    assert (rejection.row, rejection.product_id) == (2, expected)


def test_a_broken_line_names_a_product_by_text(tmp_path):
    good = {"sku": "a", "title": "t"}
    path = jsonl(tmp_path / "a.jsonl", good, '{"sku": "b\\u0020c", "title": ')
    (rejection,) = rejected_of(path, columns=Columns(product_id="sku"))
    assert rejection.product_id == "b c"
    path = jsonl(tmp_path / "b.jsonl", good, '{"sku": 12, "title": ')
    (rejection,) = rejected_of(path, columns=Columns(product_id="sku"))
    assert rejection.product_id == "12"


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("product_id,title,price", "7,a", 7),
        ("product_id,title,price", "7,a,b,c", 7),
        ("title,price,product_id", "a,b,5,7", 7),
        ("title,product_id,price", "a,7", None),
        ("title,product_id,price", "a,b,7,5", None),
        ("product_id,title,price", "x,a", None),
        ("product_id,title,price", '7,"a', 7),
        ("product_id,title,price", '"7,a', None),
        ("title,product_id,price", '"a,7,5', None),
    ],
)
def test_a_broken_row_of_csv_names_its_product(tmp_path, header, row, expected):
    good = ",".join("1" if name == "product_id" else "t" for name in header.split(","))
    path = text(tmp_path / "a.csv", f"{header}\n{good}\n{row}\n")
    (rejection,) = rejected_of(path)
    assert (rejection.row, rejection.product_id) == (2, expected)


def test_text_fields_cut_off_name_their_product(tmp_path):
    path = parquet(
        tmp_path / "a.parquet", product_id=[1, 2], text_fields=[fields(title="a"), '{"title": "о']
    )
    (rejection,) = rejected_of(path)
    assert rejection.product_id == 2


# Keys, missing values, columns.


def test_keys_that_only_later_rows_have(tmp_path):
    rows = [{"product_id": n, "title": "t"} for n in range(1500)]
    rows += [{"product_id": 1500, "title": "t", "category_id": 5, "price": 3, "seller": "s"}]
    path = jsonl(tmp_path / "a.jsonl", *rows)
    product = products_of(path, columns=Columns(keep=("price",), shop="seller"))[-1]
    assert (product.category_id, product.metadata, product.shop) == (5, (("price", 3),), "s")


@pytest.mark.parametrize("word", ["NaN", "nan", "NULL", "null", "None", "#N/A", "<NA>", " "])
def test_words_for_no_value_are_none(tmp_path, word):
    path = text(
        tmp_path / "a.csv",
        f"product_id,title,description,category_id,price\n1,{word},{word},{word},{word}\n"
        f"{word},a,b,2,5\n2,Nan,NAN baby,3,5\n",
    )
    products, rejected = all_rows(Catalogue.read(path, columns=Columns(keep=("price",))))
    first, second = products
    assert (first.title, first.description, first.category_id, first.metadata) == ("", "", None, ())
    assert (second.title, second.description, second.category_id) == ("Nan", "NAN baby", 3)
    assert rejected == [Rejection(2, "no product_id")]


def test_text_fields_that_are_none(tmp_path):
    raw = ["NaN", "null", fields(title="nan"), fields(title="None of us")]
    path = parquet(tmp_path / "a.parquet", product_id=[1, 2, 3, 4], text_fields=raw)
    assert [one.title for one in products_of(path)] == ["", "", "", "None of us"]


def test_all_missing_columns_are_named_at_once(tmp_path):
    path = text(tmp_path / "a.csv", "sku,name\n1,a\n")
    columns = Columns(description="about", attributes=("brand",), keep=("price",))
    with pytest.raises(CatalogueError) as caught:
        Catalogue.read(path, columns=columns)
    assert str(caught.value) == (
        f"{path}: no column 'product_id', no column 'about', no column 'brand', "
        "no column 'price', no column 'title'; there are sku, name; say which ones to take with "
        "--id-column, --title-column, --description-column, --attribute-columns and --keep-columns"
    )


def test_a_file_of_one_json_array(tmp_path):
    rows = [{"product_id": n, "title": "т" * 3000, "n": [{"a": 1}, {"b": 2}]} for n in range(2000)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    assert [one.product_id for one in products_of(path)] == list(range(2000))
    lines = [json.dumps(row, ensure_ascii=False) for row in rows[:3]]
    lines[1] = '{"product_id": 1, "title": broken}'
    path.write_text(f"\n [{', '.join(lines)}]\n", encoding="utf-8")
    products, rejected = all_rows(Catalogue.read(path))
    assert [one.product_id for one in products] == [0, 2]
    assert [(one.row, one.product_id) for one in rejected] == [(2, 1)]
    path.write_text(f"[{', '.join(lines[:1])}", encoding="utf-8")
    with pytest.raises(CatalogueError, match="cut short: the JSON array has no end"):
        Catalogue.read(path)


def test_the_last_object_of_an_array_may_be_broken(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"product_id": 1, "title": "a"}, {"product_id": 2, "title": }]\n')
    products, rejected = all_rows(Catalogue.read(path))
    assert [one.product_id for one in products] == [1]
    assert [(one.row, one.product_id) for one in rejected] == [(2, 2)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding):
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    path = text(tmp_path / "a.csv", f"{mark}product_id,title\n1,Ёлка\n", encoding)
    assert [one.title for one in products_of(path)] == ["Ёлка"]
    path = text(tmp_path / "a.jsonl", f'{mark}{{"product_id": 1, "title": "Ёлка"}}\n', encoding)
    assert [one.title for one in products_of(path)] == ["Ёлка"]


STRAY = ['a","c\n', 'a"b,"c\n', '1,"a\n', 'a,"""\n', '"a""\n', '"",""\n']


@pytest.mark.parametrize("line", STRAY)
def test_stray_quotes_on_every_line_take_time_in_proportion(tmp_path, line, monkeypatch):
    """Counts the lines that the parser is given, which is what its time goes by."""
    given = []
    follow = CsvLines._follow
    monkeypatch.setattr(
        CsvLines,
        "_follow",
        lambda lines, one, inside: given.append(1) or follow(lines, one, inside=inside),
    )
    path = text(tmp_path / "a.csv", "product_id,title\n" + "0,good\n" * 20 + line * 3000)
    all_rows(Catalogue.read(path))
    assert len(given) < 60_000


def test_one_list_among_labels_costs_its_own(tmp_path):
    rows = [{"product_id": n, "title": "t", "category_id": c} for n, c in enumerate((3, [1, 2], 5))]
    products = products_of(jsonl(tmp_path / "a.jsonl", *rows))
    assert [one.category_id for one in products] == [3, None, 5]
    assert products[1].label_fault == "category_id [1, 2] is neither an integer nor text"


def test_a_category_column_without_a_category_says_so(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,title,category_id\n1,t,\n2,t,NULL\n")
    catalogue = Catalogue.read(path)
    assert catalogue.label_hint.startswith("no category in column 'category_id': products get no")
