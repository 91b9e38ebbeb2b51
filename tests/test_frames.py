"""DataFrames, Arrow tables and dictionaries as catalogues: the same as a Parquet file of them."""

import datetime
import io
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vitrina as vt
from support.catalogue_files import all_rows
from support.embedding import BLUE, BROKEN, GREEN, RED, all_files, failures, run
from vitrina.errors import CatalogueError, PhotosNotFoundError
from vitrina.pipelines.embed.options import EmbedOptions

embedding = pytest.mark.usefixtures("stubs", "unsynced")
"""Encoders are stubs here, and nobody waits for the disk."""

GAPS = [5, 9, 11, 40, 41]


def goods():
    """Five products with most of the dtypes that pandas has, and an index with gaps."""
    return pd.DataFrame(
        {
            "product_id": np.array([1, 2, 3, 4, 5], dtype="int32"),
            "title": pd.Series(["чай", "мыло", None, "<b>сок</b>", "хлеб"], dtype=object).array,
            "description": pd.array(["a", pd.NA, "b", "c", ""], dtype="string"),
            "category_id": pd.array([10, None, 11, 10, 11], dtype="Int64"),
            "category_name": pd.Categorical(["Еда->Чай", None, "Дом", "Еда->Чай", "Дом"]),
            "shop_title": pd.array(["x", "y", None, "x", "x"], dtype=pd.ArrowDtype(pa.string())),
            "price": [1.5, float("nan"), 3.0, 4.0, 5.25],
            "added": pd.to_datetime(
                ["2024-01-02 00:00", None, "2024-01-03 10:00", None, "2025-01-01 09:30"]
            ).as_unit("us"),
            "sizes": [["S", "M"], None, [], ["L"], ["XL"]],
            "fresh": pd.array([True, None, False, True, True], dtype="boolean"),
            "cost": [Decimal("1.10"), None, Decimal("2.25"), None, Decimal("10.00")],
        },
        index=GAPS,
    )


COLUMNS = vt.Columns(attributes="sizes,fresh,added", keep="price,cost,added")

WAYS = {
    "pandas": lambda frame: frame,
    "pandas of Arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "Polars": lambda frame: pl.from_pandas(frame),
    "lazy Polars": lambda frame: pl.from_pandas(frame).lazy(),
    "Arrow": lambda frame: pa.Table.from_pandas(frame),
    "an Arrow batch": lambda frame: pa.RecordBatch.from_pandas(frame),
    "an Arrow stream": lambda frame: pa.Table.from_pandas(frame).to_reader(max_chunksize=2),
    "a dataset": lambda frame: pa_dataset.dataset(pa.Table.from_pandas(frame)),
    "DuckDB": lambda frame: duckdb.from_arrow(pa.Table.from_pandas(frame)),
    "dictionaries": lambda frame: frame.to_dict("records"),
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "goods.parquet"
    goods().to_parquet(path)
    return path


@pytest.mark.parametrize("way", WAYS)
def test_a_table_is_read_as_its_file(file, way):
    expected = all_rows(vt.Catalogue.read(file, columns=COLUMNS))
    assert [one.category_id for one in expected[0]] == [10, None, 11, 10, 11]
    assert expected[0][3].title == "сок"
    table = WAYS[way](goods())
    catalogue = vt.Catalogue.read(table, columns=COLUMNS)
    assert all_rows(catalogue, 2) == expected
    assert all_rows(catalogue) == expected, "a second reading differs"


@embedding
@pytest.mark.parametrize("way", WAYS)
def test_a_table_makes_the_store_of_its_file(file, way, tmp_path):
    run(tmp_path / "of file", vt.Catalogue.read(file, columns=COLUMNS), TEXT_ALONE)
    run(tmp_path / "other", vt.Catalogue.read(WAYS[way](goods()), columns=COLUMNS), TEXT_ALONE)
    made, other = all_files(tmp_path / "of file"), all_files(tmp_path / "other")
    assert made.keys() == other.keys()
    assert [name for name in made if made[name] != other[name]] == []


TEXT_ALONE = EmbedOptions(text="hf:team/words", image="none", shard_rows=3, max_failures=1.0)


@embedding
def test_a_later_table_needs_no_columns_again(tmp_path):
    frame = goods().rename(columns={"title": "name", "product_id": "sku"})
    columns = vt.Columns(product_id="sku", title="name", keep="price")
    run(tmp_path / "store", vt.Catalogue.read(frame, columns=columns), TEXT_ALONE)
    store = vt.Store.open(tmp_path / "store", create=True)
    for later in (frame, pl.from_pandas(frame), frame.to_dict("records")):
        opened = vt.open_batch(later, store)
        assert [one.title for one in opened] == ["чай", "мыло", "", "сок", "хлеб"]
        assert next(iter(opened)).metadata == (("price", 1.5),)
    lacking = vt.open_batch(frame.drop(columns="price"), store)
    assert lacking.missing.fields == {"keep"}


def test_a_named_index_is_a_column():
    frame = goods().set_index("product_id")
    assert [one.product_id for one in vt.Catalogue.read(frame)] == [1, 2, 3, 4, 5]


def test_the_marketplaces_form():
    texts = json.dumps({"title": "чай", "attributes": ["лист"], "filters": {"Вес": ["100 г"]}})
    frame = pd.DataFrame({"product_id": [7], "text_fields": [texts], "rating": [4.5]}, index=[3])
    for table in (
        frame,
        frame.to_dict("records"),
        [{"product_id": 7, "rating": np.float64(4.5), "text_fields": json.loads(texts)}],
    ):
        (product,) = vt.Catalogue.read(table)
        assert (product.title, product.attributes) == ("чай", ("лист",))
        assert product.characteristics == ("Вес: 100 г",)
        assert product.metadata == (("rating", 4.5),)


def test_a_column_of_mixed_objects_is_read_value_by_value():
    frame = pd.DataFrame({"product_id": ["a", 7, "b", 1.5], "title": ["чай", 501, 2.0, pd.NA]})
    products, rejected = all_rows(vt.Catalogue.read(frame))
    assert [(one.product_id, one.title) for one in products] == [
        ("a", "чай"),
        ("7", "501"),
        ("b", "2"),
    ]
    assert [(one.row, one.reason) for one in rejected] == [
        (4, "product_id 1.5 is not a whole number")
    ]


def test_rejected_rows_are_named_by_their_label():
    frame = pd.DataFrame(
        {"product_id": [1, None, 1], "title": ["a", "b", "c"]}, index=["x", "y", "z"], dtype=object
    )
    rejected = all_rows(vt.Catalogue.read(frame))[1]
    assert [(one.row, one.reason) for one in rejected] == [
        (2, "no product_id (index 'y')"),
        (3, "this product_id was seen before, in an earlier row (index 'z')"),
    ]
    frame.index = pd.MultiIndex.from_tuples([("s", 1), ("s", 2), ("t", 1)])
    assert all_rows(vt.Catalogue.read(frame))[1][0].reason == "no product_id (index ('s', 2))"
    numbered = frame.reset_index(drop=True)
    assert all_rows(vt.Catalogue.read(numbered))[1][0].reason == "no product_id"
    numbered.index = [3, 1, 7]
    assert all_rows(vt.Catalogue.read(numbered))[1][0].reason == "no product_id (index 1)"


def test_keys_that_the_first_rows_lack_are_found():
    rows = [{"product_id": at} for at in range(1500)] + [{"product_id": "z", "title": "чай"}]
    products, rejected = all_rows(vt.Catalogue.read(rows))
    assert len(products) == 1501
    assert products[-1].title == "чай"
    assert rejected == []
    assert all_rows(vt.Catalogue.read([*rows[-1:], "x"]))[1][0].reason == (
        "not a dictionary but a str"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (iter([]), "can be read only once"),
        (({"product_id": 1} for _ in range(2)), "a generator can be read only once"),
        ({"product_id": [1]}, "a dict is no table of products"),
        (pd.Series([1]), "a Series is no table of products"),
        ([1, 2], "the list .2 rows.: rows must be dictionaries"),
        (7, "int is no catalogue; give a path, a pandas or Polars DataFrame"),
        (goods().drop(columns="title"), "no column 'title'.*columns=vt.Columns.title="),
        (goods()[["title"]], "no column 'product_id'.*columns=vt.Columns.product_id="),
        (pd.DataFrame({"product_id": [True], "title": ["a"]}), "holds bool, which can't be an id"),
        (pd.concat([goods(), goods()[["title"]]], axis=1), "more than one column 'title'"),
    ],
)
def test_what_is_no_catalogue_is_refused_on_one_line(source, message):
    with pytest.raises(CatalogueError, match=message) as caught:
        vt.Catalogue.read(source)
    assert "\n" not in str(caught.value)


def test_a_missing_label_column_is_named_as_python_names_it():
    frame = goods()[["product_id", "title"]].assign(kategoriya=1, category="Чай")
    hint = vt.Catalogue.read(frame).label_hint
    assert "columns=vt.Columns(category_id='category')" in hint
    assert "--" not in hint


# -- photos ----------------------------------------------------------------------------------------

PHOTOS = [RED, GREEN, None, BROKEN, RED]


def image(data):
    return Image.open(io.BytesIO(data))


def pixels(data):
    return np.asarray(image(data).convert("RGB"))


def written(folder: Path) -> list[Path | None]:
    folder.mkdir(parents=True)
    paths = []
    for at, data in enumerate(PHOTOS):
        if data is not None:
            (folder / f"{at}.png").write_bytes(data)
        paths.append(None if data is None else folder / f"{at}.png")
    return paths


def embedded_photos(table, path, **options):
    """What a table's photos become: hashes of contents, and errors."""
    with_photos = vt.Catalogue.read(table, **options)
    run(path, with_photos)
    store = vt.Store.open(path, create=True)
    rows = store.products.to_arrow(["images", "image_hash"]).to_pylist()
    return [row["images"] for row in rows], [row["image_hash"] for row in rows]


@embedding
@pytest.mark.parametrize("column", ["image", "images", "фото"])
def test_bytes_are_read_as_from_a_file(column, tmp_path):
    frame = goods()[["product_id", "title"]]
    frame[column] = PHOTOS
    columns = vt.Columns(image=column)
    frame.to_parquet(tmp_path / "goods.parquet")
    run(tmp_path / "of file", vt.Catalogue.read(tmp_path / "goods.parquet", columns=columns))
    named = columns if column == "фото" else vt.Columns()
    tables = [frame, pl.from_pandas(frame), pa.Table.from_pandas(frame), frame.to_dict("records")]
    for at, table in enumerate(tables):
        run(tmp_path / str(at), vt.Catalogue.read(table, columns=named))
        assert all_files(tmp_path / str(at)) == all_files(tmp_path / "of file")


@embedding
def test_several_photos_of_a_product(tmp_path):
    lists = [[RED, BLUE], [GREEN], None, [], [None, RED]]
    frame = goods()[["product_id", "title"]].assign(images=lists)
    frame.to_parquet(tmp_path / "goods.parquet")
    columns = vt.Columns(image="images")
    made = embedded_photos(tmp_path / "goods.parquet", tmp_path / "f", columns=columns, photos=3)
    assert made[0] == [["1/1", "1/2"], ["2/1"], [], [], ["5/2"]]
    for at, table in enumerate((frame, pl.from_pandas(frame), frame.to_dict("records"))):
        assert embedded_photos(table, tmp_path / str(at), photos=3) == made
        assert all_files(tmp_path / str(at)) == all_files(tmp_path / "f")


@embedding
@pytest.mark.parametrize("form", [image, pixels])
def test_images_of_pil_and_numpy(form, tmp_path, stubs):
    photos = [form(RED), form(GREEN), None, None, [form(RED), form(BLUE)]]
    frame = goods()[["product_id", "title"]]
    frame["image"] = pd.Series(photos, dtype=object).array
    for at, table in enumerate((frame, frame.to_dict("records"))):
        references, hashes = embedded_photos(table, tmp_path / str(at), photos=2)
        assert references == [["1"], ["2"], [], [], ["5/1", "5/2"]]
        assert [one is None for one in hashes] == [False, False, True, True, False]
    assert [250, 0, 0] in stubs["image"].seen
    assert [0, 250, 0] in stubs["image"].seen


@embedding
def test_images_of_pil_in_polars(tmp_path):
    frame = pl.DataFrame({"product_id": [1, 2], "title": ["a", "b"]}).with_columns(
        pl.Series("image", [image(RED), None], dtype=pl.Object)
    )
    assert embedded_photos(frame, tmp_path / "store")[0] == [["1"], []]


@embedding
@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
@pytest.mark.parametrize("kind", [str, Path])
def test_paths_are_read_from_where_they_are(kind, relative, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    paths = written(tmp_path / "photos" / "a")
    if relative:
        paths = [path and os.path.relpath(path) for path in paths]
    frame = goods()[["product_id", "title"]]
    frame["image"] = pd.Series([path and kind(path) for path in paths], dtype=object).array
    for at, table in enumerate((frame, frame.to_dict("records"))):
        references, hashes = embedded_photos(table, tmp_path / f"store{at}")
        assert references == [["0.png"], ["1.png"], [], ["3.png"], ["4.png"]]
        assert [one is None for one in hashes] == [False, False, True, False, False]
        # Reports and the review page find the photos again.
        store = vt.Store.open(tmp_path / f"store{at}", create=True)
        assert store.manifest.reading["catalogue"]["images"] == str(tmp_path / "photos" / "a")
    # A later batch may lie elsewhere.
    other = written(tmp_path / "photos" / "b")
    batch = frame.assign(image=[path and str(path) for path in other])
    opened = vt.open_batch(batch, store)
    assert opened.images.references(next(iter(opened))) == ("0.png",)
    assert opened.reading.images == str(tmp_path / "photos" / "b")


@embedding
def test_names_are_sought_where_the_user_says(tmp_path):
    written(tmp_path / "photos")
    frame = goods()[["product_id", "title"]].assign(photo=["0.png", "1.png", "", None, "4.png"])
    columns = vt.Columns(image="photo")
    found = embedded_photos(frame, tmp_path / "s", columns=columns, images=tmp_path / "photos")
    assert found[0] == [["0.png"], ["1.png"], [], [], ["4.png"]]
    with pytest.raises(CatalogueError, match=r"'0.png', which is no file in .*images=\.\.\."):
        vt.Catalogue.read(frame, columns=columns)
    by_template = vt.Catalogue.read(
        frame, images=tmp_path / "photos", image_template="{product_id}.png"
    )
    assert by_template.images.references(next(iter(by_template))) == ("1.png",)
    with pytest.raises(PhotosNotFoundError):
        vt.Catalogue.read(frame.assign(photo="x.png"), columns=columns, images=tmp_path / "photos")


def test_addresses_are_fetched_on_request_only():
    frame = goods()[["product_id", "title"]].assign(image="https://shop.example/1.jpg")
    catalogue = vt.Catalogue.read(frame)
    assert catalogue.images is None
    assert catalogue.notes == ["column 'image' has URLs, which are fetched only with images='web'"]
    with pytest.raises(CatalogueError, match=r"fetch them with images=.web."):
        vt.Catalogue.read(frame, columns=vt.Columns(image="image"))
    fetched = vt.Catalogue.read(frame, images="web")
    assert fetched.images.references(next(iter(fetched))) == ("https://shop.example/1.jpg",)
    assert vt.Catalogue.read(frame, images="none").images is None


@embedding
def test_photos_are_left_out_on_request(tmp_path):
    frame = goods()[["product_id", "title"]].assign(image=PHOTOS)
    assert vt.Catalogue.read(frame, images="none").images is None
    run(tmp_path / "store", vt.Catalogue.read(frame, images="none"), TEXT_ALONE)
    assert vt.open_batch(frame, vt.Store.open(tmp_path / "store", create=True)).images is None


def test_bytes_and_a_place_contradict_each_other(tmp_path):
    frame = goods()[["product_id", "title"]].assign(image=PHOTOS)
    written(tmp_path / "photos")
    with pytest.raises(CatalogueError, match="holds the photos themselves; leave out images="):
        vt.Catalogue.read(frame, columns=vt.Columns(image="image"), images=tmp_path / "photos")


@embedding
def test_bytes_and_paths_in_one_column(tmp_path):
    paths = written(tmp_path / "photos")
    mixed = pd.Series([RED, str(paths[1]), None, {"bytes": None, "path": str(paths[0])}, BLUE])
    frame = goods()[["product_id", "title"]]
    frame["image"] = mixed.array
    references, hashes = embedded_photos(frame, tmp_path / "store")
    assert references == [["1"], ["named:1.png"], [], ["named:0.png"], ["5"]]
    assert [one is None for one in hashes] == [False, False, True, False, False]


@embedding
def test_a_thing_that_is_no_photo_is_an_error_of_its_row(tmp_path):
    frame = goods()[["product_id", "title"]]
    frame["image"] = pd.Series(
        [RED, 7, None, datetime.date(2024, 1, 1), b"junk"], dtype=object
    ).array
    hashes = embedded_photos(frame, tmp_path / "store")[1]
    assert [one is None for one in hashes] == [False, True, True, True, False]
    reasons = failures(tmp_path / "store", "image-colours")
    assert reasons["2"] == ("read", "no photo at row 2: int")
    assert reasons["4"] == ("read", "no photo at row 4: date")


# -- memory, streams, imports ----------------------------------------------------------------------


def test_an_arrow_table_is_not_copied():
    rows = 60_000
    table = pa.table({"product_id": np.arange(rows), "title": pa.array(["x" * 1000] * rows)})
    before = pa.total_allocated_bytes()
    most = 0
    for _ in vt.Catalogue.read(table).batches():
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < table.nbytes / 5


def test_a_sliced_view_costs_what_its_rows_cost():
    # Each slice of a view has all buffers, of 20 MB here; a long value is one of over 16 MB.
    titles = pl.Series("title", [f"{at} " + "x" * 2000 for at in range(10_000)])
    frame = pl.DataFrame({"product_id": range(10_000)}).with_columns(titles)
    products, rejected = all_rows(vt.Catalogue.read(frame))
    assert rejected == []
    assert products[-1].title.startswith("9999 ")


def test_a_stream_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    catalogue = vt.Catalogue.read(pa.Table.from_pandas(goods()).to_reader())
    assert list(tmp_path.iterdir()) == []
    assert len(list(catalogue)) == 5
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(CatalogueError, match=f"temporary file in {tmp_path}/none: "):
        vt.Catalogue.read(pa.Table.from_pandas(goods()).to_reader())


@pytest.mark.parametrize("table", [[], pd.DataFrame(), pl.DataFrame(), pa.table({})])
def test_an_empty_table(table):
    with pytest.raises(CatalogueError, match="no column 'product_id'"):
        vt.Catalogue.read(table)


def test_a_table_without_rows():
    for table in (goods()[:0], pl.from_pandas(goods()[:0]), pa.Table.from_pandas(goods()[:0])):
        assert list(vt.Catalogue.read(table)) == []


def test_a_list_loads_no_pandas():
    code = (
        "import sys, vitrina as vt\n"
        "list(vt.Catalogue.read([{'product_id': 1, 'title': 'чай'}]))\n"
        "print(sorted({'pandas', 'polars', 'torch', 'duckdb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


CELLS = st.none() | st.text(max_size=5) | st.integers(-(2**70), 2**70) | st.floats() | st.booleans()
CELLS |= st.lists(st.text(max_size=3), max_size=2) | st.binary(max_size=3) | st.dates()


@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), max_size=6))
def test_any_objects_give_rows(rows):
    """Whatever the values: each row is a product or a rejection, the same from a frame as from
    dictionaries."""
    names = ["product_id", "title", "category_id", "category_name"]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    frame = pd.DataFrame(
        {name: pd.Series([row[name] for row in records], dtype=object) for name in names}
    )
    try:
        found = all_rows(vt.Catalogue.read(frame))
    except CatalogueError as err:
        refused = str(err)
        assert "which can't be an id" in refused
        return
    assert sum(map(len, found)) == len(rows)


FASHION = Path("/work/shared/data/fashion/train.parquet")


@pytest.mark.usefixtures("unsynced")
@pytest.mark.slow
@pytest.mark.skipif(not FASHION.exists(), reason="the fashion catalogue is not here")
@pytest.mark.parametrize("way", ["pandas", "Polars", "Arrow", "dictionaries"])
def test_a_real_catalogue(way, tmp_path):
    table = pq.read_table(FASHION).slice(2000, 500)
    pq.write_table(table, tmp_path / "slice.parquet")
    options = EmbedOptions(text="lexical", image="none")
    run(tmp_path / "of file", vt.Catalogue.read(tmp_path / "slice.parquet"), options)
    run(tmp_path / "other", vt.Catalogue.read(WAYS[way](table.to_pandas())), options)
    assert all_files(tmp_path / "of file") == all_files(tmp_path / "other")
    assert len(vt.Store.open(tmp_path / "other", create=True)) == 500
