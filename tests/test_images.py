"""Photos are found where the catalogue says they are, and nowhere else."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from support.tar_files import tarred
from vitrina.data.decode import decode
from vitrina.data.photo_names import SAMPLE_IDS, detect_template
from vitrina.data.product import Product
from vitrina.data.sources import (
    ColumnImages,
    ImageSource,
    NamedImages,
    base,
    open_images,
)
from vitrina.errors import ImageError, ImageSourceError, PhotosNotFoundError

FASHION = Path("/work/shared/data/fashion")

Place = Callable[..., Path]


def jpeg(red: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (red, 40, 80)).save(file, "JPEG", quality=95)
    return file.getvalue()


def product(product_id: int | str, *images: str, row: int = 1) -> Product:
    return Product(row=row, product_id=product_id, title="", images=images)


@pytest.fixture(params=["folder", "zip stored", "zip deflated", "tar"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Puts files into a folder or an archive, so that all are held to the same tests."""

    def put(files: dict[str, bytes]) -> Path:
        if request.param == "folder":
            for name, data in files.items():
                path = tmp_path / "photos" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            return tmp_path / "photos"
        if request.param == "tar":
            return tarred(tmp_path / "photos.tar", files)
        method = zipfile.ZIP_STORED if "stored" in request.param else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(tmp_path / "photos.zip", "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return tmp_path / "photos.zip"

    return put


def opened(
    location: Path,
    sample: Sequence[Product] = (),
    template: str | None = None,
    photos: int = 1,
    splits: Sequence[str] = ("train", "test", "val"),
) -> NamedImages:
    return open_images(location, template=template, photos=photos, sample=sample, splits=splits)


# ---------------------------------------------------------------- folder, zip and tar alike


def test_finds_and_reads_by_template(place: Place) -> None:
    files = {f"images/train/{n}.jpg": jpeg(n) for n in (10, 200)}
    source: ImageSource = opened(location := place(files), [product(10), product(200), product(7)])
    assert source.location == str(location)
    assert source.references(product(10)) == ("images/train/10.jpg",)
    assert source.references(product(7)) == ()
    for number in (10, 200):
        (reference,) = source.references(product(number))
        pixel = decode(source.read(reference)).getpixel((8, 8))
        np.testing.assert_allclose(pixel, (number, 40, 80), atol=4)
    source.close()


def test_names_from_the_catalogue_come_first(place: Place) -> None:
    files = {"1.jpg": b"one", "a/x.jpg": b"x", "a/y.jpg": b"y", "a/z.jpg": b"z"}
    source = opened(place(files), template="{product_id}.jpg", photos=2)
    assert source.references(product(1)) == ("1.jpg",)
    named = product(1, "a/none.jpg", "a/x.jpg", "a/y.jpg", "a/z.jpg")
    assert source.references(named) == ("a/x.jpg", "a/y.jpg")
    assert source.references(product(1, "a/none.jpg")) == ("1.jpg",)
    source.close()


def test_a_template_serves_where_no_named_photo_is(place: Place) -> None:
    location = place({"images/1.jpg": b"one"})
    sample = [product(1, "https://shop.example/x.jpg"), product(2)]
    source = opened(location, sample)
    assert source.template == "images/{product_id}.jpg"
    assert source.references(sample[0]) == ("images/1.jpg",)
    source.close()
    with pytest.raises(
        PhotosNotFoundError, match=r"no photo 'https://shop.example/x\.jpg': "
    ) as err:
        opened(location, [product(5, "https://shop.example/x.jpg")])
    assert "--images none" in str(err.value)
    # One that is there is enough: the rest is for every product to say.
    named = [product(5, "https://shop.example/x.jpg"), product(6, "http://shop.example/1.jpg")]
    source = opened(location, named)
    assert source.template is None
    assert source.references(named[0]) == ()
    assert source.references(named[1]) == ("images/1.jpg",)
    source.close()


def test_names_from_the_catalogue_need_no_template(place: Place) -> None:
    source = opened(place({"b/1.jpg": b"one"}), [product(5), product(1, "b/1.jpg")])
    assert source.template is None
    assert source.references(product(5)) == ()
    assert source.references(product(1, "b/1.jpg")) == ("b/1.jpg",)
    source.close()


@pytest.mark.parametrize("name", ["./a/1.jpg", "/a/1.jpg", "//a//1.jpg", "a/../a/./1.jpg"])
def test_roundabout_names(place: Place, name: str) -> None:
    source = opened(place({"a/1.jpg": b"one"}))
    assert source.references(product(1, name)) == (name,)
    assert source.read(name) == b"one"
    source.close()


@pytest.mark.parametrize("name", ["../secret.jpg", "/../secret.jpg", "a/../../secret.jpg", ".."])
def test_names_that_lead_outside_are_failures_and_never_read(
    place: Place, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    source = opened(place({"a/1.jpg": b"one"}), template="{product_id}")
    assert source.references(product(1, name)) == (name,)
    assert source.references(product(name)) == (name,)
    with pytest.raises(ImageError, match="leads outside"):
        source.read(name)
    source.close()


def test_absolute_names_are_looked_up_inside(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    source = opened(place({"1.jpg": b"one"}))
    assert source.references(product(1, str(secret))) == ()
    with pytest.raises(ImageError):
        source.read(str(secret))
    source.close()


@given(name=st.text(alphabet="./ab\\\0~é", max_size=12))
def test_no_name_reads_anything_outside(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    outer = tmp_path_factory.getbasetemp() / "outer"
    (outer / "inner" / "a").mkdir(parents=True, exist_ok=True)
    for secret in (outer / "a.b", outer / "b"):
        secret.write_bytes(b"secret")
    (outer / "inner" / "b").write_bytes(b"public")
    source = opened(outer / "inner", template="{product_id}")
    for reference in (
        name,
        *source.references(product(name)),
        *source.references(product(1, name)),
    ):
        try:
            assert source.read(reference) == b"public"
        except ImageError as err:
            message = str(err)
            assert message


def test_missing_and_odd_references(place: Place) -> None:
    source = opened(place({"a/1.jpg": b"one"}))
    for reference in ("none.jpg", "", ".", "a", "a/", "x\0y", "z" * 5000, "http://shop/1.jpg"):
        with pytest.raises(ImageError):
            source.read(reference)
    assert source.references(product(1, "a", "a/", "x\0y", "", "a/1.jpg")) == ("a/1.jpg",)
    source.close()


@pytest.mark.parametrize(
    ("numbers", "photos", "expected"),
    [
        ([0, 1, 2], 9, [0, 1, 2]),
        ([1, 2, 3], 9, [1, 2, 3]),
        ([1, 2, 3], 2, [1, 2]),
        ([0, 2, 3], 9, [0]),
        ([1, 2, 4], 9, [1, 2]),
        ([2, 3], 9, []),
        ([0], 9, [0]),
        ([*range(1, 13)], 12, [*range(1, 13)]),
    ],
)
def test_numbered_photos(
    place: Place, numbers: list[int], photos: int, expected: list[int]
) -> None:
    files = {"other.txt": b"", **{f"7_{n}.jpg": b"" for n in numbers}}
    source = opened(place(files), template="{product_id}_{n}.jpg", photos=photos)
    assert source.references(product(7)) == tuple(f"7_{n}.jpg" for n in expected)
    source.close()


def test_string_ids_with_strange_characters(place: Place) -> None:
    files = {"A/1.jpg": b"slash", "{n}.jpg": b"braces", "арт №5.jpg": b"russian"}
    source = opened(place(files), template="{product_id}.jpg")
    for name, data in files.items():
        (reference,) = source.references(product(name.removesuffix(".jpg")))
        assert source.read(reference) == data
    source.close()


def test_too_large(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_BYTES", 100)
    source = opened(place({"1.jpg": bytes(100), "2.jpg": bytes(101)}))
    assert len(source.read("1.jpg")) == 100
    with pytest.raises(ImageError, match=r"^too large: 101 bytes in 2\.jpg$"):
        source.read("2.jpg")
    source.close()


def test_many_threads_read_what_one_does(place: Place) -> None:
    rng = np.random.default_rng(0)
    files = {f"{n}.jpg": rng.bytes(int(rng.integers(1, 60_000))) for n in range(200)}
    source = opened(place(files), [product(1)])
    names = [f"{n}.jpg" for n in range(200)] * 3
    with ThreadPoolExecutor(16) as pool:
        for name, data in zip(names, pool.map(source.read, names), strict=True):
            assert data == files[name]
    assert source.read("7.jpg") == files["7.jpg"]
    source.close()


# ---------------------------------------------------------------- folder


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "1.jpg").write_bytes(b"one")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "photos" / "broken.jpg").symlink_to(tmp_path / "none")
    source = opened(tmp_path / "photos")
    assert source.references(product(1, "broken.jpg", "linked/1.jpg")) == ("linked/1.jpg",)
    assert source.read("linked/1.jpg") == b"one"


def test_what_may_not_be_read_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "1.jpg").write_bytes(b"one")
    source = opened(tmp_path, template="{product_id}.jpg")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"^can't be read: '1\.jpg': Permission denied$"):
        source.read("1.jpg")
    monkeypatch.setattr(Path, "is_file", refuse)
    assert source.references(product(1)) == ("1.jpg",)


# ---------------------------------------------------------------- zip


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytearray:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return bytearray(path.read_bytes())


def reading_fails(path: Path, data: bytes, reason: str) -> None:
    path.write_bytes(data)
    source = opened(path)
    with pytest.raises(ImageError, match=reason):
        source.read("1.jpg")
    assert source.read("2.jpg") == b"two" * 50
    source.close()


FILES = {"1.jpg": b"one" * 50, "2.jpg": b"two" * 50}


def test_damaged_member(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    data = zipped(path, FILES)
    data[data.index(b"oneone") + 3] ^= 1
    reading_fails(path, data, r"^damaged member: 1\.jpg: Bad CRC-32")
    data = zipped(path, FILES, zipfile.ZIP_DEFLATED)
    data[35] ^= 0xFF
    reading_fails(path, data, r"^damaged member: 1\.jpg: ")
    data = zipped(path, FILES)
    data[0] = 0
    reading_fails(path, data, r"^damaged member: 1\.jpg: Bad magic")


def test_encrypted_member(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    data = zipped(path, FILES)
    data[data.index(b"PK\x01\x02") + 8] |= 1
    reading_fails(path, data, r"^encrypted member: 1\.jpg$")


def test_lying_size(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    data = zipped(path, FILES)
    place = data.index(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<I", 0xFFFFFFF0)
    reading_fails(path, data, r"^too large: 4294967280 bytes in 1\.jpg$")
    data[place : place + 4] = struct.pack("<I", 10)
    reading_fails(path, data, r"^damaged member: 1\.jpg: Bad CRC-32")
    data[place : place + 4] = struct.pack("<I", 5_000_000)
    path.write_bytes(data)
    source = opened(path)
    assert source.read("1.jpg") == FILES["1.jpg"]
    source.close()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression(tmp_path: Path, method: int) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.jpg", b"one" * 50, method)
        archive.writestr("2.jpg", b"two" * 50, zipfile.ZIP_DEFLATED)
    reading_fails(path, path.read_bytes(), r"^compressed in a way that is not supported: 1\.jpg$")


@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6))
def test_any_damage_to_an_archive_is_named(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.zip"
    data = zipped(path, FILES, zipfile.ZIP_DEFLATED)
    for place, value in changes:
        data[place % len(data)] = value
    path.write_bytes(data)
    try:
        source = opened(path)
    except ImageSourceError as err:
        message = str(err)
        assert message.startswith(str(path))
        return
    for name in FILES:
        try:
            assert source.read(name) == FILES[name]
        except ImageError as err:
            message = str(err)
            assert message
    source.close()


# ---------------------------------------------------------------- which template


def found(names: set[str], ids: Sequence[int | str], splits: Sequence[str]) -> str | None:
    return detect_template(names.__contains__, ids, splits)


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("images/train/1.jpg", "images/train/{product_id}.jpg"),
        ("images/test/1.png", "images/test/{product_id}.png"),
        ("train/1.jpeg", "train/{product_id}.jpeg"),
        ("images/1.webp", "images/{product_id}.webp"),
        ("1.jpg", "{product_id}.jpg"),
        ("1_0.jpg", "{product_id}_{n}.jpg"),
        ("images/val/1_1.png", "images/val/{product_id}_{n}.png"),
        ("1_2.jpg", None),
        ("photos/1.jpg", None),
        ("1.gif", None),
    ],
)
def test_usual_templates(name: str, template: str | None) -> None:
    assert found({name}, [3, 2, 1], ["train", "test", "val"]) == template


def test_the_catalogues_own_split_wins_a_tie() -> None:
    names = {f"images/{split}/{n}.jpg" for split in ("train", "test") for n in range(5)}
    for own in ("train", "test"):
        splits = [own, "train", "test", "val"]
        assert found(names, range(5), splits) == f"images/{own}/{{product_id}}.jpg"
    names = {"train/1.jpg", "images/test/1.jpg"}
    assert found(names, [1], ["train", "test"]) == "train/{product_id}.jpg"


def test_more_photos_beat_the_order() -> None:
    names = {"images/train/1.jpg", *(f"{n}.png" for n in range(5))}
    assert found(names, range(5), ["train"]) == "{product_id}.png"


def test_a_split_with_braces() -> None:
    assert found({"a{b}/1.jpg"}, [1], ["a{b}"]) == "a{{b}}/{product_id}.jpg"


def test_only_a_spread_sample_is_tried() -> None:
    asked: set[str] = set()

    def exists(name: str) -> bool:
        asked.add(name)
        return name == "990000.jpg"

    assert detect_template(exists, range(1_000_000), []) == "{product_id}.jpg"
    ids = {name.split("/")[-1].split(".")[0].split("_")[0] for name in asked}
    assert len(ids) == SAMPLE_IDS


def test_opening_detects(place: Place) -> None:
    files = {f"images/{split}/{n}.jpg": b"" for split in ("train", "test") for n in range(5)}
    sample = [product(n) for n in range(5)]
    source = opened(place(files), sample, splits=("test", "train", "test", "val"))
    assert source.template == "images/test/{product_id}.jpg"
    source.close()


def test_opening_without_a_hit_says_what_is_there(place: Place) -> None:
    location = place({"photos/a.jpg": b"", "photos/b.jpg": b""})
    with pytest.raises(ImageSourceError) as caught:
        opened(location, [product(1937), product(2)])
    message = str(caught.value)
    assert message.startswith(f"{location}: no photo found of product 1937; it holds photos/")
    assert "photos/a.jpg" in message
    assert "photos/b.jpg" in message
    assert message.endswith("--image-template 'images/{product_id}.jpg'")
    assert "\n" not in message


def test_opening_for_no_products(place: Place) -> None:
    source = opened(place({"x": b""}), [])
    assert source.references(product(1)) == ()
    source.close()


def test_a_given_template_may_find_nothing(place: Place) -> None:
    source = opened(place({"x": b""}), [product(1)], template="{product_id}.jpg")
    assert source.template == "{product_id}.jpg"
    assert source.references(product(1)) == ()
    source.close()


def test_the_split_of_a_given_template_is_found(place: Place) -> None:
    location = place({"p/train/1.gif": b"", "p/test/1.gif": b"", "p/test/2.gif": b""})
    template = "p/{split}/{product_id}.gif"
    for sample, splits, expected in (
        ([product(1), product(2)], ("train", "test"), "p/test/{product_id}.gif"),
        ([product(1)], ("train", "test"), "p/train/{product_id}.gif"),
        ([product(9)], ("val", "test"), "p/val/{product_id}.gif"),
    ):
        source = opened(location, sample, template=template, splits=splits)
        assert source.template == expected
        source.close()


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{id}.jpg", "unknown 'id'"),
        ("{product_id}/{colour}.jpg", "unknown 'colour'"),
        ("{product_id:>9}.jpg", "unknown 'product_id'"),
        ("{product_id.__class__}", "unknown 'product_id.__class__'"),
        ("{}.jpg", "unknown ''"),
        ("images/{split}.jpg", "needs {product_id}"),
        ("a.jpg", "needs {product_id}"),
        ("", "needs {product_id}"),
        ("{product_id", "expected '}'"),
        ("product_id}", "Single '}'"),
    ],
)
def test_malformed_templates(place: Place, template: str, complaint: str) -> None:
    location = place({"1.jpg": b""})
    with pytest.raises(ImageSourceError) as caught:
        opened(location, [product(1)], template=template)
    assert complaint in str(caught.value)
    assert template in str(caught.value)


def test_a_split_without_any_known(place: Place) -> None:
    location = place({"1.jpg": b""})
    with pytest.raises(ImageSourceError, match="no split is known"):
        opened(location, [product(1)], template="{split}/{product_id}", splits=())


def test_places_that_hold_no_photos(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.zip", FILES)
    cases = {
        "none": (None, "No such file or directory"),
        "text.zip": (b"hello", "no folder, zip or tar archive"),
        "empty.zip": (b"", "no folder, zip or tar archive"),
        "cut.zip": (bytes(whole[:-30]), "a damaged or cut zip archive"),
        "start.zip": (bytes(whole[:50]), "a damaged or cut zip archive"),
    }
    for name, (data, complaint) in cases.items():
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(ImageSourceError) as caught:
            opened(path, [product(1)])
        way_out = "give --images a folder, a zip or tar archive, or web"
        assert str(caught.value) == f"{path}: {complaint}; {way_out}"


# ---------------------------------------------------------------- column


def column_file(path: Path, values: Sequence[Any], kind: pa.DataType, group: int = 7) -> Path:
    table = pa.table({"id": range(len(values)), "photo": pa.array(values, kind)})
    pq.write_table(table, path, row_group_size=group)
    return path


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_column_of_bytes(tmp_path: Path, kind: pa.DataType) -> None:
    values = [None if n % 3 == 0 else f"photo {n}".encode() for n in range(1, 51)]
    source: ImageSource = ColumnImages(column_file(tmp_path / "p.parquet", values, kind), "photo")
    assert source.location == f"{tmp_path}/p.parquet, column 'photo'"
    for row, value in enumerate(values, 1):
        references = source.references(product("x", row=row))
        assert references == (() if value is None else (str(row),))
        assert [source.read(reference) for reference in references] == [value][: len(references)]
    assert source.references(product("x", row=51)) == ()
    source.close()


def test_column_in_any_order(tmp_path: Path) -> None:
    values = [str(n).encode() for n in range(1, 201)]
    source = ColumnImages(column_file(tmp_path / "p.parquet", values, pa.binary(), 60), "photo")
    for row in np.random.default_rng(0).integers(1, 201, 300):
        assert source.read(str(row)) == str(row).encode()
    source.close()


def test_column_from_many_threads(tmp_path: Path) -> None:
    values = [str(n).encode() for n in range(1, 201)]
    source = ColumnImages(column_file(tmp_path / "p.parquet", values, pa.binary(), 60), "photo")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, map(str, range(1, 201)))) == values
    source.close()


@pytest.mark.parametrize("kind", [pa.list_(pa.binary()), pa.large_list(pa.large_binary())])
def test_column_of_lists(tmp_path: Path, kind: pa.DataType) -> None:
    values = [[b"a", b"b", b"c"], [], None, [None, b"d", b"e"], [None]]
    source = ColumnImages(column_file(tmp_path / "p.parquet", values, kind, 2), "photo", photos=2)
    expected = [("1/1", "1/2"), (), (), ("4/2", "4/3"), ()]
    assert [source.references(product("x", row=n)) for n in range(1, 6)] == expected
    assert [source.read(name) for name in ("1/1", "1/2", "1/3", "4/2")] == [b"a", b"b", b"c", b"d"]
    for name in ("1", "1/0", "1/4", "1/-1", "3/1", "5/1", "1/1/1", "x/y"):
        with pytest.raises(ImageError, match=f"^no photo at row {name}$"):
            source.read(name)
    source.close()


HUGGING_FACE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def test_column_of_hugging_face_records(tmp_path: Path) -> None:
    values = [
        {"bytes": jpeg(200), "path": "a.jpg"},
        None,
        {"bytes": None, "path": None},
        {"bytes": None, "path": "elsewhere.jpg"},
    ]
    source = ColumnImages(column_file(tmp_path / "p.parquet", values, HUGGING_FACE), "photo")
    expected = [("1",), (), (), ("4",)]
    assert [source.references(product("x", row=n)) for n in range(1, 5)] == expected
    assert decode(source.read("1")).size == (16, 16)
    with pytest.raises(ImageError, match=r"^not in the file, which only names it: elsewhere\.jpg;"):
        source.read("4")
    source.close()


def test_column_of_lists_of_records(tmp_path: Path) -> None:
    values = [[{"bytes": b"a", "path": None}, {"bytes": b"b", "path": None}]]
    kind = pa.list_(HUGGING_FACE)
    source = ColumnImages(column_file(tmp_path / "p.parquet", values, kind), "photo", photos=5)
    assert source.references(product("x")) == ("1/1", "1/2")
    assert source.read("1/2") == b"b"
    source.close()


@pytest.mark.parametrize("reference", ["", "0", "4", "-1", "1/1", "x", "2", "9" * 5000])
def test_column_references_to_nothing(tmp_path: Path, reference: str) -> None:
    path = column_file(tmp_path / "p.parquet", [b"a", None, b"c"], pa.binary())
    source = ColumnImages(path, "photo")
    with pytest.raises(ImageError, match=r"^no photo at row "):
        source.read(reference)
    source.close()


def test_column_of_an_empty_file(tmp_path: Path) -> None:
    source = ColumnImages(column_file(tmp_path / "p.parquet", [], pa.binary()), "photo")
    assert source.references(product("x")) == ()
    source.close()


def test_column_holds_a_small_part_of_the_file(tmp_path: Path) -> None:
    # One row group, as many tools write it: the worst case for a reader.
    rng = np.random.default_rng(0)
    values = [rng.bytes(20_000) for _ in range(1000)]
    path = tmp_path / "p.parquet"
    table = pa.table({"photo": pa.array(values, pa.binary())})
    pq.write_table(table, path, use_dictionary=False, write_batch_size=32)
    del table
    assert pq.ParquetFile(path).metadata.num_row_groups == 1
    before = pa.total_allocated_bytes()
    source = ColumnImages(path, "photo")
    most = 0
    for row, value in enumerate(values, 1):
        assert source.read(str(row)) == value
        most = max(most, pa.total_allocated_bytes() - before)
    source.close()
    assert most < path.stat().st_size / 5


def test_column_is_read_once_when_rows_come_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = column_file(tmp_path / "p.parquet", [b"x"] * 100, pa.binary(), group=50)
    starts: list[list[int]] = []
    read = pq.ParquetFile.iter_batches

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        starts.append(options["row_groups"])
        return read(self, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    source = ColumnImages(path, "photo")
    for row in range(1, 101):
        source.read(str(row))
        source.read(str(row))
    assert starts == [[0], [1]]
    source.read("70")
    source.read("99")
    assert starts == [[0], [1], [1]]
    source.close()


def test_columns_that_hold_no_photos(tmp_path: Path) -> None:
    path = column_file(tmp_path / "p.parquet", [b"a"], pa.binary())
    with pytest.raises(ImageSourceError, match=r"column 'foto' .* is not among id, photo$"):
        ColumnImages(path, "foto")
    with pytest.raises(ImageSourceError, match=r"column 'id' .* holds int64$"):
        ColumnImages(path, "id")
    for kind in (pa.string(), pa.list_(pa.int8()), pa.struct({"path": pa.string()})):
        column_file(path, [None], kind)
        with pytest.raises(ImageSourceError, match="should hold photos"):
            ColumnImages(path, "photo")
    for name, data in (("text.parquet", b"hello"), ("none.parquet", None)):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageSourceError, match=f"{name}: can't be read as Parquet"):
            ColumnImages(tmp_path / name, "photo")


def test_damaged_column(tmp_path: Path) -> None:
    values = [bytes([n % 256]) * 5000 for n in range(100)]
    path = column_file(tmp_path / "p.parquet", values, pa.binary(), group=100)
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    path.write_bytes(data)
    source = ColumnImages(path, "photo")
    with pytest.raises(ImageSourceError, match=r"p\.parquet, column 'photo': damaged at row 1"):
        source.references(product("x"))
    source.close()


# ---------------------------------------------------------------- a real catalogue


@pytest.mark.skipif(not FASHION.exists(), reason="the shared fashion catalogue is not here")
def test_fashion_catalogue() -> None:
    for split, size in (("train", 35106), ("test", 8966)):
        ids = pq.read_table(FASHION / f"{split}.parquet", columns=["product_id"])["product_id"]
        products = [product(number, row=n) for n, number in enumerate(ids.to_pylist(), 1)]
        splits = (split, "train", "test", "val")
        source = opened(FASHION / "images.zip", products[:500], splits=splits)
        assert source.template == f"images/{split}/{{product_id}}.jpg"
        references = [source.references(item) for item in products]
        assert len(references) == size
        assert all(len(names) == 1 for names in references)
        for (name,) in references[:50]:
            assert decode(source.read(name), at_least=224).size[1] in range(20, 400)
        source.close()
