"""Category paths: whatever separates their names, they are stored joined by "->"."""

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.catalogue_files import all_rows, jsonl, parquet, products_of, text
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import ReadingOptions
from vitrina.data.readers import Columns
from vitrina.data.readers.categories import CategoryPaths, find_separator
from vitrina.data.reading import Reading

TREE = [
    ("Каталог", "Кружки"),
    ("Каталог", "Чайники", "Заварочные"),
    ("Каталог", "Чайники", "Электрические"),
    ("Одежда", "Мужская", "Футболки"),
    ("Одежда", "Женская", "Платья"),
    ("Одежда", "Женская", "Юбки"),
]
SEPARATORS = [" > ", ">", " >> ", ">>", "/", " / ", "|", " | ", "\\", "»", " → ", ";", "::", " - "]


@pytest.mark.parametrize("separator", SEPARATORS)
def test_the_separator_is_found(tmp_path, separator):
    rows = [
        {"product_id": n, "title": "t", "category_id": n, "category_name": separator.join(path)}
        for n, path in enumerate(TREE)
    ]
    catalogue = Catalogue.read(jsonl(tmp_path / "a.jsonl", *rows))
    names = [one.category_name for one in all_rows(catalogue)[0]]
    assert names == ["->".join(path) for path in TREE]
    assert catalogue.reading.category_separator == separator
    assert list(catalogue.notes) == [f"category paths are split at {separator!r}"]


def test_paths_in_the_stored_form_need_no_separator(tmp_path):
    names = ["->".join(path) for path in TREE] + [" A -> B/C ->", "A > B"]
    path = parquet(
        tmp_path / "a.parquet",
        product_id=list(range(len(names))),
        title=["t"] * len(names),
        category_id=list(range(len(names))),
        category_name=names,
    )
    catalogue = Catalogue.read(path)
    found = [one.category_name for one in all_rows(catalogue)[0]]
    assert found == [*names[:-2], "A->B/C", "A > B"]
    assert (catalogue.reading.category_separator, list(catalogue.notes)) == (None, [])


FLAT = [
    ["Мыло/шампунь", "Wi-Fi/Bluetooth", "Одежда/Обувь", "Дом/Сад", "Книги/журналы", "Кофе/чай"],
    ["Одежда/Обувь", "Одежда/Сумки", "Чайники", "Кружки", "Посуда", "Ножи", "Лампы"],
    ["C&A | Men", "C&A | Women", "Socks", "Shoes", "Hats", "Coats", "Belts"],
    ["H&M | Men", "H&M | Women", "C&A | Men", "C&A | Women", "Zara | Men", "Zara | Women"],
    ["Одежда/Обувь", "Обувь/Одежда", "Одежда/Сумки", "Сумки/Обувь", "Обувь/Сумки"],
    ["Магазин «Ромашка» тёплый", "Сыр «Российский» мягкий", "Мёд «Липа» белый"],
    ["Чай - кофе", "Соль - перец", "Вода - сок"],
    ["12/45/789", "12/45/790", "12/46/1"],
    ["https://shop/a/1", "https://shop/a/2", "https://shop/b/3"],
    ["Одежда/Обувь"],
    [f"Категория {n}" for n in range(534)],
    [f"Категория {n}" for n in range(534)] + ["Телевизоры > 40", "Телевизоры > 50"],
]


@pytest.mark.parametrize("names", FLAT)
def test_names_that_hold_the_mark_are_no_paths(tmp_path, names):
    assert find_separator(dict.fromkeys(names)) is None
    path = parquet(
        tmp_path / "a.parquet",
        product_id=list(range(len(names))),
        title=["t"] * len(names),
        category_id=list(range(len(names))),
        category_name=names,
    )
    catalogue = Catalogue.read(path)
    assert [one.category_name for one in all_rows(catalogue)[0]] == names
    assert (catalogue.reading.category_separator, list(catalogue.notes)) == (None, [])


def test_a_slash_within_a_name_stays_beside_one_that_separates():
    names = ["Красота / Мыло/шампунь", "Красота / Уход", "Дом / Свет", "Дом / Wi-Fi/Bluetooth"]
    assert find_separator(dict.fromkeys(names)) == " / "
    assert CategoryPaths(" / ").path(names[0]) == "Красота->Мыло/шампунь"


def test_a_strong_mark_needs_little_evidence():
    assert find_separator({"Electronics > Phones": None}) == " > "
    assert find_separator({"A > B": None, "A >C": None}) == ">"
    assert CategoryPaths(">").path("A >C> ") == "A->C"
    flat = [f"Категория {n}" for n in range(8)]
    assert find_separator(dict.fromkeys([*flat, "Дом > Свет", "Дом > Ковры"])) == " > "


PART = st.text("абвгдежз", min_size=1, max_size=6)


@settings(deadline=None)
@given(
    roots=st.lists(PART, min_size=1, max_size=3, unique=True),
    leaves=st.lists(PART, min_size=8, max_size=12, unique=True),
    separator=st.sampled_from([*SEPARATORS, "->", " -> "]),
)
def test_any_tree_is_split_where_it_was_joined(roots, leaves, separator):
    tree = [(roots[n % len(roots)] + "р", leaf + "л") for n, leaf in enumerate(leaves)]
    names = dict.fromkeys(separator.join(path) for path in tree)
    paths = CategoryPaths(find_separator(names))
    assert [paths.path(name) for name in names] == ["->".join(path) for path in tree]


@settings(deadline=None)
@given(text=st.text(st.sampled_from("аб />|-:;\\»→<&[]\"'"), max_size=20))
def test_any_name_is_one_line_without_empty_parts(text):
    for separator in (None, "none", *SEPARATORS):
        path = CategoryPaths(separator).path(text)
        if separator != "none" and path:
            assert all(part == part.strip() != "" for part in path.split("->")) or "->" not in path


# Lists.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["A", "B", "C"], "A->B->C"),
        ('["A", "B", "C"]', "A->B->C"),
        ("['A', \"B's\", 'C\\'s']", "A->B's->C's"),
        ('["A >> B >> C"]', "A->B->C"),
        (["A >> B >> C"], "A->B->C"),
        (["A >> B", "C >> D"], "A->B"),
        ([" A ", "", None], "A"),
        ([], ""),
        ("[]", ""),
        ("[New] shoes", "[New] shoes"),
        ("[New]", "[New]"),
        ("['broken", "['broken"),
    ],
)
def test_lists(value, expected):
    assert CategoryPaths(" >> ").path(value) == expected


def test_lists_as_flipkart_writes_them(tmp_path):
    lines = ["product_id,title,product_category_tree"]
    for n, path in enumerate(TREE):
        tree = json.dumps([" >> ".join(path)], ensure_ascii=False).replace('"', '""')
        lines.append(f'{n},t,"{tree}"')
    path = text(tmp_path / "a.csv", "\n".join(lines))
    columns = Columns(category_id="product_category_tree")
    products = products_of(path, columns=columns)
    assert [one.category_name for one in products] == ["->".join(path) for path in TREE]
    assert products[0].category_id == '["Каталог >> Кружки"]'


@pytest.mark.parametrize("option", ["category_id", "category_name"])
@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, pa.list_view])
def test_lists_of_arrow(tmp_path, option, kind):
    array = pa.array([list(path) for path in TREE], kind(pa.string()))
    path = parquet(tmp_path / "a.parquet", product_id=list(range(6)), title=["t"] * 6, cat=array)
    for one, names in zip(products_of(path, columns=Columns(**{option: "cat"})), TREE, strict=True):
        assert (one.category_id, one.category_name) == ("->".join(names),) * 2


# One column for both.


@pytest.mark.parametrize("option", ["category_id", "category_name"])
@pytest.mark.parametrize("separator", [" > ", "->", "/"])
def test_a_path_is_id_and_name(tmp_path, option, separator):
    names = [separator.join(path) for path in TREE]
    lines = [f"{n},t,{name}" for n, name in enumerate(names)]
    path = text(tmp_path / "a.csv", "\n".join(["product_id,title,cat", *lines, "9,t,"]))
    catalogue = Catalogue.read(path, columns=Columns(**{option: "cat"}))
    products = all_rows(catalogue)[0]
    assert [one.category_id for one in products] == [*names, None]
    assert [one.category_name for one in products] == [*("->".join(path) for path in TREE), None]
    assert catalogue.has_categories
    assert catalogue.category_type is str
    note = "categories have no id: their names, in column 'cat', serve as ids"
    assert (note in catalogue.notes) == (option == "category_name")


def test_flat_text_ids_have_no_name(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,title,category_id\n1,t,mugs\n2,t,cups\n")
    assert [(p.category_id, p.category_name) for p in products_of(path)] == [
        ("mugs", None),
        ("cups", None),
    ]


def test_a_table_without_categories_says_which_column_may_be_one(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,title,price,Категория товара\n1,t,5,x\n")
    catalogue = Catalogue.read(path)
    assert not catalogue.has_categories
    assert catalogue.label_hint == (
        "no category column: products get no label, and `train` needs them; name it with "
        "--category-column, such as --category-column 'Категория товара'; there are product_id, "
        "title, price, Категория товара"
    )
    named = Catalogue.read(path, columns=Columns(category_id="Категория товара"))
    assert named.label_hint == ""


# The option, and a store's reading settings.


def test_a_separator_that_is_given_wins(tmp_path):
    path = text(
        tmp_path / "a.csv", "product_id,title,category_id,category_name\n1,t,1,A > B~C\n2,t,2,D\n"
    )
    for separator, expected in (("~", "A > B->C"), ("none", "A > B~C"), (None, "A->B~C")):
        catalogue = Catalogue.read(path, category_separator=separator)
        assert [one.category_name for one in all_rows(catalogue)[0]] == [expected, "D"]


def test_a_later_file_is_split_alike(tmp_path):
    lines = [f"{n},t,{n},{'/'.join(path)}" for n, path in enumerate(TREE)]
    header = "product_id,title,category_id,category_name"
    reading = Catalogue.read(text(tmp_path / "a.csv", "\n".join([header, *lines]))).reading
    stored = json.loads(json.dumps(reading.to_json()))
    later = text(tmp_path / "b.csv", f"{header}\n1,t,1,Дом/Свет\n")
    catalogue = Catalogue.open(later, Reading.from_json(stored))
    assert [one.category_name for one in all_rows(catalogue)[0]] == ["Дом->Свет"]
    assert list(catalogue.notes) == []
    assert [one.category_name for one in products_of(later)] == ["Дом/Свет"]
    kept = {"none": "none", "auto": None, ">": ">"}
    for asked, separator in kept.items():
        options = ReadingOptions(category_separator=asked)
        assert reading.with_options(options).category_separator == separator
    del stored["category_separator"]
    assert Reading.from_json(stored).category_separator is None
