"""Batches that lack what the store remembers, and columns that it is to forget: the commands."""

import inspect
import json
import re
import shutil
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import vitrina as vt
from support.catalogue_files import jsonl, parquet, text
from support.cli import vitrina
from support.tar_files import tarred
from vitrina import cli
from vitrina.cli.options import with_options
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import Columns, ReadingOptions
from vitrina.data.reading import Reading
from vitrina.errors import CatalogueError, ImageSourceError, StoreError
from vitrina.options import flag
from vitrina.pipelines.common.reading import opened_texts

TEXT = ("--text-model", "lexical", "--image-model", "none")
PHOTOS = ("--text-model", "none", "--image-model", "thumbnail")
BOTH = ("--text-model", "lexical", "--image-model", "thumbnail")
KINDS = {
    1: ("Кружка керамическая белая", "Посуда->Кружки", (220, 30, 30)),
    2: ("Футболка хлопок мужская", "Одежда->Футболки", (30, 30, 220)),
    3: ("Молоток стальной слесарный", "Инструмент->Молотки", (30, 200, 30)),
}
READERS = ("embed", "classify", "neighbours", "finetune", "pretrain", "benchmark")


def goods(count=60, first=1, **columns):
    """Rows of products, by turns of each kind. columns: further ones, of a row's number."""
    rows = []
    for number in range(first, first + count):
        kind = number % 3 + 1
        title, path, _ = KINDS[kind]
        row = {"product_id": number, "title": f"{title} {number}", "category_id": kind}
        row |= {"category_name": path} | {n: make(number) for n, make in columns.items()}
        rows.append(row)
    return rows


def csv(path, rows, delimiter=","):
    lines = [delimiter.join(rows[0])]
    lines += [delimiter.join(str(value) for value in row.values()) for row in rows]
    return text(path, "\n".join(lines) + "\n")


def without(rows, *columns):
    return [{n: value for n, value in row.items() if n not in columns} for row in rows]


LABELS = ("category_id", "category_name")
KEPT = {"price": lambda n: 100 + n, "brand": lambda n: "Лада" if n % 2 else "Волга"}


def photographs(folder, numbers):
    folder.mkdir(parents=True)
    for number in numbers:
        colour = KINDS[number % 3 + 1][2]
        shade = tuple(max(0, part - number % 7 * 4) for part in colour)
        Image.new("RGB", (40, 40), shade).save(folder / f"{number}.jpg")
    return folder


def trained(folder, catalogue, *options):
    store = folder / "store"
    assert vitrina("embed", catalogue, "--store", store, *options) == 0
    assert vitrina("index", store) == 0
    assert vitrina("train", store, "--head", "logistic") == 0
    return store


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A store of text that remembers a price, and a brand as an attribute."""
    folder = tmp_path_factory.mktemp("kept")
    catalogue = csv(folder / "train.csv", goods(**KEPT))
    columns = ("--keep-columns", "price", "--attribute-columns", "brand")
    return trained(folder, catalogue, *columns, *TEXT)


@pytest.fixture(scope="module")
def fused(tmp_path_factory):
    """A store of text and photos; its folder of photos holds those of products 1 to 60."""
    folder = tmp_path_factory.mktemp("fused")
    photos = photographs(folder / "photos", range(1, 61))
    return trained(folder, csv(folder / "train.csv", goods()), "--images", photos, *BOTH)


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    """A store of photos alone."""
    folder = tmp_path_factory.mktemp("pictured")
    photos = photographs(folder / "photos", range(1, 61))
    return trained(folder, csv(folder / "train.csv", goods()), "--images", photos, *PHOTOS)


@pytest.fixture
def own(kept, tmp_path):
    """A copy of the first of them that a test may change."""
    return Path(shutil.copytree(kept, tmp_path / "own"))


@contextmanager
def unplugged(store):
    """The store's photos are gone, as with the disk they are on."""
    photos = store.parent / "photos"
    photos.rename(store.parent / "elsewhere")
    try:
        yield photos
    finally:
        (store.parent / "elsewhere").rename(photos)


def predicted(store, batch, out, *options):
    code = vitrina("classify", batch, "--store", store, "--out", out, *options)
    return pq.read_table(out).to_pylist() if code == 0 else None


def kinds_of(rows):
    return {row["product_id"]: row["predicted_category_id"] for row in rows}


def said(capsys):
    return capsys.readouterr().out.splitlines()


def error_of(capsys):
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def columns_of(store):
    return vt.Store.open(store).manifest.reading["catalogue"]["columns"]


def products_of(store):
    table = vt.Store.open(store).products
    return [row for _, rows in table.batches(table.schema.names) for row in rows.to_pylist()]


def metadata_of(store):
    return {row["product_id"]: json.loads(row["metadata"] or "{}") for row in products_of(store)}


EXPECTED = {number: number % 3 + 1 for number in range(101, 107)}


# What a batch may lack.


def test_a_batch_without_kept_and_attribute_columns(kept, tmp_path, capsys):
    batch = csv(tmp_path / "batch.csv", without(goods(6, 101), *LABELS))
    rows = predicted(kept, batch, tmp_path / "p.parquet")
    assert kinds_of(rows) == EXPECTED
    assert said(capsys)[0] == (
        "the batch lacks brand and price, which the store remembers; predictions are made without "
        "brand"
    )
    # The same, as one that has no price at all to be remembered.
    whole = csv(tmp_path / "whole.csv", without(goods(6, 101, brand=KEPT["brand"]), *LABELS))
    assert kinds_of(predicted(kept, whole, tmp_path / "w.parquet")) == EXPECTED
    assert said(capsys)[0] == (
        "the batch lacks price, which the store remembers; it is not needed for predictions"
    )
    complete = csv(tmp_path / "complete.csv", without(goods(6, 101, **KEPT), *LABELS))
    again = predicted(kept, complete, tmp_path / "c.parquet")
    assert not [line for line in said(capsys) if "lacks" in line]
    assert again == pq.read_table(tmp_path / "w.parquet").to_pylist()


def test_neighbours_of_such_a_batch(kept, tmp_path, capsys):
    batch = csv(tmp_path / "batch.csv", without(goods(6, 101), *LABELS))
    out = tmp_path / "near.parquet"
    assert vitrina("neighbours", kept, "--queries", batch, "--out", out, "-k", 3, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["notes"] == [
        "the batch lacks brand and price, which the store remembers; neighbours are found without "
        "brand"
    ]
    rows = pq.read_table(out).to_pylist()
    assert len(rows) == 18
    assert all(row["category_id"] == row["query"] % 3 + 1 for row in rows)


@pytest.mark.slow
def test_every_column_but_the_id_may_be_absent_where_photos_tell(tmp_path, capsys):
    named = {
        "sku": lambda n: n,
        "name": lambda n: f"{KINDS[n % 3 + 1][0]} {n}",
        "about": lambda _: "описание",
        "seller": lambda _: "Лавка",
        "cat": lambda n: n % 3 + 1,
        "path": lambda n: KINDS[n % 3 + 1][1],
        "pic": lambda n: f"{n}.jpg",
        **KEPT,
    }
    rows = without(goods(30, **named), "product_id", "title", *LABELS)
    options = [
        *("--id-column", "sku", "--title-column", "name", "--description-column", "about"),
        *("--shop-column", "seller", "--category-column", "cat", "--category-name-column", "path"),
        *("--image-column", "pic", "--keep-columns", "price", "--attribute-columns", "brand"),
    ]
    photos = photographs(tmp_path / "photos", range(1, 31))
    catalogue = csv(tmp_path / "train.csv", rows, delimiter=";")
    store = trained(tmp_path, catalogue, "--images", photos, *options, *BOTH)
    capsys.readouterr()
    bare = csv(tmp_path / "bare.csv", [{"sku": n} for n in (4, 5)], delimiter=";")
    found = predicted(store, bare, tmp_path / "p.parquet", "--image-template", "{product_id}.jpg")
    assert kinds_of(found) == {4: 2, 5: 3}
    assert {(row["has_text"], row["has_image"]) for row in found} == {(False, True)}
    assert said(capsys)[:2] == [
        "the batch lacks name, about, seller, cat, path, pic, brand and price, which the store "
        "remembers; predictions are made without name, about, seller, pic and brand",
        "no text: predictions by photos alone",
    ]
    # Without photos too, there is nothing to go by.
    assert predicted(store, bare, tmp_path / "q.parquet", "--images", "none") is None
    assert error_of(capsys) == (
        f"vitrina: {bare}: no column 'name', which the store remembers; there are sku; say which "
        "one to take with --title-column, or go on without by --title-column none; there are no "
        "photos either"
    )
    assert not (tmp_path / "q.parquet").exists()
    # The id is needed by all.
    lost = csv(tmp_path / "lost.csv", [{"skU": 1, "name": "Кружка"}], delimiter=";")
    assert predicted(store, lost, tmp_path / "q.parquet") is None
    assert error_of(capsys) == (
        f"vitrina: {lost}: no column 'sku', which the store remembers (nearest: 'skU'); there are "
        "skU, name; say which one to take with --id-column"
    )


def test_text_alone_needs_a_title_or_its_like(kept, tmp_path, capsys):
    batch = csv(tmp_path / "batch.csv", [{"product_id": 1, "titel": "Кружка"}])
    assert predicted(kept, batch, tmp_path / "p.parquet") is None
    assert error_of(capsys) == (
        f"vitrina: {batch}: no column 'title' (nearest: 'titel'); there are product_id, titel; say "
        "which one to take with --title-column"
    )
    rows = predicted(kept, batch, tmp_path / "p.parquet", "--title-column", "titel")
    assert kinds_of(rows) == {1: 1}
    # The description alone, where this is asked for.
    about = csv(tmp_path / "about.csv", [{"product_id": 1, "description": "Молоток стальной"}])
    assert predicted(kept, about, tmp_path / "p.parquet") is None
    rows = predicted(kept, about, tmp_path / "p.parquet", "--title-column", "none")
    assert kinds_of(rows) == {1: 3}
    capsys.readouterr()
    ids = csv(tmp_path / "ids.csv", [{"product_id": 1, "rating": 3}])
    assert predicted(kept, ids, tmp_path / "p.parquet", "--title-column", "none") is None
    assert "no column is read as text; name one with --title-column" in error_of(capsys)


def test_a_remembered_column_that_is_there_twice_is_not_needed(kept, tmp_path, capsys):
    batch = text(tmp_path / "batch.csv", "product_id,title,brand,price,price\n1,Кружка,Лада,1,2\n")
    assert kinds_of(predicted(kept, batch, tmp_path / "p.parquet")) == {1: 1}
    assert said(capsys)[0].startswith("the batch lacks price (it has several), which the store")


@pytest.mark.parametrize("command", ["classify", "neighbours", "embed"])
def test_what_is_asked_for_must_be_there_and_is_told_at_once(kept, tmp_path, capsys, command):
    batch = csv(tmp_path / "batch.csv", without(goods(3, 101, **KEPT), *LABELS))
    options = ("--keep-columns", "prise,stock", "--title-column", "Titel", "--category-column", "c")
    out = tmp_path / "out.parquet"
    commands = {
        "classify": ("classify", batch, "--store", kept, "--out", out),
        "neighbours": ("neighbours", kept, "--queries", batch, "--out", out),
        "embed": ("embed", batch, "--store", kept),
    }
    assert vitrina(*commands[command], *options) == 1
    assert error_of(capsys) == (
        f"vitrina: {batch}: no column 'Titel' (nearest: 'title'), no column 'c', no column 'prise' "
        "(nearest: 'price'), no column 'stock'; there are product_id, title, price, brand; say "
        "which ones to take with --title-column, --category-column and --keep-columns"
    )
    assert not out.exists()


def test_any_option_of_reading_serves_any_command_that_reads(kept, tmp_path):
    rows = without(goods(6, 101), *LABELS)
    renamed = [{"код": row["product_id"], "имя": row["title"]} for row in rows]
    path = tmp_path / "batch.csv"
    path.write_bytes(csv(path, renamed, delimiter="|").read_bytes().decode().encode("cp1251"))
    given = ("--id-column", "код", "--title-column", "имя", "--delimiter", "|")
    given += ("--encoding", "cp1251")
    assert kinds_of(predicted(kept, path, tmp_path / "p.parquet", *given)) == EXPECTED
    near = tmp_path / "near.parquet"
    assert vitrina("neighbours", kept, "--queries", path, "--out", near, "-k", 1, *given) == 0
    assert pq.read_table(near).column("query").to_pylist() == [*EXPECTED]
    # Nothing of it is remembered by a command that only reads.
    assert columns_of(kept)["title"] is None


# What an embed refuses, and what it forgets.


def test_an_embed_without_a_remembered_column_names_both_ways_on(own, tmp_path, capsys):
    before = metadata_of(own)
    day = csv(tmp_path / "day.csv", goods(60))
    assert vitrina("embed", day, "--store", own) == 1
    assert error_of(capsys) == (
        f"vitrina: {day}: no column 'brand', which the store remembers, no column 'price', which "
        "the store remembers; there are product_id, title, category_id, category_name; say which "
        "ones to take with --attribute-columns and --keep-columns, or go on without by "
        "--attribute-columns none and --keep-columns none"
    )
    assert metadata_of(own) == before == {n: {"price": str(100 + n)} for n in range(1, 61)}
    ways = ("--attribute-columns", "none", "--keep-columns", "none")
    assert vitrina("embed", day, "--store", own, *ways) == 0
    assert metadata_of(own) == {n: {} for n in range(1, 61)}
    assert (columns_of(own)["keep"], columns_of(own)["attributes"]) == ([], [])
    # From now on the daily run needs no option.
    assert vitrina("embed", day, "--store", own) == 0


def test_of_several_kept_columns_the_others_stay(own, tmp_path, capsys):
    full = {**KEPT, "stock": lambda n: n}
    assert vitrina("embed", csv(tmp_path / "a.csv", goods(60, **full)), "--store", own,
               "--keep-columns", "price, stock") == 0  # fmt: skip
    assert metadata_of(own)[7] == {"price": "107", "stock": "7"}
    capsys.readouterr()
    day = csv(tmp_path / "day.csv", without(goods(60, **full), "price"))
    assert vitrina("embed", day, "--store", own) == 1
    assert error_of(capsys).endswith("or go on without by --keep-columns stock")
    assert vitrina("embed", day, "--store", own, "--keep-columns", "stock") == 0
    assert metadata_of(own)[7] == {"stock": "7"}


@pytest.mark.parametrize("unset", ["none", ""])
def test_every_column_can_be_unset(tmp_path, unset):
    names = ("title", "description", "shop", "category", "category-name", "image")
    rows = [
        {"product_id": 1, "title": "a", "description": "b", "shop_title": "c", "category_id": 1}
        | {"category_name": "x", "name": "n", "about": "d", "seller": "s", "cat": 2, "path": "y"}
        | {"pic": "1.jpg", "brand": "z"}
    ] * 3
    rows = [row | {"product_id": at} for at, row in enumerate(rows)]
    catalogue = csv(tmp_path / "a.csv", rows)
    given = dict(zip(names, ("name", "about", "seller", "cat", "path", "pic"), strict=True))
    options = [part for name in given for part in (f"--{name}-column", given[name])]
    (tmp_path / "photos").mkdir()
    store = tmp_path / "store"
    more = ("--images", tmp_path / "photos", "--attribute-columns", "brand")
    assert vitrina("embed", catalogue, "--store", store, *options, *more, *TEXT) == 0
    first = products_of(store)[0]
    assert (first["title"], first["description"], first["shop"]) == ("n", "d", "s")
    assert (first["category_id"], first["category_name"]) == (2, "y")
    assert first["attributes"] == ["brand: z"]
    options = [part for name in given for part in (f"--{name}-column", unset)]
    gone = [*options, "--images", unset]
    assert vitrina("embed", catalogue, "--store", store, *gone) == 0
    first = products_of(store)[0]
    # Unset is no column at all, not the one of the default name.
    assert (first["title"], first["description"], first["shop"]) == ("", "", "")
    # A catalogue without categories says nothing of those that its products have.
    assert (first["category_id"], first["category_name"]) == (2, "y")
    assert vitrina("embed", catalogue, "--store", store, "--title-column", "title") == 0
    assert columns_of(store) == {
        "product_id": None,
        "title": "title",
        "attributes": ["brand"],
        "keep": [],
        **dict.fromkeys(("description", "shop", "category_id", "category_name", "image"), ""),
    }


def test_delimiter_encoding_template_and_id_can_be_unset(tmp_path, capsys):
    store, photos = tmp_path / "store", photographs(tmp_path / "photos" / "big", range(1, 5))
    first = tmp_path / "a.csv"
    rows = [{"sku": n, "title": f"Кружка {n}"} for n in range(1, 5)]
    first.write_bytes(csv(first, rows, delimiter="|").read_bytes().decode().encode("cp1251"))
    given = ("--delimiter", "|", "--encoding", "cp1251", "--id-column", "sku")
    template = ("--image-template", "big/{product_id}.jpg")
    assert vitrina("embed", first, "--store", store, *given, "--images", photos.parent, *template,
               *BOTH) == 0  # fmt: skip
    second = csv(tmp_path / "b.csv", [{"product_id": n, "title": f"Ложка {n}"} for n in (1, 2)])
    for name in "1.jpg", "2.jpg":
        shutil.move(photos / name, photos.parent / name)
    assert vitrina("embed", second, "--store", store) == 1
    capsys.readouterr()
    auto = ("--delimiter", "auto", "--encoding", "auto", "--id-column", "none")
    assert vitrina("embed", second, "--store", store, *auto, "--image-template", "none") == 0
    reading = vt.Store.open(store).manifest.reading["catalogue"]
    assert Reading.from_json(reading) == Reading(images=str(photos.parent))
    titles = {row["product_id"]: (row["title"], row["images"]) for row in products_of(store)}
    assert titles[1] == ("Ложка 1", ["1.jpg"])
    assert titles[3] == ("Кружка 3", ["big/3.jpg"])


def test_python_forgets_as_the_command_line_does(own, tmp_path):
    store = vt.Store.open(own)
    day = csv(tmp_path / "day.csv", goods(60, brand=KEPT["brand"]))
    with pytest.raises(CatalogueError, match="no column 'price', which the store remembers"):
        vt.open_batch(day, store, complete=True)
    # A batch may lack it; what goes into the store may not.
    batch = vt.open_batch(day, store)
    with pytest.raises(CatalogueError, match=r"go on without by --keep-columns none$"):
        vt.embed(batch, store)
    for unset in ("none", "", ("none",), ["none"]):
        opened = vt.open_batch(day, store, columns=Columns(keep=unset), complete=True)
        assert opened.reading.columns == Columns(attributes=("brand",))
    given = ReadingOptions(columns=Columns(keep="none"))
    vt.embed(vt.open_batch(day, store, given), store)
    assert columns_of(own)["keep"] == []
    assert vt.Catalogue.read(day, columns=Columns(attributes="brand,title", keep="")).reading == (
        Reading(Columns(attributes=("brand", "title")))
    )


# Photos.


@pytest.mark.slow
def test_photos_that_are_gone_are_no_reason_to_refuse_a_batch(fused, tmp_path, capsys):
    batch = csv(tmp_path / "batch.csv", without(goods(6, 101), *LABELS))
    near = tmp_path / "near.parquet"
    with unplugged(fused) as photos:
        rows = predicted(fused, batch, tmp_path / "p.parquet")
        assert kinds_of(rows) == EXPECTED
        assert {(row["has_text"], row["has_image"]) for row in rows} == {(True, False)}
        assert {row["alone"]["image"] for row in rows} == {None}
        lines = said(capsys)
        assert lines[0].startswith(f"no photos: predictions by text alone ({photos}: No such file")
        assert lines[1] == "6 without a photo, 0 without text"
        assert vitrina("neighbours", fused, "--queries", batch, "--out", near, "-k", 1) == 0
        assert said(capsys)[0].startswith("no photos: neighbours by text alone")
    found = pq.read_table(near).to_pylist()
    assert len(found) == 6
    assert all(row["category_id"] == row["query"] % 3 + 1 for row in found)
    # A place that is named now must be there.
    assert predicted(fused, batch, tmp_path / "q.parquet", "--images", tmp_path / "typo") is None
    assert "typo: No such file or directory" in error_of(capsys)


def test_photos_are_never_dropped_because_they_are_gone(fused, tmp_path, capsys):
    store = Path(shutil.copytree(fused, tmp_path / "own"))
    day = csv(tmp_path / "day.csv", goods())
    with unplugged(fused) as photos:
        assert vitrina("embed", day, "--store", store) == 1
        assert f"{photos}: No such file or directory" in error_of(capsys)
        opened = vt.Store.open(store)
        with pytest.raises(ImageSourceError, match="No such file"):
            vt.embed(vt.open_batch(day, opened), opened)
    assert len(vt.vectors(vt.Store.open(store), "image").matrix) == 60
    assert vitrina("embed", day, "--store", store) == 0
    assert len(vt.vectors(vt.Store.open(store), "image").matrix) == 60


def test_a_batch_none_of_whose_products_has_a_photo(fused, tmp_path, capsys):
    batch = csv(tmp_path / "batch.csv", without(goods(6, 101), *LABELS))
    rows = predicted(fused, batch, tmp_path / "p.parquet")
    assert kinds_of(rows) == EXPECTED
    assert {row["has_image"] for row in rows} == {False}
    assert "no photos: predictions by text alone" in said(capsys)[0]
    again = predicted(fused, batch, tmp_path / "q.parquet", "--images", "none")
    assert again == rows
    assert said(capsys)[0] == "no photos: predictions by text alone"


def test_a_batch_without_text_whose_photos_tell(fused, tmp_path, capsys):
    batch = csv(tmp_path / "batch.csv", [{"product_id": n} for n in (7, 8, 9)])
    rows = predicted(fused, batch, tmp_path / "p.parquet")
    assert kinds_of(rows) == {7: 2, 8: 3, 9: 1}
    assert {(row["has_text"], row["has_image"]) for row in rows} == {(False, True)}
    assert said(capsys)[1] == "no text: predictions by photos alone"


@pytest.mark.slow
def test_a_model_of_photos_alone(pictured, tmp_path, capsys):
    ids = csv(tmp_path / "ids.csv", [{"product_id": n, "titel": "x"} for n in (7, 8, 9)])
    assert kinds_of(predicted(pictured, ids, tmp_path / "p.parquet")) == {7: 2, 8: 3, 9: 1}
    assert not [line for line in said(capsys) if line.startswith("no ")]
    assert predicted(pictured, ids, tmp_path / "q.parquet", "--images", "none") is None
    assert error_of(capsys) == (
        f"vitrina: {ids}: there are no photos, and the model uses nothing else; say where they "
        "are with --images"
    )
    with unplugged(pictured) as photos:
        assert predicted(pictured, ids, tmp_path / "q.parquet") is None
    message = error_of(capsys)
    assert "there are no photos, and the model uses nothing else" in message
    assert f"{photos}: No such file or directory" in message


def test_a_model_of_text_alone_says_nothing_of_photos(tmp_path, capsys):
    photos = photographs(tmp_path / "photos", range(1, 61))
    catalogue = csv(tmp_path / "train.csv", goods())
    store = trained(tmp_path, catalogue, "--images", photos, *TEXT)
    shutil.rmtree(photos)
    capsys.readouterr()
    batch = csv(tmp_path / "batch.csv", without(goods(6, 101), *LABELS))
    assert kinds_of(predicted(store, batch, tmp_path / "p.parquet")) == EXPECTED
    assert not [line for line in said(capsys) if "photo" in line]


@pytest.mark.slow
def test_a_remembered_column_of_photos(tmp_path, capsys):
    pixels = {n: photographs(tmp_path / f"p{n}", [n]) / f"{n}.jpg" for n in range(1, 31)}
    rows = goods(30, pic=lambda n: pixels[n].read_bytes())
    train = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist(rows), train)
    store = trained(tmp_path, train, "--image-column", "pic", *BOTH)
    capsys.readouterr()
    batch = csv(tmp_path / "batch.csv", without(goods(6, 101), *LABELS))
    rows = predicted(store, batch, tmp_path / "p.parquet")
    assert kinds_of(rows) == EXPECTED
    assert said(capsys)[:2] == [
        "the batch lacks pic, which the store remembers; predictions are made without it",
        "no photos: predictions by text alone",
    ]
    # One that has names in that column, and photos nowhere.
    named = csv(tmp_path / "named.csv", without(goods(6, 101, pic=lambda n: f"{n}.jpg"), *LABELS))
    assert kinds_of(predicted(store, named, tmp_path / "p.parquet")) == EXPECTED
    assert "no photos: predictions by text alone" in said(capsys)[0]
    # Left out on purpose, they are not looked at though they are there.
    own = tmp_path / "own.parquet"
    pq.write_table(pq.read_table(train).slice(0, 6), own)
    assert {r["has_image"] for r in predicted(store, own, tmp_path / "p.parquet")} == {True}
    plain = predicted(store, own, tmp_path / "p.parquet", "--images", "none")
    assert {row["has_image"] for row in plain} == {False}
    assert vitrina("embed", batch, "--store", store) == 1
    assert "or go on without by --image-column none" in error_of(capsys)


def test_photos_of_a_batch_in_its_own_file(fused, tmp_path):
    rows = goods(3, 101)
    photos = photographs(tmp_path / "photos", range(101, 104))
    rows = [row | {"pic": (photos / f"{row['product_id']}.jpg").read_bytes()} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "batch.parquet")
    given = ("--image-column", "pic", "--images", "none")
    found = predicted(fused, tmp_path / "batch.parquet", tmp_path / "p.parquet", *given)
    assert {row["has_image"] for row in found} == {True}


def test_batches_of_other_forms_bring_their_own_photos(fused, tmp_path, capsys):
    store = Path(shutil.copytree(fused, tmp_path / "own"))
    photos = photographs(tmp_path / "photos", range(1, 61))
    named = csv(tmp_path / "named.csv", goods(pic=lambda n: f"{n}.jpg"))
    assert vitrina("embed", named, "--store", store, "--image-column", "pic",
               "--images", photos) == 0  # fmt: skip
    capsys.readouterr()
    new = photographs(tmp_path / "new", (101, 102))
    files = {f"{n}.jpg": (new / f"{n}.jpg").read_bytes() for n in (101, 102)}
    tar = tarred(tmp_path / "batch.tar", files)
    rows = predicted(store, tar, tmp_path / "p.parquet")
    assert kinds_of(rows) == {101: 3, 102: 1}
    assert {row["has_image"] for row in rows} == {True}
    assert said(capsys)[0] == "no text: predictions by photos alone"
    # A feed has no columns to lack.
    offers = "".join(
        f"<offer id='{n}'><name>{KINDS[n % 3 + 1][0]}</name><picture>{n}.jpg</picture></offer>"
        for n in (4, 5)
    )
    feed = f"<yml_catalog><shop><name>s</name><offers>{offers}</offers></shop></yml_catalog>"
    rows = predicted(store, text(tmp_path / "feed.yml", feed), tmp_path / "q.parquet")
    assert kinds_of(rows) == {4: 2, 5: 3}
    assert {row["has_image"] for row in rows} == {True}
    assert not [line for line in said(capsys) if "lacks" in line]


# Ids.


def test_a_batch_keeps_its_own_ids_whatever_the_store_has(kept, tmp_path):
    rows = without(goods(6, 101, **KEPT), *LABELS)
    for row in rows:
        row["product_id"] = f"SKU-{row['product_id']}"
    batch = jsonl(tmp_path / "batch.jsonl", *rows)
    found = predicted(kept, batch, tmp_path / "p.parquet")
    assert kinds_of(found) == {f"SKU-{n}": kind for n, kind in EXPECTED.items()}
    assert {type(near["product_id"]) for row in found for near in row["neighbours"]} == {int}
    known = [row | {"category_id": str(n % 3 + 1)} for n, row in enumerate(rows)]
    out = tmp_path / "q.parquet"
    report = vt.classify_to(
        vt.open_batch(jsonl(tmp_path / "k.jsonl", *known), vt.Store.open(kept)),
        vt.Store.open(kept),
        out,
    )
    assert report.unknown == {}


def test_ids_in_a_column_of_another_name(kept, tmp_path):
    ids, out = parquet(tmp_path / "ids.parquet", sku=["4", "5"]), tmp_path / "near.parquet"
    options = ("--id-column", "sku", "-k", 2)
    assert vitrina("neighbours", kept, "--queries", ids, "--out", out, *options) == 0
    assert pq.read_table(out).column("query").to_pylist() == ["4", "4", "5", "5"]


# Other commands that read files.


def test_what_serves_no_file_is_refused(kept, capsys):
    for command, needed in (
        (("neighbours", kept, "--product", 1), "--queries"),
        (("pretrain", kept), "--also"),
        (("finetune", kept), "--catalogue and --unlabelled"),
        (("benchmark", "--store", kept), "the products' file and --unlabelled"),
    ):
        assert vitrina(*command, "--title-column", "name", "--photos", 2) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert f"--photos, --title-column apply to {needed}" in told


def test_further_texts_need_no_more_than_text(kept, tmp_path, caplog):
    rows = [{"product_id": n, "name": f"Кружка {n}"} for n in range(9)]
    also = csv(tmp_path / "also.csv", rows)
    opened = vt.Store.open(kept)
    given = ReadingOptions(columns=Columns(title="name", category_id="nope"))
    with opened_texts(opened, [also], given) as (catalogue,):
        (batch,) = catalogue.batches()
        assert [one.text for one in batch.products] == [row["name"] for row in rows]
    assert caplog.messages == [
        f"{also}: the batch lacks nope, brand and price, which the store remembers; training texts "
        "are read without brand"
    ]
    with (
        pytest.raises(CatalogueError, match="no column 'title'"),
        opened_texts(opened, [also]),
    ):
        pass


def test_a_benchmark_reads_all_its_files_alike(tmp_path, capsys):
    rows = [{"sku": r["product_id"], "name": r["title"], "cat": r["category_id"]} for r in goods()]
    train = csv(tmp_path / "train.csv", rows, delimiter=";")
    test = csv(tmp_path / "test.csv", [{"sku": 101, "name": KINDS[2][0]}], delimiter=";")
    given = ("--id-column", "sku", "--title-column", "name", "--category-column", "cat")
    out = tmp_path / "out"
    options = ("--methods", "naive-bayes", "--out", out, "--text-model", "lexical", *given)
    assert vitrina("benchmark", train, "--also", test, *options) == 0
    assert (out / "submission.csv").read_text().splitlines()[1:] == ["101,2"]
    capsys.readouterr()
    bad = ("--methods", "naive-bayes", "--out", out, "--title-column", "nam", "--id-column", "skuu")
    assert vitrina("benchmark", train, *bad) == 1
    assert "no column 'skuu' (nearest: 'sku'), no column 'nam' (nearest: 'name')" in error_of(
        capsys
    )


# The options themselves.


@pytest.mark.parametrize("name", READERS)
def test_every_reading_option_is_an_option_of_every_command_that_reads(name):
    command = typer.main.get_command(cli.app).commands[name]
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    flags = [option for parameter in shown for option in parameter.opts]
    own = [flag(one) for one in fields(ReadingOptions) if one.name != "columns"]
    expected = [*own[:3], *(flag(one) for one in fields(Columns)), *own[3:]]
    assert [option for option in flags if option in expected] == expected
    helps = {p.opts[0]: p.help for p in command.params if p.opts[0] in expected}
    assert all(helps.values())
    # Together, in the order of the dataclass.
    first = flags.index(expected[0])
    assert flags[first : first + len(expected)] == expected


def test_a_field_becomes_an_option():
    seen = []

    @with_options
    def command(
        path: Annotated[str, typer.Argument()],
        reading: ReadingOptions,
        last: int = 3,
    ) -> None:
        """Do it."""
        seen.append((path, reading, last))

    names = list(inspect.signature(command).parameters)
    assert (names[0], names[-1]) == ("path", "last")
    assert "reading" not in names
    app = typer.Typer()
    app.command()(command)
    given = ["x", "--photos", "2", "--keep-columns", "a, b", "--shop-column", "none", "--last", "4"]
    given += ["--no-allow-private", "--attribute-columns", ""]
    typer.main.get_command(app).main(given, standalone_mode=False)
    columns = Columns(keep=("a", "b"), shop="", attributes="none")
    assert seen == [("x", ReadingOptions(photos=2, columns=columns, allow_private=False), 4)]
    assert seen[0][1].flags == [
        *("--photos", "--allow-private", "--attribute-columns", "--shop-column", "--keep-columns")
    ]
    assert "reading" in inspect.signature(command.__wrapped__).parameters


def test_columns_that_are_no_text_are_no_settings():
    settings = Reading().to_json()
    settings["columns"]["title"] = 5
    with pytest.raises(StoreError, match="a store's reading settings is not what it should be"):
        Reading.from_json(settings)
    settings["columns"] |= {"title": None, "keep": [5]}
    with pytest.raises(StoreError, match="a store's reading settings is not what it should be"):
        Reading.from_json(settings)


NAMES = {
    "title": "name",
    "description": "about",
    "shop": "seller",
    "category_id": "cat",
    "category_name": "path",
    "attributes": "brand",
    "keep": "price",
}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    there=st.sets(st.sampled_from(sorted(NAMES))),
    asked=st.sets(st.sampled_from(sorted(NAMES))),
    complete=st.booleans(),
)
def test_what_may_be_absent_is_absent_and_all_else_is_told(tmp_path, there, asked, complete):
    path = text(tmp_path / "a.csv", ",".join(["sku", *(NAMES[name] for name in there)]) + "\n")
    store = remembering(tmp_path, Columns(product_id="sku", **NAMES))
    columns = Columns(**{name: NAMES[name] for name in asked})
    labels = {"category_id", "category_name"}
    lost = NAMES.keys() - there
    required = lost & asked if not complete else lost - (labels - asked)
    try:
        opened = vt.open_batch(path, store, columns=columns, complete=complete)
    except CatalogueError as err:
        told = set(re.findall(r"no column '(\w+)'", str(err)))
        assert told == {NAMES[name] for name in required}
        remembered = set(re.findall(r"no column '(\w+)', which the store remembers", str(err)))
        assert remembered == {NAMES[name] for name in required - asked}
    else:
        assert not required
        assert opened.missing.fields == lost
        assert opened.has_text == bool(there & {"title", "description", "attributes"})
        # A name alone is an id too.
        assert opened.has_categories == bool(there & {"category_id", "category_name"})


def remembering(folder, columns):
    """A store that remembers these columns, without having read any."""
    store = vt.Store.open(folder / "remembering", create=True)
    reading = {"catalogue": Reading(columns=Columns().updated(columns)).to_json()}
    with store.writer("embed") as writer:
        writer.commit(replace(store.manifest, reading=reading))
    return store


def test_the_nearest_name_is_shown_as_it_is_written(tmp_path):
    path = text(tmp_path / "a.csv", "Артикул,НАЗВАНИЕ,price_rub\n1,a,5\n")
    with pytest.raises(CatalogueError) as caught:
        Catalogue.read(
            path, columns=Columns(product_id="артикул", title="название", keep=("prise_rub",))
        )
    assert re.findall(r"no column '(\S+)' \(nearest: '(\S+)'\)", str(caught.value)) == [
        ("артикул", "Артикул"),
        ("название", "НАЗВАНИЕ"),
        ("prise_rub", "price_rub"),
    ]
