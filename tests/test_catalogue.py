import csv
import gzip
import json
import math
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.catalogue_files import all_rows, fields, jsonl, parquet, products_of, text
from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Product, Rejection
from vitrina.data.readers import Columns
from vitrina.data.reading import Reading
from vitrina.errors import CatalogueError, ImageSourceError, StoreError

# The marketplace form.


def test_marketplace_parquet(tmp_path):
    path = parquet(
        tmp_path / "train.parquet",
        product_id=[10, 7],
        category_id=[3, 4],
        sale=[True, False],
        shop_id=[1, 1],
        shop_title=["Магазин &quot;У дома&quot;", None],
        rating=[4.5, 0.0],
        text_fields=[
            fields(
                title="Носки <b>тёплые</b>",
                description="<p>Хлопок</p><p>95%</p>",
                attributes=["Для дома", "Подарок"],
                custom_characteristics={"Цвет": ["красный", "синий"]},
                defined_characteristics={"Размер": ["38-40"], "Цвет": ["красный", "синий"]},
                filters={"Пол": ["мужской"]},
            ),
            fields(title="Шарф"),
        ],
        category_name=["Все категории->Одежда->Носки", "Все категории->Одежда"],
        __index_level_0__=[0, 5],
    )
    catalogue = Catalogue.read(path)
    assert (catalogue.id_type, catalogue.category_type, catalogue.has_categories) == (
        int,
        int,
        True,
    )
    assert catalogue.images is None
    products, rejected = all_rows(catalogue)
    assert rejected == []
    assert products == [
        Product(
            row=1,
            product_id=10,
            title="Носки тёплые",
            description="Хлопок 95%",
            attributes=("Для дома", "Подарок"),
            characteristics=("Цвет: красный, синий", "Размер: 38-40", "Пол: мужской"),
            shop='Магазин "У дома"',
            category_id=3,
            category_name="Все категории->Одежда->Носки",
            metadata=(("sale", True), ("shop_id", 1), ("rating", 4.5)),
        ),
        Product(
            row=2,
            product_id=7,
            title="Шарф",
            category_id=4,
            category_name="Все категории->Одежда",
            metadata=(("sale", False), ("shop_id", 1), ("rating", 0.0)),
        ),
    ]


def test_marketplace_test_form_has_no_categories(tmp_path):
    path = parquet(tmp_path / "test.parquet", product_id=[1], text_fields=[fields(title="a")])
    catalogue = Catalogue.read(path)
    assert not catalogue.has_categories
    assert catalogue.category_type is None
    assert all_rows(catalogue)[0] == [Product(row=1, product_id=1, title="a")]


def test_further_columns_join_the_attributes_of_the_marketplace_form(tmp_path):
    path = parquet(
        tmp_path / "a.parquet",
        product_id=[1, 2],
        brand=["Чудо & Ко", None],
        text_fields=[fields(title="Йогурт", attributes=["2,4%"]), fields(title="Сыр")],
    )
    products = products_of(path, columns=Columns(attributes=("brand",)))
    assert [product.attributes for product in products] == [("2,4%", "brand: Чудо & Ко"), ()]


def test_a_named_title_column_wins_over_text_fields(tmp_path):
    path = parquet(
        tmp_path / "a.parquet",
        product_id=[1],
        title=["не этот"],
        name=["Имя"],
        text_fields=[fields(title="Титул", description="Описание")],
    )
    assert products_of(path)[0].title == "Титул"
    (product,) = products_of(path, columns=Columns(title="name"))
    assert (product.title, product.description) == ("Имя", "Описание")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, {}),
        ("", {}),
        ("null", {}),
        ("{}", {}),
        (fields(title=None, description=None, attributes=None, filters=None), {}),
        (fields(title=12, attributes="одно"), {"title": "12", "attributes": ("одно",)}),
        (fields(title=["a", "b"]), {"title": "a, b"}),
        (fields(attributes=["a", None, "", 5, ["b"]]), {"attributes": ("a", "5", "b")}),
        (fields(attributes={"Цвет": ["x"]}), {"attributes": ("Цвет: x",)}),
        (
            fields(custom_characteristics={"A": "x", "B": None, "C": [], "D": [1.5, 2.0], "": "z"}),
            {"characteristics": ("A: x", "D: 1.5, 2", "z")},
        ),
        (fields(filters=["как список"]), {"characteristics": ("как список",)}),
        ('{"title": "\\ud83d"}', {"title": "\ufffd"}),
    ],
)
def test_text_fields_of_any_shape_are_borne(tmp_path, raw, expected):
    path = parquet(
        tmp_path / "a.parquet", product_id=[1], text_fields=pa.array([raw], pa.large_string())
    )
    assert products_of(path) == [Product(row=1, product_id=1, **{"title": "", **expected})]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("{'title': 'a'}", "broken JSON in text_fields: Expecting property name"),
        ('{"title": "a', "broken JSON in text_fields: Unterminated string"),
        ("[" * 100_000, "broken JSON in text_fields: maximum recursion depth"),
        ("[1]", "text_fields is not a JSON object but a list"),
        ('"a"', "text_fields is not a JSON object but a str"),
        ('{"attributes": ' + "[" * 900 + "]" * 900 + "}", "lists nested too deep"),
    ],
)
def test_broken_text_fields_reject_the_row_with_its_id(tmp_path, raw, reason):
    path = parquet(tmp_path / "a.parquet", product_id=[7, 8], text_fields=[raw, "{}"])
    products, (rejection,) = all_rows(Catalogue.read(path))
    assert [product.product_id for product in products] == [8]
    assert (rejection.row, rejection.product_id) == (1, 7)
    assert rejection.reason.startswith(reason)


def test_text_fields_in_jsonl_may_be_the_object_itself(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"product_id": 1, "text_fields": {"title": "Имя"}})
    assert products_of(path) == [Product(row=1, product_id=1, title="Имя")]


# Tables.

ALL_COLUMNS = Columns(
    "sku", "name", "about", ("brand", "size"), "seller", "cat", "cat_name", "pics"
)


def test_columns_named_by_options(tmp_path):
    path = jsonl(
        tmp_path / "a.jsonl",
        {
            "sku": "A-1",
            "name": "Имя",
            "about": "<i>О товаре</i>",
            "brand": "Чудо",
            "size": [38, 39.0, "XL"],
            "seller": "ООО",
            "cat": 5,
            "cat_name": "Обувь",
            "pics": ["a.jpg", "b.jpg"],
            "product_id": "другой",
            "title": "другой",
        },
    )
    (tmp_path / "photos").mkdir()
    assert products_of(path, columns=ALL_COLUMNS, images=tmp_path / "photos") == [
        Product(
            row=1,
            product_id="A-1",
            title="Имя",
            description="О товаре",
            attributes=("brand: Чудо", "size: 38, 39, XL"),
            shop="ООО",
            category_id=5,
            category_name="Обувь",
            images=("a.jpg", "b.jpg"),
        )
    ]


PLAIN = st.text(max_size=20)
NAMES = st.from_regex(r"[a-zа-я][a-zа-я0-9 _-]{0,8}[a-z]", fullmatch=True).map("id ".__add__)
TABLES = st.sampled_from([st.integers(-(2**63), 2**63 - 1), NAMES]).flatmap(
    lambda ids: st.lists(
        st.fixed_dictionaries(
            {
                "product_id": ids,
                "title": PLAIN,
                "description": PLAIN,
                "brand": PLAIN,
                "shop_title": PLAIN,
                "category_id": st.one_of(st.none(), ids),
                "category_name": PLAIN,
                "photos": st.lists(st.from_regex(r"[a-z0-9/]+\.jpg", fullmatch=True), max_size=2),
            }
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda row: row["product_id"],
    )
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(rows=TABLES, delimiter=st.sampled_from(",;\t|"), size=st.integers(1, 9))
@pytest.mark.slow
def test_the_same_table_in_every_form_gives_the_same_products(tmp_path, rows, delimiter, size):
    nowhere = tmp_path / "photos"
    nowhere.mkdir(exist_ok=True)
    reading = Reading(
        Columns(attributes=("brand",), image="photos"), images=str(nowhere), encoding="utf-8"
    )
    kind = type(rows[0]["product_id"])
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(row | {"photos": json.dumps(row["photos"])} for row in rows)
    with gzip.open(tmp_path / "a.csv.gz", "wb") as file:
        file.write((tmp_path / "a.csv").read_bytes())
    jsonl(tmp_path / "a.jsonl", *rows)
    with gzip.open(tmp_path / "a.jsonl.gz", "wb") as file:
        file.write((tmp_path / "a.jsonl").read_bytes())
    schema = {"category_id": pa.int64() if kind is int else pa.string()}
    schema["photos"] = pa.list_(pa.string())
    columns = {key: pa.array([row[key] for row in rows], schema.get(key)) for key in rows[0]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=2)

    results = []
    for name in ("a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet"):
        catalogue = Catalogue.open(tmp_path / name, reading)
        assert catalogue.id_type is kind
        products, rejected = all_rows(catalogue, size)
        assert rejected == []
        results.append(products)
    assert all(products == results[0] for products in results)
    assert [(p.row, p.product_id, p.category_id, p.images) for p in results[0]] == [
        (number, row["product_id"], row["category_id"], tuple(row["photos"]))
        for number, row in enumerate(rows, 1)
    ]


def test_batches_are_bounded_and_start_over(tmp_path):
    path = parquet(tmp_path / "a.parquet", product_id=list(range(10)), title=["x"] * 10)
    catalogue = Catalogue.read(path)
    for _ in range(2):
        sizes = [len(batch.products) for batch in catalogue.batches(4)]
        assert sizes == [4, 4, 2]


def test_an_arrow_dataset_directory(tmp_path):
    root = tmp_path / "shop"
    table = pa.table(
        {
            "product_id": [1, 2, 3, 4],
            "title": ["a", "b", "c", "d"],
            "category_id": [8, 9, 8, 9],
        }
    )
    part = ds.partitioning(pa.schema([("category_id", pa.int64())]), flavor="hive")
    ds.write_dataset(table, root, format="parquet", partitioning=part)
    (root / "_delta_log").mkdir()
    (root / "_delta_log" / "x.parquet").write_bytes(b"not ours")
    catalogue = Catalogue.read(root)
    assert (catalogue.id_type, catalogue.category_type) == (int, int)
    products, rejected = all_rows(catalogue)
    assert rejected == []
    assert [(p.row, p.product_id, p.title, p.category_id) for p in products] == [
        (1, 1, "a", 8),
        (2, 3, "c", 8),
        (3, 2, "b", 9),
        (4, 4, "d", 9),
    ]


def test_parts_of_a_dataset_may_differ_in_schema(tmp_path):
    parquet(
        tmp_path / "part-0.parquet",
        product_id=pa.array([1], pa.int32()),
        title=["a"],
        shop_title=pa.nulls(1),
    )
    parquet(tmp_path / "part-1.parquet", product_id=[2**40], title=["b"], shop_title=["s"])
    assert [(p.product_id, p.shop) for p in products_of(tmp_path)] == [(1, ""), (2**40, "s")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_on_the_header_line(tmp_path, delimiter):
    lines = [delimiter.join(("product_id", '"title, long"', "title")), delimiter.join("5xy")]
    path = text(tmp_path / "a.csv", "\r\n".join(lines))
    assert products_of(path) == [Product(row=1, product_id=5, title="y")]


def test_a_delimiter_may_be_given(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,x~title,z\n1,2~b\n")
    columns = Columns(product_id="product_id,x", title="title,z")
    assert products_of(path, delimiter="~", columns=columns) == [
        Product(row=1, product_id="1,2", title="b")
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1251", "utf-16"])
def test_encodings_and_byte_order_marks(tmp_path, encoding):
    path = text(tmp_path / "a.csv", "product_id;title\n1;Ёлка\n", encoding)
    given = "utf-8" if encoding == "utf-8-sig" else encoding
    assert products_of(path, encoding=given) == [Product(row=1, product_id=1, title="Ёлка")]


def test_csv_quotes_newlines_and_nul(tmp_path):
    path = text(
        tmp_path / "a.csv",
        'product_id,title\n\n1,"две\nстроки, ""и"" кавычки"\n2,Телевизор 32" LG\n3,a\0b\n',
    )
    titles = [product.title for product in products_of(path)]
    assert titles == ['две строки, "и" кавычки', 'Телевизор 32" LG', "a b"]


# Ids.


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-5", "0"], [1, -5, 0]),
        (["1", "05"], ["1", "05"]),
        (["1", "+5"], ["1", "+5"]),
        (["1", "-0"], ["1", "-0"]),
        (["1", "٣"], ["1", "٣"]),
        (["1", "x"], ["1", "x"]),
        (["1", str(2**63)], ["1", str(2**63)]),
        (["1", "9" * 5000], ["1", "9" * 5000]),
        ([str(2**63 - 1), str(-(2**63))], [2**63 - 1, -(2**63)]),
        (["1.0", "12.0"], [1, 12]),
        (["1", "12.0"], ["1", "12.0"]),
    ],
)
@pytest.mark.parametrize("name", ["product_id", "category_id"])
def test_csv_ids_are_integers_only_if_all_of_them_are(tmp_path, values, expected, name):
    other = "category_id" if name == "product_id" else "product_id"
    lines = [f"{value},k{row},t" for row, value in enumerate(values)]
    path = text(tmp_path / "a.csv", "\n".join([f"{name},{other},title", *lines]))
    catalogue = Catalogue.read(path)
    assert [getattr(product, name) for product in all_rows(catalogue)[0]] == expected
    kinds = {"product_id": catalogue.id_type, "category_id": catalogue.category_type}
    assert kinds[name] is type(expected[0])


def test_missing_ids_do_not_make_the_others_text(tmp_path):
    path = text(tmp_path / "a.csv", "product_id,category_id,title\n1,NaN,a\n,7,b\n3,,c\n")
    products, rejected = all_rows(Catalogue.read(path))
    assert [(p.product_id, p.category_id) for p in products] == [(1, None), (3, None)]
    assert rejected == [Rejection(2, "no product_id")]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1.0, 12.0]), [1, 12]),
        (pa.array([1, 2], pa.uint64()), [1, 2]),
        (pa.array([Decimal(5), Decimal(2**60)], pa.decimal128(38, 0)), [5, 2**60]),
        (pa.array(["05", "б"]), ["05", "б"]),
        (pa.array(["x", "y"], pa.large_string()), ["x", "y"]),
        (pa.array(["x", "y"], pa.string_view()), ["x", "y"]),
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        (pa.array([b"x", "б".encode()]), ["x", "б"]),
    ],
)
def test_ids_of_parquet_columns(tmp_path, array, expected):
    path = parquet(tmp_path / "a.parquet", product_id=array, title=["a", "b"])
    catalogue = Catalogue.read(path)
    assert catalogue.id_type is type(expected[0])
    assert [product.product_id for product in all_rows(catalogue)[0]] == expected


def test_category_ids_with_gaps(tmp_path):
    categories = pa.array([1.0, None, math.nan, 4.0])
    path = parquet(
        tmp_path / "a.parquet", product_id=[1, 2, 3, 4], title=["a"] * 4, category_id=categories
    )
    assert [product.category_id for product in products_of(path)] == [1, None, None, 4]


def test_a_column_without_a_single_category(tmp_path):
    path = parquet(tmp_path / "a.parquet", product_id=["x"], title=["a"], category_id=pa.nulls(1))
    catalogue = Catalogue.read(path)
    assert catalogue.has_categories
    assert catalogue.category_type is None
    assert all_rows(catalogue)[0] == [Product(row=1, product_id="x", title="a")]


# Photos and settings.

PIXEL = b"\xff\xd8\xff not really"


@pytest.fixture
def photos(tmp_path):
    for name in ("images/train/1.jpg", "images/test/2.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        (tmp_path / "photos" / name).write_bytes(PIXEL)
    return tmp_path / "photos"


def test_each_file_finds_its_own_folder_of_photos(tmp_path, photos):
    train = parquet(tmp_path / "train.parquet", product_id=[1], title=["a"])
    catalogue = Catalogue.read(train, images=photos)
    test = Catalogue.open(text(tmp_path / "test.csv", "product_id,title\n2,b\n"), catalogue.reading)
    for opened, name in ((catalogue, "images/train/1.jpg"), (test, "images/test/2.jpg")):
        (product,) = all_rows(opened)[0]
        assert opened.images.references(product) == (name,)
        assert opened.images.read(name) == PIXEL
        opened.close()


def test_photos_that_cannot_be_found(tmp_path, photos):
    path = parquet(tmp_path / "a.parquet", product_id=[99], title=["a"])
    with pytest.raises(ImageSourceError, match="no photo found"):
        Catalogue.read(path, images=photos)


def test_photos_named_by_a_column(tmp_path, photos):
    path = text(tmp_path / "a.csv", "product_id,title,pic\n1,a,images/test/2.jpg\n2,b,\n")
    columns = Columns(image="pic")
    products = products_of(path, columns=columns, images=photos)
    assert [product.images for product in products] == [("images/test/2.jpg",), ()]
    with pytest.raises(CatalogueError, match=r"'pic' holds names of photos; .* --images"):
        Catalogue.read(path, columns=columns)


def test_photos_in_a_column(tmp_path):
    path = parquet(tmp_path / "a.parquet", product_id=[1, 2], title=["a", "b"], pic=[PIXEL, None])
    columns = Columns(image="pic")
    catalogue = Catalogue.read(path, columns=columns)
    one, two = all_rows(catalogue)[0]
    (reference,) = catalogue.images.references(one)
    assert catalogue.images.read(reference) == PIXEL
    assert catalogue.images.references(two) == ()
    catalogue.close()
    with pytest.raises(CatalogueError, match="holds the photos themselves; leave out --images"):
        Catalogue.read(path, columns=columns, images=tmp_path)
    with pytest.raises(CatalogueError, match="from one Parquet file, not from a directory"):
        Catalogue.read(tmp_path, columns=columns)


def test_settings_survive_json(tmp_path):
    path = text(tmp_path / "a.csv", "sku,name,about,brand,size,seller,cat,cat_name,pics\n")
    catalogue = Catalogue.read(
        path,
        columns=ALL_COLUMNS,
        delimiter=",",
        encoding="cp1251",
        images=tmp_path,
        image_template="{product_id}.jpg",
        photos=3,
    )
    settings = json.loads(json.dumps(catalogue.reading.to_json()))
    assert Reading.from_json(settings) == catalogue.reading
    assert settings["columns"]["attributes"] == ["brand", "size"]
    assert settings["images"] == str(tmp_path)
    assert Reading.from_json(Reading().to_json()) == Reading()


def test_a_location_of_photos_is_remembered_from_anywhere(tmp_path, photos, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parquet(Path("train.parquet"), product_id=[1], title=["a"])
    assert Catalogue.read("train.parquet", images="photos").reading.images == str(photos)


@pytest.mark.parametrize("settings", [{}, {"columns": 3}, {"nope": 1}, [], None])
def test_settings_that_are_none(settings):
    with pytest.raises(StoreError, match="a store's reading settings is not what it should be"):
        Reading.from_json(settings)


def test_a_new_batch_needs_no_category_columns(tmp_path):
    columns = Columns(category_id="cat", category_name="cat_name")
    train = text(tmp_path / "train.csv", "product_id,title,cat,cat_name\n1,a,5,x\n")
    reading = Catalogue.read(train, columns=columns).reading
    batch = text(tmp_path / "batch.csv", "product_id,title\n2,b\n")
    assert not Catalogue.open(batch, reading).has_categories
    with pytest.raises(CatalogueError, match="no column 'cat'"):
        Catalogue.read(batch, columns=columns)
    with pytest.raises(CatalogueError, match="no column 'seller'"):
        Catalogue.open(batch, Reading(Columns(shop="seller")))


SHARED = Path("/work/shared/data/fashion")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the fashion catalogue is not on this machine")
def test_a_real_catalogue():
    with_photos = Catalogue.read(SHARED / "test.parquet", images=SHARED / "images.zip")
    products, rejected = all_rows(with_photos)
    assert (len(products), rejected) == (8966, [])
    assert products[0].text == "Fila Men's Basic Low Red Shoe\nColour: Red\nUsage: Casual"
    assert all(with_photos.images.references(product) for product in products)
    with_photos.close()


def test_reading_imports_nothing_heavy(tmp_path):
    path = parquet(tmp_path / "a.parquet", product_id=[1], title=["<b>a</b>"])
    script = (
        "import sys; from vitrina.data.catalogue import Catalogue; "
        f"list(Catalogue.read({str(path)!r}).batches()); "
        "print([name for name in ('pandas', 'torch', 'faiss', 'sklearn') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
