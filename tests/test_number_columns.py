"""Prices and shares that stand as text become numbers where the whole column agrees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.catalogue_files import jsonl, products_of, text
from vitrina.data.catalogue import Catalogue
from vitrina.data.readers import Columns
from vitrina.data.readers.numbers import NumberScan


def read(values, name="price"):
    scan = NumberScan(name)
    scan.add(values)
    form = scan.form()
    return list(values) if form is None else [form.read(one) for one in values]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["61,5 руб.", "1 299,00 ₽", "70"], [61.5, 1299.0, 70]),
        (["$1,299.00", "$5", "-$5.50"], [1299.0, 5, -5.5]),
        (["1.299,50 €", "2 EUR"], [1299.5, 2]),
        (["1.299 €", "300 €"], [1299, 300]),
        (["1,299 $", "300 $"], [1299, 300]),
        (["1.5 €", "1.299 €"], [1.5, 1.299]),
        (["12%", "3,5 %", "0%"], [12, 3.5, 0]),
        (["1\u202f299\u00a0₽", "1\u2009000\u2009000 ₽"], [1299, 1000000]),
        (["1'299.00 CHF", "5 CHF"], [1299.0, 5]),
        (["Rs. 379", "Rs. 1,200"], [379, 1200]),
        (["5 р."] * 19 + ["по запросу"], [5] * 19 + ["по запросу"]),
        (["5 ₽", "", "nan", 7, None], [5, "", "nan", 7, None]),
        (["1 299", "5"], [1299, 5]),
        (["0,5", "12,25"], [0.5, 12.25]),
    ],
)
def test_numbers(values, expected):
    found = read(values)
    assert [(one, type(one)) for one in found] == [(one, type(one)) for one in expected]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pack", ["12 шт", "3 шт"]),
        ("size", ["42-44", "46-48"]),
        ("size", ["36,38", "40,42"]),
        ("phone", ["8 800 555 35 35"]),
        ("phone", ["495 123 456"]),
        ("code", ["007", "0012"]),
        ("price", ["007", "12,5"]),
        ("price", ["100 USD", "100 руб."]),
        ("price", ["616", "61.5", "-3"]),
        ("price", ["5 ₽", "по запросу"]),
        ("price", ["1 2 3 ₽"]),
        ("price", ["12,5,5"]),
        ("about", ["100% хлопок", "50% шерсть"]),
        ("price", []),
        ("price", ["9" * 100]),
    ],
)
def test_what_stays_as_it_is(name, values):
    assert read(values, name) == values


@given(
    numbers=st.lists(st.integers(0, 10**9), min_size=1, max_size=8),
    group=st.sampled_from(["", " ", "\u00a0", "\u202f", "'"]),
    mark=st.sampled_from(",."),
    unit=st.sampled_from([" ₽", "%", " руб.", " $", "€"]),
)
def test_every_number_is_the_one_that_was_written(numbers, group, mark, unit):
    written = [f"{n // 100:,}".replace(",", group) + f"{mark}{n % 100:02}{unit}" for n in numbers]
    assert read(written) == [n / 100 for n in numbers]


@given(values=st.lists(st.text(st.sampled_from("0123456789,. '₽%$€-руб"), max_size=12), max_size=6))
def test_a_value_becomes_a_number_or_stays(values):
    for before, after in zip(values, read(values), strict=True):
        assert after == before or isinstance(after, int | float)


def test_in_a_catalogue(tmp_path):
    columns = Columns(keep=("price", "code"))
    path = text(tmp_path / "a.csv", "product_id;title;price;code\n1;t;61,5 руб.;007\n2;t;;12 шт\n")
    catalogue = Catalogue.read(path, columns=columns)
    assert list(catalogue.notes) == ["column 'price' is kept as numbers, of ₽"]
    assert [one.metadata for one in products_of(path, columns=columns)] == [
        (("price", 61.5), ("code", "007")),
        (("code", "12 шт"),),
    ]
    rows = [
        {"product_id": 1, "title": "t", "price": "$5"},
        {"product_id": 2, "title": "t", "price": 7},
    ]
    path = jsonl(tmp_path / "a.jsonl", *rows)
    found = [one.metadata for one in products_of(path, columns=Columns(keep=("price",)))]
    assert found == [(("price", 5),), (("price", 7),)]
