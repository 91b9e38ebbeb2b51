"""Photos are found under the names that catalogues really give, and no other photo is."""

from __future__ import annotations

import io
import json
import os
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.data import photo_index
from vitrina.data.catalogue import Catalogue
from vitrina.data.legacy_names import code_page
from vitrina.data.photo_index import LazyIndex, NameIndex
from vitrina.data.photo_lookup import PhotoLookup, list_of
from vitrina.data.photo_names import parse_references
from vitrina.data.product import Product
from vitrina.data.readers import Columns, Needs
from vitrina.data.sources import NamedImages, open_images
from vitrina.errors import PhotosNotFoundError

NFD = unicodedata.normalize("NFD", "Чайник й ё.jpg")
NFC = unicodedata.normalize("NFC", NFD)


def lookup(*files: str) -> PhotoLookup:
    index = LazyIndex()
    return PhotoLookup(frozenset(files).__contains__, lambda: index.get(lambda: files), "photos")


def found(field: str, *files: str, photos: int = 9) -> tuple[str, ...]:
    return lookup(*files).find((field,), photos)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        # A mirror of the site, at its root, by its host, or a folder further down.
        ("http://shop.ru/upload/iblock/4ef/1.jpg", "upload/iblock/4ef/1.jpg"),
        ("http://shop.ru/upload/iblock/4ef/1.jpg", "shop.ru/upload/iblock/4ef/1.jpg"),
        ("http://shop.ru/upload/iblock/4ef/1.jpg", "site/upload/iblock/4ef/1.jpg"),
        ("http://shop.ru/upload/iblock/4ef/1.jpg", "iblock/4ef/1.jpg"),
        ("http://shop.ru/upload/iblock/4ef/1.jpg", "1.jpg"),
        ("HTTPS://SHOP.RU/Upload/1.JPG", "upload/1.jpg"),
        ("//cdn.shop.ru/upload/1.jpg", "upload/1.jpg"),
        ("//cdn.shop.ru/upload/1.jpg", "cdn.shop.ru/upload/1.jpg"),
        ("http://shop.ru/upload/1.jpg?v=2&w=9", "upload/1.jpg"),
        ("http://shop.ru/upload/1.jpg?v=2&amp;w=9#x", "upload/1.jpg"),
        ("http://shop.ru/upload/1.jpg?v=2", "upload/1.jpg?v=2"),
        ("http://shop.ru/a%20b/%D1%87.jpg", "a b/ч.jpg"),
        ("http://shop.ru/%F7.jpg", "ч.jpg"),
        ("http://shop.ru/a%20b.jpg", "a%20b.jpg"),
        ("http://shop.ru/a&amp;b.jpg", "a&b.jpg"),
        ("http://shop.ru//upload//1.jpg", "upload/1.jpg"),
        ("http://shop.ru/x/../1.jpg", "1.jpg"),
        ("upload/1.jpg?v=2", "upload/1.jpg"),
        ("a%20b.jpg", "a b.jpg"),
        # Another machine's paths.
        ("C:\\foto\\5.jpg", "5.jpg"),
        ("C:\\foto\\5.jpg", "foto/5.jpg"),
        ("c:/foto/new/5.jpg", "new/5.jpg"),
        ("\\\\server\\share\\foto\\5.jpg", "foto/5.jpg"),
        ("file:///C:/foto/5.jpg", "foto/5.jpg"),
        ("/var/www/site/upload/5.jpg", "upload/5.jpg"),
        ("../images/5.jpg", "5.jpg"),
        # A prefix too many or too few.
        ("images/5.jpg", "5.jpg"),
        ("images\\5.jpg", "5.jpg"),
        ("5.jpg", "images/5.jpg"),
        ("5.jpg", "deep/down/5.jpg"),
        ("C:\\foto\\5.jpg", "photos/5.jpg"),
        ("./a//5.jpg", "a/5.jpg"),
        (" 5.jpg ", "5.jpg"),
        ('"5.jpg"', "5.jpg"),
        ("\ufeff5.jpg", "5.jpg"),
        # Case, Unicode, extensions.
        ("5.JPG", "5.jpg"),
        ("5.jpg", "5.JPG"),
        ("Images/5.jpg", "images/5.jpg"),
        ("ЧАЙНИК.jpg", "чайник.jpg"),
        (NFC, NFD),
        (NFD, NFC),
        (f"a\\{NFC}", f"a/{NFD}"),
        ("5", "5.jpg"),
        ("арт.5", "арт.5.png"),
        ("5.png", "5.jpg"),
        ("5.jpg", "5"),
        ("http://shop.ru/upload/5.jpg", "upload/5.webp"),
        # A name with a separator.
        ("Чайник, белый.jpg", "Чайник, белый.jpg"),
        ("Чайник, белый.JPG", "Чайник, белый.jpg"),
        ("C:\\foto\\a;b.jpg", "a;b.jpg"),
    ],
)
def test_a_name_means_this_file(name: str, file: str) -> None:
    assert found(name, "other.jpg", file, "x/other.png") == (file,)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("a/1.jpg", ["b/1.jpg"]),
        ("shop/a/1.jpg", ["b/1.jpg"]),
        ("http://shop.ru/upload/4ef/1.jpg", ["upload/5ab/1.jpg"]),
        ("http://shop.ru/upload/4ef/1.jpg", ["5ab/1.jpg", "upload/1/1.jpg"]),
        ("images/train/1.jpg", ["images/test/1.jpg"]),
        ("1.jpg", ["11.jpg", "1.jpg.txt", "x1.jpg"]),
        ("1", ["1.txt", "1/2.jpg"]),
        ("http://shop.ru/a,b.jpg", ["b.jpg"]),
        ("Чайник, белый.jpg", ["белый.jpg", "Чайник.jpg"]),
        ("арт#5.jpg", ["арт.jpg"]),
        ("http://shop.ru/арт#5.jpg", ["арт.jpg"]),
        ("http://shop.ru/", ["shop.ru", "shop.ru.jpg"]),
        ("a/", ["a.jpg"]),
        ("", [".jpg", "a.jpg"]),
        ("5.jpg", ["__MACOSX/5.jpg", ".thumbnails/5.jpg", "a/._5.jpg"]),
    ],
)
def test_a_name_means_no_other_file(name: str, files: list[str]) -> None:
    assert found(name, *files) == ()


@pytest.mark.parametrize(
    ("name", "files", "file"),
    [
        # The exact name, then the longest end, then the spelling that is nearest.
        ("a/1.jpg", ["1.jpg", "A/1.jpg", "a/1.jpg"], "a/1.jpg"),
        ("x/a/1.jpg", ["1.jpg", "a/1.jpg"], "a/1.jpg"),
        ("x/a/1.jpg", ["1.jpg", "A/1.JPG"], "1.jpg"),
        ("x/a/1.JPG", ["1.jpg", "A/1.jpg"], "A/1.jpg"),
        ("1.JPG", ["1.jpg", "b/1.jpg"], "1.jpg"),
        ("1.JPG", ["images/1.jpg", "b/1.jpg"], "images/1.jpg"),
        ("1.jpg", ["1.png", "x/1.jpg"], "x/1.jpg"),
        ("1.jpg", ["1.jpeg", "1.png"], "1.jpeg"),
        (NFC, [NFD, NFD.upper()], NFD),
    ],
)
def test_of_several_the_likeliest(name: str, files: list[str], file: str) -> None:
    assert found(name, *files) == (file,)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("1.jpg", ["a/1.jpg", "b/1.jpg"]),
        ("1", ["1.jpg", "1.png"]),
        ("1.webp", ["1.jpg", "1.png"]),
        ("b.JPG", ["B.jpg", "b.jpg"]),
    ],
)
def test_none_is_taken_of_several_that_fit(name: str, files: list[str]) -> None:
    assert found(name, *files) == ()
    reason = lookup(*files).explain((name,))
    assert reason.startswith(f"ambiguous photo {name!r}: it could be ")
    assert files[0] in reason
    assert files[1] in reason


FIVE_SIX = ("5.jpg", "6.jpg")


@pytest.mark.parametrize(
    ("field", "files", "expected"),
    [
        ("5.jpg,6.jpg", FIVE_SIX, FIVE_SIX),
        ("6.jpg;5.jpg", FIVE_SIX, ("6.jpg", "5.jpg")),
        ("5.jpg | 6.jpg", FIVE_SIX, FIVE_SIX),
        ("5.jpg\n6.jpg\r\n", FIVE_SIX, FIVE_SIX),
        ("5.jpg, 6.jpg,", FIVE_SIX, FIVE_SIX),
        ("5.jpg 6.jpg", FIVE_SIX, FIVE_SIX),
        ("5,6", FIVE_SIX, FIVE_SIX),
        ("5.JPG;images\\6.jpg", FIVE_SIX, FIVE_SIX),
        ("['5.jpg', '6.jpg']", FIVE_SIX, FIVE_SIX),
        ("{5.jpg,6.jpg}", FIVE_SIX, FIVE_SIX),
        ("http://s.ru/a/5.jpg, http://s.ru/a/6.jpg", FIVE_SIX, FIVE_SIX),
        ("a/5.jpg,b/6.jpg", FIVE_SIX, FIVE_SIX),
        ("a/5,b/6", FIVE_SIX, FIVE_SIX),
        ("7.jpg;6.jpg", FIVE_SIX, ("6.jpg",)),
        ("5.jpg;5.JPG", FIVE_SIX, ("5.jpg",)),
        ("5.jpg,6.jpg", (*FIVE_SIX, "5.jpg,6.jpg"), ("5.jpg,6.jpg",)),
        ("a,b.jpg;6.jpg", ("a,b.jpg", "b.jpg", "6.jpg"), ("a,b.jpg", "6.jpg")),
        ("5.jpg 6.jpg", ("5.jpg 6.jpg", "6.jpg"), ("5.jpg 6.jpg",)),
    ],
)
def test_lists(field: str, files: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert found(field, *files) == expected
    assert found(field, *files, photos=1) == expected[:1]


def test_the_index_is_asked_only_where_it_must_be() -> None:
    def index() -> NameIndex:
        raise AssertionError

    there = PhotoLookup({"5.jpg", "6.jpg"}.__contains__, index)
    for field in ("5.jpg", "http://s.ru/a/5.jpg", "images/5.jpg", "5.jpg,6.jpg"):
        assert there.find((field,), 1) == ("5.jpg",)


@given(st.lists(st.text(alphabet="аб/.jpg1 ,;", min_size=1, max_size=8), max_size=6), st.data())
def test_whatever_is_found_is_there_and_what_is_there_is_found(
    files: list[str], data: st.DataObject
) -> None:
    name = data.draw(st.text(alphabet="аб/.jpg1 ,;", max_size=12))
    for file in found(name, *files):
        # One that leads outside is for `read` to refuse.
        assert file in files or ".." in file
    for file in files:
        assert found(file, *files) in ((file,), (file.strip(),)) or ".." in file


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ()),
        ("", ()),
        (" a.jpg ", ("a.jpg",)),
        (["a.jpg", None, "b.jpg"], ("a.jpg", "b.jpg")),
        ('["a.jpg", "b.jpg"]', ("a.jpg", "b.jpg")),
        ("[broken", ("[broken",)),
        ({"bytes": None, "path": "a.jpg"}, ("a.jpg",)),
        ([{"bytes": None, "path": "a.jpg"}, {"url": "b.jpg"}], ("a.jpg", "b.jpg")),
        ('[{"url": "a.jpg"}]', ("a.jpg",)),
        (5, ("5",)),
        (5.0, ("5",)),
        (float("nan"), ()),
        ("NaN", ()),
        ("null", ()),
        (b"a.jpg", ("a.jpg",)),
        ("a\ud800.jpg", ("a?.jpg",)),
        ("a.jpg,b.jpg", ("a.jpg,b.jpg",)),
        ("[" * 100_000, ("[" * 100_000,)),
    ],
)
def test_parsing(value: object, names: tuple[str, ...]) -> None:
    assert parse_references(value) == names


def test_what_is_no_list() -> None:
    for field in ("a.jpg", "a,b.jpg", "a b.jpg", "http://s.ru/a b.jpg", "белый чайник", ""):
        assert list_of(field) == []


# ---------------------------------------------------------------- why not


@pytest.mark.parametrize(
    ("name", "files", "reason"),
    [
        ("a/1.jpg", ["b/1.jpg"], "no photo 'a/1.jpg': the nearest name is 'b/1.jpg'"),
        (
            "чайник_1.jpg",
            ["чайник-1.png"],
            "no photo 'чайник_1.jpg': the nearest name is 'чайник-1.png'",
        ),
        ("a.jpg", ["zzzz.jpg"], "no photo 'a.jpg': nothing like it in photos"),
        ("a.jpg", [], "no photo 'a.jpg': nothing like it in photos"),
        ("a.jpg;b.jpg", ["zzz.jpg"], "no photo 'a.jpg' (and 1 more): nothing like it in photos"),
        ("x" * 500, [], f"no photo {'x' * 120 + '...'!r}: nothing like it in photos"),
    ],
)
def test_reasons(name: str, files: list[str], reason: str) -> None:
    assert lookup(*files).explain((name,)) == reason


def test_no_name_needs_no_reason() -> None:
    assert lookup("a.jpg").explain(()) == ""


def test_the_nearest_among_many_is_found_quickly() -> None:
    files = [f"upload/{n % 97}/photo-{n}.jpg" for n in range(5000)]
    reason = lookup(*files).explain(("upload/1/photo-4321x.jpg",))
    assert reason.endswith("the nearest name is 'upload/53/photo-4321.jpg'")


def test_too_many_files_are_not_indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_index, "MAX_NAMES", 10)
    many = lookup(*(f"{n}.jpg" for n in range(11)))
    assert many.find(("a/5.jpg",), 1) == ("5.jpg",)
    assert many.find(("5.JPG",), 1) == ()
    assert "too many files" in many.explain(("5.JPG",))
    assert lookup(*(f"{n}.jpg" for n in range(10))).find(("5.JPG",), 1) == ("5.jpg",)


def test_a_name_that_is_in_every_folder_costs_no_more() -> None:
    many = lookup(*(f"{n}/1.jpg" for n in range(20_000)))
    for n in range(300):
        assert many.find((f"{n}/1.JPG",), 1) == (f"{n}/1.jpg",)
        assert many.find(("1.JPG",), 1) == ()


# ---------------------------------------------------------------- sources


def product(*images: str) -> Product:
    return Product(row=1, product_id=1, title="", images=images)


def opened(location: Path, *sample: Product) -> NamedImages:
    return open_images(location, template=None, photos=9, sample=sample, splits=())


def folder(path: Path, names: Iterable[str]) -> Path:
    for name in names:
        (path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "p" / name).write_bytes(name.encode())
    return path / "p"


def zipped(path: Path, names: Iterable[str]) -> Path:
    with zipfile.ZipFile(path / "p.zip", "w") as archive:
        for name in names:
            archive.writestr(name, name.encode())
    return path / "p.zip"


def tarred(path: Path, names: Iterable[str]) -> Path:
    with tarfile.open(path / "p.tar", "w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name.encode())
            archive.addfile(info, io.BytesIO(name.encode()))
    return path / "p.tar"


Put = Callable[[Path, Iterable[str]], Path]


@pytest.mark.parametrize("put", [folder, zipped, tarred])
def test_every_source_finds_and_reads(tmp_path: Path, put: Put) -> None:
    source = opened(put(tmp_path, ["upload/4ef/1.jpg", NFD, "images/5.jpg"]))
    for name, file in (
        ("http://shop.ru/upload/4ef/1.JPG", "upload/4ef/1.jpg"),
        (NFC, NFD),
        ("5", "images/5.jpg"),
    ):
        assert source.references(product(name)) == (file,)
        assert source.read(file) == file.encode()
        assert source.stamp(file) is not None
    assert source.references(product("upload/5ab/1.jpg")) == ()
    assert source.not_found(product("upload/5ab/1.jpg")) == (
        "no photo 'upload/5ab/1.jpg': the nearest name is 'upload/4ef/1.jpg'"
    )
    assert source.not_found(product()) == ""
    source.close()


@pytest.mark.parametrize("put", [folder, zipped, tarred])
def test_a_wrong_place_is_refused_and_an_example_named(tmp_path: Path, put: Put) -> None:
    place = put(tmp_path, ["a.jpg"])
    with pytest.raises(PhotosNotFoundError) as caught:
        opened(place, product(), product("b/nothing.jpg"))
    message = str(caught.value)
    assert message.startswith(
        f"{place}: none of the photos that the first 2 products name is there"
    )
    assert "no photo 'b/nothing.jpg': nothing like it" in message
    assert all(way in message for way in ("--images", "--image-template", "--images none"))


class _Unflagged(zipfile.ZipInfo):
    """A member whose name is in a code page, as old tools write it."""

    page = "cp866"

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode(self.page), self.flag_bits & ~0x800


@pytest.mark.parametrize("page", ["cp866", "cp1251", "utf-8"])
def test_zip_names_in_a_code_page(tmp_path: Path, page: str) -> None:
    names = [f"Фото/Чайник_{n} №2.jpg" for n in range(3)]
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in names:
            info = _Unflagged(name)
            info.page = page
            archive.writestr(info, name.encode())
    source = opened(tmp_path / "p.zip")
    for name in names:
        for given_name in (name, name.upper(), f"C:\\{name}"):
            (reference,) = source.references(product(given_name))
            assert reference == name
            assert source.read(reference) == name.encode()
    source.close()


def test_zip_names_of_other_languages_stay(tmp_path: Path) -> None:
    names = ["Café_é.jpg", "naïve.jpg"]
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in names:
            info = _Unflagged(name)
            info.page = "cp437"
            archive.writestr(info, b"x")
    source = opened(tmp_path / "p.zip")
    assert [source.references(product(name)) for name in names] == [(name,) for name in names]
    source.close()


def test_zip_names_with_backslashes(tmp_path: Path) -> None:
    source = opened(zipped(tmp_path, ["images\\5.jpg", "./a/6.jpg", "/b//7.jpg", "..\\8.jpg"]))
    for name in ("images/5.jpg", "images\\5.jpg", "a/6.jpg", "b/7.jpg"):
        (reference,) = source.references(product(name))
        assert source.read(reference)
    source.close()


@pytest.mark.parametrize(
    ("text", "page"),
    [("чашка", "cp866"), ("чашка", "cp1251"), ("Ёлка №5", "cp866"), ("ёж", "cp1251")],
)
def test_code_pages(text: str, page: str) -> None:
    assert code_page([b"ascii", text.encode(page)]) == page


def test_no_code_page() -> None:
    assert code_page([]) is None
    assert code_page([b"\x81\x82\xb0\xb1\xdb", b"\xfe\xff\xb3"]) is None


def test_odd_files_in_a_folder(tmp_path: Path) -> None:
    place = folder(tmp_path, ["a/5.jpg"])
    (place / "loop").symlink_to(place)
    (place / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (place / os.fsdecode(b"\xe0\xe1.jpg")).write_bytes(b"no text")
    source = opened(place)
    assert source.references(product("A/5.jpg")) == ("a/5.jpg",)
    assert source.references(product("GONE.jpg")) == ()
    assert source.references(product(",".join(f"a/{n}.jpg" for n in range(2000)))) == ("a/5.jpg",)
    assert all(name.isprintable() for name in source.some_names())


def test_nothing_outside_the_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    source = opened(folder(tmp_path, ["a/1.jpg"]))
    for name in (
        str(tmp_path / "secret.jpg"),
        "SECRET.jpg",
        "..\\secret.jpg",
        "C:\\..\\..\\secret.jpg",
    ):
        assert source.references(product(name)) in ((), (name,))
        assert source.references(product(f"x;{name}")) in ((), (name,))


# ---------------------------------------------------------------- catalogues


def test_a_batch_without_photos_opens_and_says_why(tmp_path: Path) -> None:
    place = folder(tmp_path, ["a.jpg"])
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"product_id": 1, "title": "чашка", "photo": "zzzz.jpg"}))
    columns = Columns(image="photo")
    with pytest.raises(PhotosNotFoundError, match=r"'zzzz\.jpg'"):
        Catalogue.read(path, images=place, columns=columns)
    path_there = tmp_path / "there.jsonl"
    path_there.write_text(json.dumps({"product_id": 1, "title": "чашка", "photo": "a.jpg"}))
    reading = Catalogue.read(path_there, images=place, columns=columns).reading
    with pytest.raises(PhotosNotFoundError, match=r"'zzzz\.jpg'"):
        Catalogue.open(path, reading)
    batch = Catalogue.open(path, reading, Needs(photos=False))
    assert batch.images is None
    with pytest.raises(PhotosNotFoundError, match=r"'zzzz\.jpg'"):
        batch.check_photos()
    Catalogue.open(path_there, reading).check_photos()


def test_an_empty_folder_is_refused_only_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"product_id": 1, "title": "чашка", "photo": "a.jpg"}))
    (tmp_path / "empty").mkdir()
    catalogue = Catalogue.read(path, images=tmp_path / "empty", columns=Columns(image="photo"))
    with pytest.raises(PhotosNotFoundError, match="it holds no files"):
        catalogue.check_photos()
