"""WebDataset archives are catalogues: samples are products, and their photos come with them."""

from __future__ import annotations

import gzip
import os
import random
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.catalogue_files import all_rows, fields, products_of, rejected_of
from support.tar_files import tarred, tarred_in_order
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import ReadingOptions
from vitrina.data.product import Product, Rejection
from vitrina.data.readers import ALL_NEEDED, Columns
from vitrina.data.reading import Reading
from vitrina.data.sources import Fetching, TarImages
from vitrina.errors import CatalogueError, ImageError


def photos_of(catalogue, products):
    return [
        [catalogue.images.read(name) for name in catalogue.images.references(product)]
        for product in products
    ]


@pytest.fixture
def shelf(tmp_path):
    return tarred(
        tmp_path / "shelf.tar",
        {
            "10.json": {
                "product_id": 7,
                "title": "Носки",
                "description": "<b>Хлопок</b>",
                "shop_title": "У дома",
                "category_id": 3,
                "category_name": "Одежда->Носки",
            },
            "10.jpg": b"ten",
            "11.txt": "Шарф\n",
            "11.cls": "4\n",
            "11.side.PNG": b"side",
            "11.jpg": b"eleven",
            "12.cls": b"5",
            "12.json": {"product_id": None, "title": " ", "size": "XL"},
            "12.txt": "Пальто",
        },
    )


def test_samples_are_products(shelf):
    catalogue = Catalogue.read(shelf, photos=2)
    products, rejected = all_rows(catalogue)
    assert rejected == []
    assert products == [
        Product(
            row=1,
            product_id=7,
            title="Носки",
            description="Хлопок",
            shop="У дома",
            category_id=3,
            category_name="Одежда->Носки",
            images=("10.jpg",),
        ),
        Product(2, 11, "Шарф", category_id=4, images=("11.side.PNG", "11.jpg")),
        Product(3, 12, "Пальто", category_id=5),
    ]
    assert (catalogue.id_type, catalogue.category_type, catalogue.has_categories) == (int, int, 1)
    assert isinstance(catalogue.images, TarImages)
    assert catalogue.images.location == str(shelf)
    assert photos_of(catalogue, products) == [[b"ten"], [b"side", b"eleven"], []]
    assert catalogue.reading.images is None
    assert all_rows(catalogue, size=1) == (products, [])
    catalogue.close()


def test_so_many_photos_as_are_wanted(shelf):
    catalogue = Catalogue.read(shelf)
    products, _ = all_rows(catalogue)
    assert photos_of(catalogue, products) == [[b"ten"], [b"side"], []]


def test_columns_are_keys_of_the_json(tmp_path):
    rows = {
        f"{n}.json": {"sku": f"s{n}", "name": f"n{n}", "colour": "red", "cat": f"c{n}"}
        for n in range(3)
    }
    path = tarred(tmp_path / "a.tar", {**rows, "2.txt": "not asked", "2.cls": "9"})
    columns = Columns(product_id="sku", title="name", category_id="cat", attributes=("colour",))
    products = products_of(path, columns=columns)
    assert [one.product_id for one in products] == ["s0", "s1", "s2"]
    assert [one.title for one in products] == ["n0", "n1", "n2"]
    assert [one.category_id for one in products] == ["c0", "c1", "c2"]
    assert products[0].attributes == ("colour: red",)
    with pytest.raises(CatalogueError, match=r"no column 'brand'; there are sku, name, colour"):
        Catalogue.read(path, columns=Columns(title="brand"))


def test_the_marketplace_form_in_json(tmp_path):
    text = fields(title="Чайник", attributes=["Стекло"])
    path = tarred(tmp_path / "a.tar", {"1.json": {"text_fields": text}, "1.txt": "no"})
    (product,) = products_of(path)
    assert (product.title, product.attributes) == ("Чайник", ("Стекло",))


@pytest.mark.parametrize(
    ("keys", "ids"),
    [
        (["1", "20", "-3", "0"], [1, 20, -3, 0]),
        (["1", "020"], ["1", "020"]),
        (["1", "x"], ["1", "x"]),
        (["1", str(2**63)], ["1", str(2**63)]),
        (["train/1", "train/2"], ["train/1", "train/2"]),
        (["./1", "/2"], [1, 2]),
        (["a.b/1", "a.b/2"], ["a.b/1", "a.b/2"]),
        (["арт №5", "1"], ["арт №5", "1"]),
    ],
)
def test_keys_as_ids(tmp_path, keys, ids):
    path = tarred(tmp_path / "a.tar", {f"{key}.txt": "x" for key in keys})
    catalogue = Catalogue.read(path)
    assert [one.product_id for one in all_rows(catalogue)[0]] == ids
    assert catalogue.id_type is type(ids[0])
    assert not catalogue.has_categories


def test_files_that_belong_to_no_sample(tmp_path):
    files = {
        "README": b"x",
        ".hidden.jpg": b"x",
        "._1.jpg": b"x",
        "1.npy": b"x",
        "1.json.bak": b"x",
        "2.jpg": b"two",
        "2.npy": b"x",
        "2.txt": b"x",
    }
    catalogue = Catalogue.read(tarred(tmp_path / "a.tar", files))
    products, rejected = all_rows(catalogue)
    assert [one.product_id for one in products] == [2]
    assert rejected == []
    assert photos_of(catalogue, products) == [[b"two"]]


def test_photos_alone_make_products(tmp_path):
    path = tarred(tmp_path / "a.tar", {"1.jpg": b"a", "2.webp": b"b", "3.jpeg": b"c"})
    catalogue = Catalogue.read(path)
    products, _ = all_rows(catalogue)
    assert [(one.product_id, one.title) for one in products] == [(1, ""), (2, ""), (3, "")]
    assert photos_of(catalogue, products) == [[b"a"], [b"b"], [b"c"]]


def test_samples_that_are_no_products(tmp_path):
    path = tarred_in_order(
        tmp_path / "a.tar",
        [
            ("1.json", {"title": "good"}),
            ("2.json", "{broken"),
            ("2.jpg", b"x"),
            ("3.json", ["a", "list"]),
            ("4.json", b"\xff\xfe\xfa"),
            ("5.txt", b"\xff"),
            ("6.txt", "x"),
            ("6.cls", "shoes"),
            ("7.txt", "x"),
            ("7.cls", "7"),
            ("1.txt", "again"),
            ("8.json", " " * ((1 << 24) + 1)),
            ("9.json", "[" * 100_000),
        ],
    )
    products, rejected = all_rows(Catalogue.read(path))
    assert [(one.product_id, one.category_id) for one in products] == [
        (1, None), (6, "shoes"), (7, "7")
    ]  # fmt: skip
    assert [(one.row, one.product_id) for one in rejected] == [
        (2, 2), (3, 3), (4, 4), (5, 5), (8, 1), (9, 8), (10, 9)
    ]  # fmt: skip
    reasons = [one.reason for one in rejected]
    assert reasons[0].startswith("broken JSON: ")
    assert reasons[1] == "not a JSON object"
    assert reasons[2].startswith("broken JSON: ")
    assert reasons[3] == "a text is not valid utf-8"
    assert reasons[4] == "this product_id was seen before, in an earlier row"
    assert reasons[5] == "too large: .json of 16777217 bytes"
    assert reasons[6].startswith("broken JSON: ")


# ---------------------------------------------------------------- several archives


@pytest.fixture
def shards(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    for shard in range(4):
        files = {}
        for n in range(shard * 5, shard * 5 + 5):
            files |= {f"{n}.json": {"title": f"t{n}", "category_id": n % 2}, f"{n}.jpg": b"%d" % n}
        tarred(folder / f"{shard:04}.tar", files)
    return folder


def test_shards_are_one_catalogue(shards):
    for path in (shards, shards / "{0000..0003}.tar"):
        catalogue = Catalogue.read(path)
        products, rejected = all_rows(catalogue, size=7)
        assert rejected == []
        assert [one.product_id for one in products] == list(range(20))
        assert [one.row for one in products] == list(range(1, 21))
        assert photos_of(catalogue, products) == [[b"%d" % n] for n in range(20)]
    assert len(products_of(shards / "{0001..0002}.tar")) == 10


def test_a_range_that_lacks_an_archive(shards):
    with pytest.raises(CatalogueError, match=r"0004\.tar: no such file, though .*names it"):
        Catalogue.read(shards / "{0000..0004}.tar")


def test_a_sample_ends_with_its_archive(tmp_path):
    tarred(tmp_path / "0.tar", {"1.txt": "first"})
    tarred(tmp_path / "1.tar", {"1.jpg": b"x", "2.txt": "second"})
    products, rejected = all_rows(Catalogue.read(tmp_path))
    assert [(one.product_id, one.images) for one in products] == [(1, ()), (2, ())]
    assert [(one.row, one.product_id) for one in rejected] == [(2, 1)]


def test_photos_of_the_same_name_in_two_archives_are_refused(tmp_path):
    for n in range(2):
        tarred(tmp_path / f"{n}.tar", {"0.json": {"product_id": n, "title": "x"}, "0.jpg": b"x"})
    catalogue = Catalogue.read(tmp_path)
    products, _ = all_rows(catalogue)
    assert [one.product_id for one in products] == [0, 1]
    (reference,) = catalogue.images.references(products[0])
    with pytest.raises(ImageError, match=r"^in more than one archive: 0\.jpg"):
        catalogue.images.read(reference)


def test_an_archive_that_is_cut_short(shards):
    path = shards / "0001.tar"
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"7.jpg") + 600])
    catalogue = Catalogue.read(shards)
    products, rejected = all_rows(catalogue)
    assert [one.product_id for one in products] == [0, 1, 2, 3, 4, 5, 6, 7, *range(10, 20)]
    reason = "lost: 0001.tar is damaged or cut short, samples from 7 on are missing"
    path.write_bytes(data[: data.index(b"7.jpg") + 100])
    products, rejected = all_rows(Catalogue.read(shards))
    assert [one.product_id for one in products] == [0, 1, 2, 3, 4, 5, 6, *range(10, 20)]
    assert rejected == [Rejection(8, reason)]


def test_another_directory_is_still_a_dataset(tmp_path):
    tarred(tmp_path / "0.tar", {"1.txt": "x"})
    pq.write_table(pa.table({"product_id": [5], "title": ["t"]}), tmp_path / "0.parquet")
    assert [one.product_id for one in products_of(tmp_path)] == [5]
    (tmp_path / "0.tar").unlink()
    (tmp_path / "0.parquet").unlink()
    with pytest.raises(CatalogueError, match=r"no \.parquet file in this directory"):
        Catalogue.read(tmp_path)


def test_archives_that_are_no_catalogue(tmp_path):
    for name, data, complaint in (
        ("a.tar", b"", "this file is empty"),
        ("b.tar", b"x" * 2000, "not a tar archive, or a damaged one"),
        ("c.tar.gz", gzip.compress(bytes(10240), mtime=0), "compressed with gzip.*unpack it"),
        ("d.tar", bytes(10240), "no sample in it"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CatalogueError, match=rf"{name}: {complaint}"):
            Catalogue.read(tmp_path / name)
    path = tarred(tmp_path / "e.tar", {"1.npy": b"x", "README.md": b"x"})
    with pytest.raises(CatalogueError, match=r"e\.tar: no sample in it: no file is named like"):
        Catalogue.read(path)


# ---------------------------------------------------------------- where the photos are


def test_photos_elsewhere_are_a_contradiction(shelf, tmp_path):
    with pytest.raises(CatalogueError, match="the archives hold the photos themselves"):
        Catalogue.read(shelf, images=tmp_path)
    remembered = Reading(images=str(tmp_path)).with_options(ReadingOptions(images="none"))
    assert Catalogue.open(shelf, remembered).images.read("10.jpg") == b"ten"


def test_samples_without_photos_take_them_from_elsewhere(tmp_path):
    path = tarred(tmp_path / "a.tar", {"1.txt": "x", "2.txt": "y"})
    assert Catalogue.read(path).images is None
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "2.jpg").write_bytes(b"two")
    catalogue = Catalogue.read(path, images=tmp_path / "photos")
    assert photos_of(catalogue, all_rows(catalogue)[0]) == [[], [b"two"]]


def test_samples_that_name_urls(tmp_path):
    rows = {f"{n}.json": {"title": "x", "url": f"https://a/{n}.jpg"} for n in range(2)}
    path = tarred(tmp_path / "a.tar", {**rows, "1.jpg": b"x"})
    catalogue = Catalogue.read(
        path,
        images="web",
        columns=Columns(image="url"),
        fetching=Fetching(cache=str(tmp_path / "c")),
    )
    products, _ = all_rows(catalogue)
    found = [catalogue.images.references(product) for product in products]
    assert found == [("https://a/0.jpg",), ("https://a/1.jpg",)]
    catalogue.close()


# ---------------------------------------------------------------- later batches, memory


def test_a_batch_without_categories(shelf, tmp_path):
    reading = Reading.from_json(Catalogue.read(shelf).reading.to_json())
    named = reading.with_options(ReadingOptions(columns=Columns(category_id="category_id")))
    batch = tarred(tmp_path / "batch.tar", {"20.txt": "x", "20.jpg": b"x"})
    catalogue = Catalogue.open(batch, named)
    products, _ = all_rows(catalogue)
    assert [(one.product_id, one.category_id) for one in products] == [(20, None)]
    assert not catalogue.has_categories
    with pytest.raises(CatalogueError, match="no column 'category_id'"):
        Catalogue.open(batch, named, ALL_NEEDED)


def test_photos_are_not_held(tmp_path):
    noise = random.Random(0).randbytes(100_000)
    files = {}
    for n in range(200):
        files |= {f"{n}.json": {"title": "x", "category_id": 1}, f"{n}.jpg": noise}
    path = tarred(tmp_path / "a.tar", files)
    tracemalloc.start()
    count = sum(len(batch.products) for batch in Catalogue.read(path).batches(10))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 200
    assert peak < path.stat().st_size / 10


def test_nobody_reads_a_photo_to_read_the_rows(tmp_path, monkeypatch):
    sizes: list[int] = []
    pread = os.pread

    def counted(file: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return pread(file, size, offset)

    path = tarred(tmp_path / "a.tar", {"1.json": {"title": "x"}, "1.jpg": bytes(70_000)})
    monkeypatch.setattr(os, "pread", counted)
    assert len(products_of(path)) == 1
    assert max(sizes) == 512


def test_rejections_of_a_whole_file(tmp_path):
    path = tarred(tmp_path / "a.tar", {"1.json": "{", "1.jpg": b"x"})
    (rejection,) = rejected_of(path)
    assert rejection.reason.startswith("broken JSON: ")
