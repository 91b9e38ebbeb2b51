import json
import math
import operator
import re
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.catalogue_files import jsonl
from vitrina.data.catalogue import Catalogue
from vitrina.data.readers import Columns
from vitrina.errors import StoreError
from vitrina.pipelines.embed.job import embed
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.store.filters import Condition, Operator, matching
from vitrina.store.products import schema
from vitrina.store.store import OpenStore

ROWS = [
    {
        "product_id": 1,
        "title": "Чай чёрный",
        "shop_title": "Foo",
        "category_id": 10,
        "category_name": "Еда->Чай",
        "tags": ["лист", "100 г"],
        "price": 99.5,
        "sale": True,
        "code": "7",
    },
    {
        "product_id": 2,
        "title": "Мыло",
        "shop_title": "foo",
        "category_id": 11,
        "category_name": "Дом -> Ванная->Мыло",
        "price": 100,
        "sale": False,
        "code": "12.50",
    },
    {
        "product_id": 3,
        "title": "Зелёный ЧАЙ",
        "category_id": 12,
        "category_name": "Еда->Чай->Зелёный",
        "tags": ["100 г"],
        "price": "договорная",
        "code": "abc",
    },
    {"product_id": 4, "title": "", "shop_title": "Bar", "category_id": 11, "price": 7},
    {
        "product_id": 5,
        "title": "Чайник",
        "category_id": 13,
        "category_name": "ЕДА->Чайники",
        "code": "-3",
    },
    {"product_id": 6, "title": "Сок", "shop_title": "Foo"},
]


def store_of(folder, rows, columns):
    path = jsonl(folder / "goods.jsonl", *rows)
    catalogue = Catalogue.read(path, columns=columns)
    store = OpenStore.open(folder / "shelf", create=True)
    embed(catalogue, store, EmbedOptions(text="lexical", image="none"))
    return store


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    columns = Columns(attributes=("tags",), keep=("price", "sale", "code"))
    return store_of(tmp_path_factory.mktemp("where"), ROWS, columns).products


def found(products, *conditions, category=None):
    mask = matching(products, [Condition.parse(text) for text in conditions], category)
    assert mask.dtype == np.bool_
    assert mask.shape == (len(products),)
    return [one for one, hit in zip(products.ids.to_pylist(), mask, strict=True) if hit]


def made(batch_rows=2, **columns):
    """A product table in memory, by columns of its schema; ids are added."""
    rows = len(next(iter(columns.values())))
    kinds = schema(pa.int64(), pa.int64())
    columns.setdefault("product_id", list(range(rows)))
    table = pa.table(
        {
            name: pa.array(columns.get(name, [None] * rows), kinds.field(name).type)
            for name in kinds.names
        }
    )

    def batches(names):
        start = 0
        for batch in table.select(list(names)).to_batches(max_chunksize=batch_rows):
            yield start, batch
            start += batch.num_rows

    class Made(SimpleNamespace):
        def __len__(self):
            return rows

    return Made(schema=table.schema, batches=batches, ids=table.column("product_id"))


# Reading a condition.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop=Foo", ("shop", "=", "Foo")),
        ("  shop  !=  Foo Bar ", ("shop", "!=", "Foo Bar")),
        ("price<=1000", ("price", "<=", "1000")),
        ("price>=1e3", ("price", ">=", "1e3")),
        ("price<-5", ("price", "<", "-5")),
        ("price>5", ("price", ">", "5")),
        ("title~a=b", ("title", "~", "a=b")),
        ("a!b=3", ("a!b", "=", "3")),
        ("age= <5", ("age", "=", "<5")),
        ("shop=", ("shop", "=", "")),
        ("shop!=", ("shop", "!=", "")),
        ("metadata.цена, ₽=5\n6", ("metadata.цена, ₽", "=", "5\n6")),
    ],
)
def test_conditions_are_read(text, expected):
    column, sign, value = expected
    assert Condition.parse(text) == Condition(column, Operator(sign), value)


@pytest.mark.parametrize(
    "text", ["", "shop", "=Foo", "!=Foo", " ", "shop==Foo", "price=>5", "a<>b"]
)
def test_what_is_no_condition(text):
    with pytest.raises(StoreError, match=r"is no condition; .* 'price<=1000'") as caught:
        Condition.parse(text)
    assert str(caught.value).startswith(repr(text))
    assert "= != < <= > >= ~" in str(caught.value)


@pytest.mark.parametrize("text", ["price<", "price >=", "title~ "])
def test_nothing_to_compare_with(text):
    with pytest.raises(StoreError, match=f"condition '{text.split()[0][:5]}.*' has no value"):
        Condition.parse(text)


def test_a_condition_checks_itself():
    with pytest.raises(StoreError, match="names no column"):
        Condition("", Operator.EQUAL, "a")
    with pytest.raises(StoreError, match="not valid text"):
        Condition.parse("title=\ud83d")


@given(
    column=st.text(min_size=1).map(str.strip),
    sign=st.sampled_from(Operator),
    value=st.text(min_size=1).map(str.strip),
)
def test_what_is_written_is_read_again(column, sign, value):
    if not value or not column or re.search("[=<>~]", column) or column[-1] == "!":
        return
    if column.startswith("!="):
        return
    condition = Condition(column, sign, value)
    assert Condition.parse(str(condition)) == condition
    if value[0] not in "=<>~":
        assert Condition.parse(f"{column}{sign}{value}") == condition


@given(text=st.text(alphabet="ab =!<>~.5\n", max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        condition = Condition.parse(text)
    except StoreError:
        return
    assert "".join(text.split()) == "".join(str(condition).split())


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("5", 5),
        ("-0.50", -0.5),
        ("+5.0", 5),
        (".5", 0.5),
        ("5.", 5),
        ("1e3", 1000),
        ("9007199254740993", 2**53 + 1),
        ("1" * 300, int("1" * 300)),
        ("1" * 5000, None),
        ("1e999", None),
        ("nan", None),
        ("1_000", None),
        ("5,5", None),
        ("٥", None),
        ("5 ", None),
    ],
)
def test_numbers(value, number):
    condition = Condition("price", Operator.EQUAL, value)
    assert (condition.number, type(condition.number)) == (number, type(number))


# Columns.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("product_id=3", [3]),
        ("product_id=3.0", [3]),
        ("product_id=2.5", []),
        ("product_id!=3", [1, 2, 4, 5, 6]),
        ("product_id<2.5", [1, 2]),
        ("product_id>=4", [4, 5, 6]),
        ("product_id~1", [1]),
        ("product_id<99999999999999999999", [1, 2, 3, 4, 5, 6]),
        ("category_id<=11", [1, 2, 4]),
        ("category_id!=11", [1, 3, 5, 6]),
        ("category_id<0", []),
        ("shop=Foo", [1, 6]),
        ("shop!=Foo", [2, 3, 4, 5]),
        ("shop~FOO", [1, 2, 6]),
        ("shop=", [3, 5]),
        ("shop!=", [1, 2, 4, 6]),
        ("title~чай", [1, 3, 5]),
        ("title<Н", [2, 3, 4]),
        ("category_name~чай", [1, 3, 5]),
        ("category_name!=Еда->Чай", [2, 3, 4, 5, 6]),
        ("images=b.jpg", []),
        ("attributes~100", [1, 3]),
        ("attributes=tags: 100 г", [3]),
        ("attributes!=tags: 100 г", [1, 2, 4, 5, 6]),
        ("metadata~договорная", [3]),
        ("image_hash=x", []),
    ],
)
def test_columns(products, text, expected):
    assert found(products, text) == expected


def test_all_conditions_must_hold(products):
    assert found(products) == [1, 2, 3, 4, 5, 6]
    assert found(products, "title~чай", "product_id>1", "category_id<13") == [3]
    assert found(products, "title~чай", "price<1000") == [1]
    assert found(products, "price<1000", "sale=false", category="дом") == [2]


def test_any_item_of_a_list():
    table = made(attributes=[["a", "b"], [], None, ["B", None], ["xb", "c"], ["b", "b"]])
    assert found(table, "attributes=b") == [0, 5]
    assert found(table, "attributes!=b") == [1, 2, 3, 4]
    assert found(table, "attributes~b") == [0, 3, 4, 5]
    assert found(table, "attributes=b", "attributes=a") == [0]


def test_lists_of_nothing():
    table = made(images=[[], None, []])
    assert found(table, "images=b") == []
    assert found(table, "images!=b") == [0, 1, 2]


@pytest.mark.parametrize("column", ["attributes", "characteristics", "images"])
@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
def test_lists_have_no_order(products, column, sign):
    with pytest.raises(StoreError, match=f"^{column} is a list, which only =, != and ~ suit$"):
        found(products, f"{column}{sign}5")


@pytest.mark.parametrize("text", ["product_id=abc", "category_id<1,5", "product_id!=nan"])
def test_a_value_that_is_no_number(products, text):
    column = text[: re.search("[=<!]", text).start()]
    with pytest.raises(StoreError, match=f"^{column} holds numbers, and '.*' is none$"):
        found(products, text)


def test_integers_are_compared_exactly():
    table = made(product_id=[2**53, 2**53 + 1, -(2**63), 2**63 - 1], title=[""] * 4)
    assert found(table, "product_id=9007199254740993") == [2**53 + 1]
    assert found(table, "product_id>9007199254740992") == [2**53 + 1, 2**63 - 1]
    assert found(table, f"product_id>={2**63}") == []
    assert found(table, f"product_id>=-{2**64}") == [2**53, 2**53 + 1, -(2**63), 2**63 - 1]
    assert found(table, "product_id<-1e300") == []


def test_contains_takes_its_value_as_it_is():
    table = made(title=["a.b", "aXb", "\\Q1\\E", "A.B*", None, "a\0b"])
    assert found(table, "title~a.b") == [0, 3]
    assert found(table, "title~\\e") == [2]
    assert found(table, "title~b*") == [3]
    assert found(table, "title~\0") == [5]


# Metadata.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price=100", [2]),
        ("price=100.0", [2]),
        ("metadata.price=100", [2]),
        ("price!=100", [1, 3, 4, 5, 6]),
        ("price<100", [1, 4]),
        ("price<=100", [1, 2, 4]),
        ("price>7", [1, 2]),
        ("price>=7", [1, 2, 4]),
        ("price=договорная", [3]),
        ("price>a", [3]),
        ("price~ДОГ", [3]),
        ("price~9.5", [1]),
        ("sale=true", [1]),
        ("sale=False", [2]),
        ("sale!=true", [2, 3, 4, 5, 6]),
        ("sale~tr", [1]),
        ("sale>a", []),
        ("sale=1", []),
        ("code=7", [1]),
        ("code=7.0", []),
        ("code<100", [1, 2, 5]),
        ("code>-3", [1, 2]),
        ("code>=-3.0", [1, 2, 5]),
        ("code>a", [3]),
        ("code<a", [1, 2, 5]),
    ],
)
def test_metadata(products, text, expected):
    assert found(products, text) == expected


def test_a_column_goes_before_a_key_of_its_name():
    table = made(title=["a", "b"], metadata=['{"title": "b", "metadata.x": 1}', None])
    assert found(table, "title=b") == [1]
    assert found(table, "metadata.title=b") == [0]
    assert found(table, "metadata.metadata.x=1") == [0]


def test_one_is_not_true():
    table = made(metadata=['{"x": 1}', '{"x": true}', '{"x": 0.0}', '{"x": "true"}'])
    assert found(table, "x=true") == [1, 3]
    assert found(table, "x=false") == []
    assert found(table, "x=1") == [0]


def test_a_key_that_only_one_product_has():
    table = made(metadata=[None, None, None, '{"x": "a", "long": 9007199254740993}'])
    assert found(table, "x=a") == [3]
    assert found(table, "x!=a") == [0, 1, 2]
    assert found(table, "long=9007199254740993") == [3]
    assert found(table, "long=9007199254740992") == []


@pytest.mark.parametrize("sign", ["=", "!=", "<", ">="])
def test_a_key_that_holds_only_numbers(sign):
    table = made(metadata=['{"price": 5}', None, '{"price": 5.5}'])
    with pytest.raises(StoreError, match=r"^price holds numbers, and 'дорого' is none$"):
        found(table, f"price{sign}дорого")
    assert found(table, "price~x") == []


@pytest.mark.parametrize("text", ["prise<5", "metadata.prise=1", "metadata.title=a"])
def test_an_unknown_name(products, text):
    with pytest.raises(StoreError) as caught:
        found(products, text)
    key = re.split("[<=]", text)[0].removeprefix("metadata.")
    assert str(caught.value) == (
        f"no product has {key!r}; columns: {', '.join(products.schema.names)}; "
        "keys of the metadata: code, price, sale"
    )


def test_an_unknown_name_where_there_are_many_or_none():
    many = '{"' + '": 1, "'.join(f"k{number:02}" for number in range(23)) + '": 1}'
    with pytest.raises(StoreError, match=r"metadata: k00, .*, k19 and 3 more$"):
        found(made(metadata=[many, None]), "x=1")
    with pytest.raises(StoreError, match=r"metadata: none$"):
        found(made(metadata=[None, None]), "x=1")


@pytest.mark.parametrize("broken", ['{"a": 1', '{"a": 1}, {"a": 2}', "[1]", "null", ""])
def test_metadata_that_is_none(broken):
    with pytest.raises(StoreError, match="no JSON object"):
        found(made(metadata=['{"a": 1}', broken]), "a=1")


def test_a_store_without_products(tmp_path):
    with pytest.raises(StoreError, match="holds no products yet"):
        matching(OpenStore.open(tmp_path / "shelf", create=True).products, [])


# The category tree.


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        (10, [1, 3]),
        ("10", [1, 3]),
        (11, [2, 4]),
        (12, [3]),
        ("Еда", [1, 3, 5]),
        (" еда ", [1, 3, 5]),
        ("Еда -> чай", [1, 3]),
        ("ЕДА->ЧАЙНИКИ->", [5]),
        ("еда->чай->зелёный", [3]),
        # The fourth product has no category name, and goes by that of the second.
        ("Дом->Ванная", [2, 4]),
        ("дом", [2, 4]),
    ],
)
def test_a_part_of_the_tree(products, category, expected):
    assert found(products, category=category) == expected


def test_the_nearest_of_an_unknown_category(products):
    with pytest.raises(StoreError) as caught:
        found(products, category="Чайник")
    assert str(caught.value).startswith(
        "no product has the category 'Чайник'; the nearest are 'ЕДА->Чайники', 'Еда->Чай', "
    )
    with pytest.raises(StoreError, match=r"category 19; the nearest are '1[0-3]', '1[0-3]', '1"):
        found(products, category=19)


@pytest.mark.parametrize("category", ["Чай", "Ед", "Еда->Ч", "", "->", "Еда->Чай->Зелёный->Лист"])
def test_only_whole_paths_from_the_root(products, category):
    with pytest.raises(StoreError, match=r"^no product has the category "):
        found(products, category=category)


def test_no_categories_at_all():
    with pytest.raises(StoreError, match=r"the category 5; none of them has any$"):
        found(made(title=["a"]), category=5)


def test_a_product_goes_by_its_own_name_before_its_category_s_usual_one():
    table = made(
        category_id=[1, 1, 1, 1, 2, None, None],
        category_name=["A->B", "A->B", "C", None, "A->B->D", "A", None],
    )
    assert found(table, category="a->b") == [0, 1, 3, 4]
    assert found(table, category="c") == [2]
    assert found(table, category="A") == [0, 1, 3, 4, 5]
    assert found(table, category=1) == [0, 1, 2, 3, 4]
    assert found(table, category=2) == [4]


def test_two_categories_of_one_name():
    table = made(category_id=[1, 2, 3], category_name=["A->B", "a -> b", "A->B->C"])
    assert found(table, category=1) == [0, 2]
    assert found(table, category="A->B") == [0, 1, 2]


def test_ids_that_are_text(tmp_path):
    rows = [
        {"product_id": "a", "title": "x", "category_id": "tea", "category_name": "Food->Tea"},
        {"product_id": "b", "title": "y", "category_id": "5", "category_name": "Food->Tea->Green"},
        {"product_id": "c", "title": "z", "category_id": "Food", "category_name": "Odds"},
    ]
    products = store_of(tmp_path, rows, Columns()).products
    assert found(products, category="tea") == ["a", "b"]
    assert found(products, category=5) == ["b"]
    assert found(products, category="Food") == ["c"]
    assert found(products, category="food") == ["a", "b"]
    assert found(products, "product_id>=b") == ["b", "c"]
    assert found(products, "category_id=5") == ["b"]


# Against plain Python.

PYTHON = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
LETTERS = "abAB чЧё.*-\\0159e"
TEXTS = st.text(LETTERS, max_size=5).map(str.strip)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20)
CELLS = st.none() | st.booleans() | TEXTS | NUMBERS | st.floats(-20, 20).map(lambda x: round(x, 1))
VALUES = TEXTS | CELLS.map(str) | NUMBERS.map(lambda number: f"{number}.5")


def number_of(text):
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number) or re.search("[^0-9.eE+-]", text):
        return None
    return int(text) if text.lstrip("+-").isdigit() else number


def holds(cell, sign, value):
    """What a condition says of one cell, in plain Python."""
    number = number_of(value)
    if sign == "!=":
        return not holds(cell, "=", value)
    if cell is None:
        return False
    if sign == "~":
        text = str(cell).lower() if isinstance(cell, bool) else str(cell)
        return value.lower() in text.lower()
    if isinstance(cell, bool):
        return sign == "=" and value.lower() == str(cell).lower()
    if isinstance(cell, int | float):
        return number is not None and PYTHON[sign](cell, number)
    if sign == "=" or number is None:
        return PYTHON[sign](cell, value)
    own = number_of(cell)
    return own is not None and PYTHON[sign](float(own), float(number))


def condition_of(column, sign, value):
    try:
        return Condition(column, Operator(sign), value)
    except StoreError:
        assert value == ""
        return Condition(column, Operator.EQUAL, value)


def compares_texts_with_a_number(cells, condition, value):
    """Whether there is nothing but text, none of it a number, in the order of one."""
    texts = [one for one in cells if one not in (None, "")]
    return (
        str(condition.operator) in ("<", "<=", ">", ">=")
        and number_of(value) is not None
        and bool(texts)
        and all(isinstance(one, str) and number_of(one) is None for one in texts)
    )


@settings(max_examples=150, deadline=None)
@given(
    cells=st.lists(CELLS, min_size=1, max_size=7),
    sign=st.sampled_from([str(one) for one in Operator]),
    value=VALUES,
)
def test_values_of_metadata_against_python(cells, sign, value):
    texts = [json.dumps({"x": one}) if one is not None else None for one in cells]
    condition = condition_of("x", sign, value)
    expected = [holds(one, str(condition.operator), value) for one in cells]
    table = made(metadata=texts, batch_rows=3)
    kinds = {type(one) for one in cells if one is not None}
    if not kinds:
        with pytest.raises(StoreError, match="no product has 'x'"):
            matching(table, [condition])
    elif kinds <= {int, float} and condition.operator != "~" and number_of(value) is None:
        with pytest.raises(StoreError, match="x holds numbers"):
            matching(table, [condition])
    elif compares_texts_with_a_number(cells, condition, value):
        with pytest.raises(StoreError, match="x holds only text, such as"):
            matching(table, [condition])
    else:
        assert matching(table, [condition]).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.none() | TEXTS,
            st.none() | NUMBERS,
            st.none() | st.lists(st.none() | TEXTS, max_size=3),
        ),
        min_size=1,
        max_size=6,
    ),
    sign=st.sampled_from([str(one) for one in Operator]),
    value=VALUES,
)
def test_columns_against_python(rows, sign, value):
    titles, numbers, lists = map(list, zip(*rows, strict=True))
    table = made(title=titles, category_id=numbers, images=lists, batch_rows=4)
    title = condition_of("title", sign, value)
    sign = str(title.operator)
    if compares_texts_with_a_number(titles, title, value):
        with pytest.raises(StoreError, match="title holds only text, such as"):
            matching(table, [title])
    else:
        assert matching(table, [title]).tolist() == [holds(one, sign, value) for one in titles]
    if number_of(value) is not None:
        number = condition_of("category_id", sign, value)
        assert matching(table, [number]).tolist() == [holds(one, sign, value) for one in numbers]
    if sign in ("=", "~"):
        expected = [any(holds(item, sign, value) for item in one or []) for one in lists]
        assert matching(table, [condition_of("images", sign, value)]).tolist() == expected


PATHS = st.lists(
    st.sampled_from(["Shoe", "shoe", "Shoes", " Men ", "Men  s"]), min_size=1, max_size=3
)


@settings(max_examples=80, deadline=None)
@given(paths=st.lists(PATHS, min_size=1, max_size=6), wanted=PATHS)
def test_the_tree_against_python(paths, wanted):
    def plain(path):
        return [" ".join(part.lower().split()) for part in path]

    expected = [plain(path)[: len(wanted)] == plain(wanted) for path in paths]
    table = made(category_name=["->".join(path) for path in paths])
    if any(expected):
        assert matching(table, [], "->".join(wanted)).tolist() == expected
    else:
        with pytest.raises(StoreError, match="the nearest are"):
            matching(table, [], "->".join(wanted))
