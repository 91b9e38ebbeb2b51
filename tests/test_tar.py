"""Tar archives: every regular file is found by its header alone, and nothing else is followed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import resource
import shutil
import subprocess
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.catalogue_files import jsonl
from support.tar_files import tarred, tarred_in_order
from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Product
from vitrina.data.sources import (
    ColumnImages,
    FolderImages,
    TarImages,
    TarIndex,
    base,
    open_images,
)
from vitrina.data.tar import Cut, Member, TarError, find_shards, members
from vitrina.errors import ImageError, ImageSourceError

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
FILES = {f"{n}.jpg": bytes([n]) * (300 * n) for n in range(1, 8)}


def opened(location: Path | str, *sample: Product, template: str | None = None) -> TarImages:
    source = open_images(location, template=template, photos=9, sample=sample, splits=("train",))
    assert isinstance(source, TarImages)
    return source


def contents(path: Path) -> dict[str, bytes]:
    data = path.read_bytes()
    found = [item for item in members(path) if isinstance(item, Member)]
    return {name: data[offset : offset + size] for name, offset, size in found}


def product(product_id: int | str, *images: str) -> Product:
    return Product(1, product_id, "", images=images)


# ---------------------------------------------------------------- headers

NAMES = st.lists(
    st.text(alphabet=st.sampled_from("abйц. é"), min_size=1, max_size=80)
    .map(lambda part: part.strip(". "))
    .filter(bool),
    min_size=1,
    max_size=4,
).map("/".join)


@given(files=st.dictionaries(NAMES, st.binary(max_size=1100), max_size=6), ending=st.booleans())
def test_the_same_files_as_tarfile_finds(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], ending: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tar"
    for format in FORMATS[1:]:
        tarred(path, {"first": b"1", **files}, format)
        if not ending:
            # Some writers leave the two closing blocks out.
            data = path.read_bytes()
            with tarfile.open(path) as archive:
                last = archive.getmembers()[-1]
            path.write_bytes(data[: last.offset_data + -(-last.size // 512) * 512])
        assert contents(path) == {"first": b"1", **files}


def test_long_names_in_every_format(tmp_path):
    for format in FORMATS:
        names = ["a" * 100, "d" * 120 + "/" + "f" * 99, "e/" * 20 + "g.jpg"]
        names += [] if format == tarfile.USTAR_FORMAT else ["h" * 3000, "ё/" * 600 + "1.jpg"]
        files = {name: name[:1].encode() for name in names}
        assert contents(tarred(tmp_path / "a.tar", files, format)) == files


def test_names_are_cleaned_and_none_leads_outside(tmp_path):
    files = {"./a/1.jpg": b"1", "/b/2.jpg": b"2", "c//d/../3.jpg": b"3", "../4.jpg": b"4"}
    path = tarred(tmp_path / "a.tar", files)
    assert contents(path) == {"a/1.jpg": b"1", "b/2.jpg": b"2", "c/3.jpg": b"3"}
    source = opened(path)
    assert source.read("c/./3.jpg") == b"3"
    assert source.references(product(1, "../4.jpg")) == ("../4.jpg",)
    with pytest.raises(ImageError, match="leads outside"):
        source.read("../4.jpg")


def test_names_that_are_not_utf8(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="cp1251") as archive:
        for name in ("фото.jpg", "1.jpg"):
            archive.addfile(tarfile.TarInfo(name))
    assert list(contents(path)) == ["фото.jpg", "1.jpg"]


def test_links_devices_and_folders_are_not_files(tmp_path):
    path = tmp_path / "a.tar"
    (tmp_path / "secret").write_bytes(b"secret")
    for format in FORMATS:
        with tarfile.open(path, "w", format=format) as archive:
            kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)
            for n, kind in enumerate((*kinds, tarfile.FIFOTYPE, tarfile.DIRTYPE)):
                entry = tarfile.TarInfo(f"{n}.jpg")
                # Some writers give a link the size of its target, though nothing follows.
                entry.type, entry.size, entry.linkname = kind, 600, str(tmp_path / "secret") * 9
                entry.linkname = "/etc/passwd" if format == FORMATS[0] else entry.linkname
                archive.addfile(entry)
            last = tarfile.TarInfo("last.jpg")
            last.size = 4
            archive.addfile(last, io.BytesIO(b"last"))
        source = opened(path)
        assert contents(path) == {"last.jpg": b"last"}
        assert source.references(product(1, *(f"{n}.jpg" for n in range(6)))) == ()
        with pytest.raises(ImageError, match=r"^no such member: '0\.jpg'$"):
            source.read("0.jpg")


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
@pytest.mark.parametrize("format", ["gnu", "posix"])
def test_sparse_files_are_not_read(tmp_path, format):
    with (tmp_path / "holes.jpg").open("wb") as file:
        # More holes than the first header can hold.
        for n in range(60):
            file.seek(n * 100_000)
            file.write(b"x")
    (tmp_path / "1.jpg").write_bytes(b"one")
    command = ["tar", f"--format={format}", "-Scf", "a.tar", "holes.jpg", "1.jpg"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert contents(tmp_path / "a.tar") == {"1.jpg": b"one"}


def header_of(name: str, size: int, format: int = tarfile.USTAR_FORMAT) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(format)


def test_a_size_in_a_pax_header_counts(tmp_path):
    record = b"12 size=600\n"
    extension = bytearray(header_of("pax", len(record)))
    extension[156:157] = b"x"
    extension[148:156] = b"%06o\0 " % (sum(extension[:148]) + sum(extension[156:]) + 256)
    body = b"x" * 600 + bytes(424)
    data = bytes(extension) + record.ljust(512, b"\0") + header_of("1.jpg", 0) + body
    (tmp_path / "a.tar").write_bytes(data + header_of("2.jpg", 3) + b"two".ljust(512, b"\0"))
    assert contents(tmp_path / "a.tar") == {"1.jpg": b"x" * 600, "2.jpg": b"two"}


def test_files_past_eight_gigabytes(tmp_path):
    path = tmp_path / "a.tar"
    size = 9 << 30
    with path.open("wb") as file:
        # A hole: nothing is written.
        file.write(header_of("1.jpg", size, tarfile.GNU_FORMAT))
        file.seek(512 + size)
        file.write(header_of("2.jpg", 3) + b"two".ljust(512, b"\0"))
    source = opened(path)
    assert source.read("2.jpg") == b"two"
    with pytest.raises(ImageError, match=rf"^too large: {size} bytes in 1\.jpg$"):
        source.read("1.jpg")


# ---------------------------------------------------------------- damage


def test_an_archive_cut_anywhere(tmp_path):
    whole = tarred(tmp_path / "whole.tar", {**FILES, "long" * 40: b"x"}, tarfile.GNU_FORMAT)
    data = whole.read_bytes()
    complete = list(members(whole))
    path = tmp_path / "cut.tar"
    for size in range(100, len(data), 100):
        path.write_bytes(data[:size])
        expected = [item for item in complete if item.offset + item.size <= size]
        if size < 512:
            with pytest.raises(TarError, match="not a tar archive, or a damaged one"):
                list(members(path))
            continue
        found = list(members(path))
        assert [item for item in found if isinstance(item, Member)] == expected
        lost = len(expected) < len(complete)
        if found and isinstance(found[-1], Cut):
            assert lost
            assert found[-1].at <= size
        if not expected:
            with pytest.raises(ImageSourceError, match=r"cut\.tar: damaged or truncated before"):
                opened(path)
            continue
        source = opened(path)
        for item in expected:
            assert source.read(item.name) == data[item.offset : item.offset + item.size]
        assert source.references(product(1, *FILES)) == tuple(
            item.name for item in expected if item.name in FILES
        )


def test_damage_in_the_middle_ends_the_archive_visibly(tmp_path):
    path = tarred(tmp_path / "a.tar", FILES)
    data = bytearray(path.read_bytes())
    place = data.index(b"3.jpg")
    data[place] ^= 1
    path.write_bytes(data)
    assert [type(item) for item in members(path)] == [Member, Member, Cut]
    assert opened(path).read("2.jpg") == FILES["2.jpg"]


@given(changes=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), max_size=8))
def test_any_damage_is_a_cut_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.tar"
    data = bytearray(tarred(path, {"n" * 200: b"x", **FILES}).read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    path.write_bytes(data)
    try:
        found = list(members(path))
    except TarError as err:
        message = str(err)
        assert message.startswith(str(path))
        return
    for item in found:
        if isinstance(item, Member):
            assert 512 <= item.offset <= item.offset + item.size <= len(data)
    assert all(isinstance(item, Member) for item in found[:-1])


def test_compressed_archives_say_the_way_out(tmp_path):
    data = tarred(tmp_path / "a.tar", FILES).read_bytes()
    zstd = b"\x28\xb5\x2f\xfd" + data
    for name, packed in (
        ("a.tar.gz", gzip.compress(data, mtime=0)),
        ("a.tgz", gzip.compress(data, mtime=0)),
        ("b.tar", gzip.compress(data, mtime=0)),
        ("a.tar.bz2", bz2.compress(data)),
        ("a.tar.xz", lzma.compress(data)),
        ("a.tar.zst", zstd),
    ):
        path = tmp_path / name
        path.write_bytes(packed)
        with pytest.raises(ImageSourceError) as caught:
            opened(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: compressed with ")
        assert message.endswith("; unpack it, or pack it again without compression")


def test_files_that_are_no_archives(tmp_path):
    for name, data, complaint in (
        ("a.tar", b"", "this file is empty"),
        ("b.tar", b"hello" * 200, "not a tar archive, or a damaged one"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageSourceError, match=rf"{name}: {complaint}"):
            opened(tmp_path / name)
    (tmp_path / "empty.tar").write_bytes(bytes(10240))
    assert opened(tmp_path / "empty.tar").references(product(1, "1.jpg")) == ()
    with pytest.raises(ImageSourceError, match="it holds no files"):
        opened(tmp_path / "empty.tar", product(1))


def test_an_archive_is_known_by_its_content(tmp_path):
    path = tarred(tmp_path / "photos", FILES)
    assert opened(path).read("1.jpg") == FILES["1.jpg"]


# ---------------------------------------------------------------- several archives


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for n in range(12):
        tarred(folder / f"part-{n:06}.tar", {f"{n}.jpg": b"%d" % n, f"{n}_b.jpg": b"b"})
    (folder / "part-000000.json").write_text("{}")
    (folder / ".part-000001.tar").write_text("left by a copy that was cut off")
    return folder


@pytest.mark.parametrize("form", ["", "part-{000000..000011}.tar", "part-{000000..000005}.tar"])
def test_shards_are_one_source(shards, form):
    source = opened(shards / form if form else shards, product(3))
    assert source.template == "{product_id}.jpg"
    count = 6 if "5}" in form else 12
    assert len(source.index) == 2 * count
    assert len(source.index.shards) == count
    for n in range(count):
        assert source.read(f"{n}.jpg") == b"%d" % n
    assert source.references(product(count)) == ()
    assert source.location == str(shards / form if form else shards)


def test_ranges(tmp_path):
    names = [f"{a}-{b:02}.tar" for a in (8, 9, 10) for b in (0, 1)]
    for name in names:
        tarred(tmp_path / name, {f"{name}.jpg": b""})
    location = tmp_path / "{8..10}-{00..01}.tar"
    assert find_shards(location, unless=()) == tuple(tmp_path / name for name in names)
    assert find_shards(tmp_path / "{8..10}.jpg", unless=()) == ()
    assert find_shards(tmp_path / "none.tar", unless=()) == ()
    with pytest.raises(TarError, match=r"7-00\.tar: no such file, though .*names it$"):
        find_shards(tmp_path / "{7..10}-{00..01}.tar", unless=())
    for wrong in ("{9..8}.tar", "{0..9999999}.tar"):
        with pytest.raises(TarError, match="should count up"):
            find_shards(tmp_path / wrong, unless=())
    with pytest.raises(ImageSourceError, match="no such file"):
        opened(tmp_path / "{7..8}-00.tar")


def test_a_name_with_braces_that_exists_is_no_range(tmp_path):
    path = tarred(tmp_path / "{1..2}.tar", FILES)
    assert find_shards(path, unless=()) == (path,)


def test_a_folder_of_photos_with_an_archive_is_a_folder(shards):
    (shards / "1.JPG").write_bytes(b"one")
    source = open_images(shards, template=None, photos=1, sample=(), splits=())
    assert isinstance(source, FolderImages)


def test_one_bad_shard_among_good_ones(shards):
    path = shards / "part-000003.tar"
    path.write_bytes(path.read_bytes()[:600])
    source = opened(shards)
    assert source.read("3.jpg") == b"3"
    assert source.references(product(1, "3_b.jpg", "4_b.jpg")) == ("4_b.jpg",)
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(ImageSourceError, match=r"part-000003\.tar: not a tar archive"):
        opened(shards)


def test_a_name_in_two_archives_is_never_guessed(shards):
    tarred(shards / "more.tar", {"3.jpg": b"other", "x.jpg": b"x"})
    source = opened(shards)
    assert source.references(product(1, "3.jpg")) == ("3.jpg",)
    with pytest.raises(ImageError, match=r"^in more than one archive: 3\.jpg \(in more\.tar and "):
        source.read("3.jpg")
    assert source.stamp("3.jpg") is None
    assert source.read("x.jpg") == b"x"


def test_the_last_of_a_name_in_one_archive_counts(tmp_path):
    files = [("1.jpg", b"old"), ("2.jpg", b"two"), ("1.jpg", b"new")]
    source = opened(tarred_in_order(tmp_path / "a.tar", files))
    assert source.read("1.jpg") == b"new"


def test_more_archives_than_files_may_be_open(tmp_path):
    for n in range(80):
        tarred(tmp_path / f"{n}.tar", {f"{n}.jpg": b"%d" % n})
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        source = opened(tmp_path)
        with ThreadPoolExecutor(4) as pool:
            read = list(pool.map(source.read, [f"{n}.jpg" for n in range(80)]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert read == [b"%d" % n for n in range(80)]


def test_the_index_is_small(tmp_path):
    names = {f"images/train/{'x' * 60}{n}.jpg": b"" for n in range(3000)}
    path = tarred(tmp_path / "a.tar", names, tarfile.GNU_FORMAT)
    index = TarIndex([path])
    arrays = [value for value in vars(index).values() if hasattr(value, "nbytes")]
    assert sum(value.nbytes for value in arrays) == 28 * 3000
    assert len(index.some_names) == 3


def test_an_archive_that_changes_while_it_is_used(tmp_path):
    path = tarred(tmp_path / "a.tar", FILES)
    source = opened(path)
    assert source.read("1.jpg") == FILES["1.jpg"]
    os.utime(path, ns=(1, 1))
    with pytest.raises(ImageError, match=r"^the archive changed while it was in use: a\.tar$"):
        source.read("1.jpg")
    path.unlink()
    with pytest.raises(ImageError, match=r"^can't be read: 1\.jpg: No such file"):
        source.read("1.jpg")


def test_a_catalogue_with_photos_in_tar_archives(shards, tmp_path):
    table = jsonl(tmp_path / "t.jsonl", *({"product_id": n, "title": "x"} for n in range(12)))
    catalogue = Catalogue.read(table, images=shards / "part-{000000..000011}.tar")
    assert catalogue.reading.images == str(shards / "part-{000000..000011}.tar")
    for batch in catalogue.batches():
        found = [catalogue.images.references(one) for one in batch.products]
        assert found == [(f"{n}.jpg",) for n in range(12)]
    catalogue.close()


# ---------------------------------------------------------------- stamps and workers, all sources


def test_stamps_of_a_folder(tmp_path):
    path = tmp_path / "1.jpg"
    path.write_bytes(b"one")
    source = open_images(tmp_path, template=None, photos=1, sample=(), splits=())
    os.utime(path, ns=(5, 5))
    first = source.stamp("1.jpg")
    assert first == source.stamp("./1.jpg") is not None
    path.write_bytes(b"two!")
    os.utime(path, ns=(5, 5))
    second = source.stamp("1.jpg")
    os.utime(path, ns=(6, 6))
    assert len({first, second, source.stamp("1.jpg")}) == 3
    for missing in ("2.jpg", "../1.jpg", "x\0y", "z" * 5000):
        assert source.stamp(missing) is None


def test_stamps_of_a_zip(tmp_path):
    def stamp(data: bytes) -> str | None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("0.jpg", data)
            archive.writestr("1.jpg", b"one")
        source = open_images(tmp_path / "a.zip", template=None, photos=1, sample=(), splits=())
        assert source.stamp("2.jpg") is source.stamp("../1.jpg") is None
        found = source.stamp("1.jpg")
        assert found not in (None, source.stamp("0.jpg"))
        source.close()
        return found

    # The same photo in a new archive is the same photo.
    assert stamp(b"x") == stamp(b"something else")


def test_stamps_of_a_tar(tmp_path):
    path = tarred(tmp_path / "a.tar", FILES)
    source = opened(path)
    assert source.stamp("1.jpg") == opened(path).stamp("./1.jpg")
    assert source.stamp("1.jpg") != source.stamp("2.jpg")
    os.utime(path, ns=(7, 7))
    assert opened(path).stamp("1.jpg") != source.stamp("1.jpg")
    assert source.stamp("none.jpg") is source.stamp("../1.jpg") is None


def test_stamps_of_a_column(tmp_path):
    pq.write_table(pa.table({"photo": pa.array([b"x"])}), tmp_path / "a.parquet")
    source = ColumnImages(tmp_path / "a.parquet", "photo")
    assert source.stamp("1") is None
    assert source.workers == 1
    source.close()


def test_workers(tmp_path):
    tarred(tmp_path / "a.tar", FILES)
    zipfile.ZipFile(tmp_path / "a.zip", "w").close()
    (tmp_path / "folder").mkdir()
    for name in ("a.tar", "a.zip", "folder"):
        source = open_images(tmp_path / name, template=None, photos=1, sample=(), splits=())
        assert source.workers == base.DISK_WORKERS
        source.close()
