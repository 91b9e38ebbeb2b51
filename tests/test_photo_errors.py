"""Photos that are named and not found, and photos that were mended, are listed while they last."""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from support.embedding import IMAGE, STUBS, run, vectors_of
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import ReadingOptions
from vitrina.data.readers import Columns
from vitrina.errors import CatalogueError, PhotosNotFoundError, TooManyFailuresError
from vitrina.pipelines.common.batch_encoder import BatchEncoder
from vitrina.store.space import read_errors
from vitrina.store.store import OpenStore

pytestmark = pytest.mark.usefixtures("stubs")

PHOTO = Columns(image="photo")


def png(grey: int, *, text: bool = False) -> bytes:
    """A photo; `text`: with a text chunk that Pillow refuses."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (grey, grey, 0)).save(file, "PNG")
    data = file.getvalue()
    if not text:
        return data
    body = b"zTXta\0\0" + zlib.compress(bytes(3_000_000))
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return data[:33] + chunk + data[33:]


def place(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).write_bytes(data)
    return root / "images"


def catalogue(root: Path, photos: dict[int, str | None], images: Path) -> Catalogue:
    path = root / "goods.jsonl"
    rows = [
        {"product_id": one, "title": f"чай {one}", "photo": name} for one, name in photos.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Catalogue.read(path, images=images, columns=PHOTO)


def errors(shelf: Path) -> list[tuple[str, str, str]]:
    store = OpenStore.open(shelf)
    rows = read_errors(store.files, store.space(IMAGE).entry.errors).to_pylist()
    return [(row["product_id"], row["stage"], row["error"]) for row in rows]


def counts(report) -> tuple[int, ...]:
    """Embedded, reused, unchanged, missing, not found, mended, failed; found of those sought."""
    space = report.spaces[1]
    return (
        space.embedded,
        space.reused,
        space.unchanged,
        space.missing,
        space.not_found,
        space.mended,
        space.failed,
        space.found,
        space.sought,
    )


def test_what_is_named_and_not_there_is_listed_until_it_is_there(tmp_path):
    images = place(tmp_path, {"a/1.png": png(10), "2.png": png(20), "x.txt": b""})
    photos = {1: "A/1.PNG", 2: "2.png", 3: "b/1.png", 4: None, 5: "nothing.png"}
    shelf = tmp_path / "shelf"
    # None of them is a failure: an incomplete mirror is embedded as far as it goes.
    options = replace(STUBS, max_failures=0.0)
    report = run(shelf, catalogue(tmp_path, photos, images), options)
    assert counts(report) == (2, 0, 0, 1, 2, 0, 0, 2, 4)
    expected = [
        ("3", "find", "no photo 'b/1.png': the nearest name is 'a/1.png'"),
        ("5", "find", f"no photo 'nothing.png': nothing like it in {images}"),
    ]
    assert errors(shelf) == expected
    again = run(shelf, catalogue(tmp_path, photos, images), options)
    assert counts(again) == (0, 0, 2, 1, 2, 0, 0, 2, 4)
    assert errors(shelf) == expected
    place(tmp_path, {"b/1.png": png(30)})
    report = run(shelf, catalogue(tmp_path, photos, images), options)
    assert counts(report) == (1, 0, 2, 1, 1, 0, 0, 3, 4)
    assert errors(shelf) == expected[1:]


def test_the_rows_of_products_that_a_catalogue_does_not_mention_stand(tmp_path):
    images = place(tmp_path, {"1.png": png(10), "2.png": png(20, text=True)})
    shelf = tmp_path / "shelf"
    run(shelf, catalogue(tmp_path, {1: "1.png", 2: "2.png", 3: "gone.png"}, images))
    before = errors(shelf)
    assert [stage for _, stage, _ in before] == ["find", "repair"]
    report = run(shelf, catalogue(tmp_path, {1: "1.png"}, images))
    assert sorted(errors(shelf)) == sorted(before)
    assert counts(report) == (0, 0, 2, 0, 1, 1, 0, 1, 1)
    run(shelf, catalogue(tmp_path, {1: "1.png"}, images), replace(STUBS, prune=True))
    assert errors(shelf) == []


def test_no_name_at_all_is_no_error(tmp_path):
    images = place(tmp_path, {"1.png": png(10)})
    report = run(tmp_path / "shelf", catalogue(tmp_path, {1: "1.png", 2: None, 3: ""}, images))
    assert counts(report) == (1, 0, 0, 2, 0, 0, 0, 1, 1)
    assert errors(tmp_path / "shelf") == []


def test_by_a_template_every_product_should_have_one(tmp_path):
    images = place(tmp_path, {"1.png": png(10), "2.png": png(20)})
    path = tmp_path / "goods.jsonl"
    path.write_text("".join(f'{{"product_id": {n}, "title": "чай"}}\n' for n in range(1, 6)))
    report = run(tmp_path / "shelf", Catalogue.read(path, images=images))
    assert counts(report) == (2, 0, 0, 3, 0, 0, 0, 2, 5)


def test_of_several_one_found_is_enough(tmp_path):
    images = place(tmp_path, {"1.png": png(10), "2.png": png(20)})
    photos = {1: "0.png;1.png;2.png", 2: "0.png;00.png"}
    report = run(tmp_path / "shelf", catalogue(tmp_path, photos, images))
    assert counts(report) == (1, 0, 0, 0, 1, 0, 0, 1, 2)
    ((who, stage, why),) = errors(tmp_path / "shelf")
    assert (who, stage) == ("2", "find")
    assert why.startswith("no photo '0.png' (and 1 more)")


def test_a_wrong_folder_is_refused_before_anything_is_lost(tmp_path):
    images = place(tmp_path, {"1.png": png(10), "2.png": png(20)})
    shelf = tmp_path / "shelf"
    run(shelf, catalogue(tmp_path, {1: "1.png", 2: "2.png"}, images))
    (tmp_path / "wrong").mkdir()
    wrong = place(tmp_path / "wrong", {"other.png": png(5)})
    reading = OpenStore.open(shelf).manifest.reading
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (wrong, empty):
        known = catalogue(tmp_path, {1: "1.png", 2: "2.png"}, images).reading
        elsewhere = known.with_options(ReadingOptions(images=str(folder)))
        with pytest.raises(PhotosNotFoundError, match="none of the photos"):
            run(shelf, Catalogue.open(tmp_path / "goods.jsonl", elsewhere))
    assert OpenStore.open(shelf).manifest.reading == reading
    assert len(vectors_of(shelf, IMAGE)) == 2


# ---------------------------------------------------------------- mended


def test_mended_photos_are_embedded_and_listed(tmp_path, stubs):
    images = place(
        tmp_path, {"1.png": png(10), "2.png": png(20, text=True), "3.png": b"\n" + png(30)}
    )
    shelf = tmp_path / "shelf"
    photos: dict[int, str | None] = {n: f"{n}.png" for n in (1, 2, 3)}
    options = replace(STUBS, max_failures=0.0)
    report = run(shelf, catalogue(tmp_path, photos, images), options)
    assert counts(report) == (3, 0, 0, 0, 0, 2, 0, 3, 3)
    expected = [
        ("2", "repair", "PNG, read without its metadata: Decompressed data too large for "),
        ("3", "repair", "1 bytes before the PNG"),
    ]
    for row, (who, stage, why) in zip(errors(shelf), expected, strict=True):
        assert row[:2] == (who, stage)
        assert row[2].startswith(why)
    assert sorted(vectors_of(shelf, IMAGE)) == [1, 2, 3]
    listed, seen = errors(shelf), len(stubs[IMAGE].seen)
    # Again, also where failures are to be tried again: it is no failure.
    for again in (options, replace(options, retry_failed=True), replace(options, rehash=True)):
        report = run(shelf, catalogue(tmp_path, photos, images), again)
        assert counts(report) == (0, 0, 3, 0, 0, 2, 0, 3, 3)
        assert errors(shelf) == listed
        assert len(stubs[IMAGE].seen) == seen
    # Another product with the same photo, and one whose photo is sound now.
    place(tmp_path, {"4.png": png(20, text=True), "3.png": png(30)})
    photos[4] = "4.png"
    report = run(shelf, catalogue(tmp_path, photos, images), options)
    assert counts(report) == (1, 1, 2, 0, 0, 2, 0, 4, 4)
    assert [(who, stage) for who, stage, _ in errors(shelf)] == [("2", "repair"), ("4", "repair")]
    assert errors(shelf)[1][2] == errors(shelf)[0][2]


def test_failures_beside_repairs_still_stop_a_run(tmp_path):
    images = place(tmp_path, {"1.png": png(20, text=True), "2.png": b"broken", "3.png": png(3)})
    photos: dict[int, str | None] = {n: f"{n}.png" for n in (1, 2, 3)}
    with pytest.raises(TooManyFailuresError, match=r"^1 of 3 .*most often: not an image"):
        run(tmp_path / "shelf", catalogue(tmp_path, photos, images), replace(STUBS, max_failures=0))
    run(tmp_path / "shelf", catalogue(tmp_path, photos, images))
    assert sorted(stage for _, stage, _ in errors(tmp_path / "shelf")) == ["decode", "repair"]


# ---------------------------------------------------------------- batches


def test_a_batch_lists_what_is_not_found_and_what_was_mended(tmp_path, stubs):
    images = place(tmp_path, {"1.png": png(10), "2.png": png(20, text=True)})
    batch = catalogue(tmp_path, {1: "1.png", 2: "2.png", 3: "a/3.png", 4: None}, images)
    (rows,) = batch.batches()
    encoded = BatchEncoder({IMAGE: stubs[IMAGE]}).encode(rows.products, batch)
    assert encoded.present[0].tolist() == [True, True, False, False]
    told = sorted((row["product_id"], row["stage"]) for row in encoded.failures)
    assert told == [("2", "repair"), ("3", "find")]


# ---------------------------------------------------------------- photos in a column

RECORD = pa.struct({"bytes": pa.binary(), "path": pa.string()})
LISTS = {
    "list": pa.list_,
    "large_list": pa.large_list,
    "list_view": pa.list_view,
    "large_list_view": pa.large_list_view,
    "fixed": lambda kind: pa.list_(kind, 1),
}
BYTES = {
    "binary": pa.binary(),
    "large": pa.large_binary(),
    "view": pa.binary_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.binary()),
    "record": RECORD,
    "record of views": pa.struct({"path": pa.string_view(), "bytes": pa.binary_view()}),
}


def parquet(path: Path, photos: pa.Array) -> Path:
    ids = list(range(1, len(photos) + 1))
    pq.write_table(
        pa.table({"product_id": ids, "title": [f"чай {n}" for n in ids], "photo": photos}), path
    )
    return path


def arrow(values: list[object], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode()
    return pa.array(values, kind)


@pytest.mark.parametrize("listed", ["", *LISTS])
@pytest.mark.parametrize("kind", BYTES)
def test_every_arrow_type_of_photos(tmp_path, kind, listed):
    if listed and kind in ("dictionary", "record of views"):
        pytest.skip("Arrow can't write such lists")
    photos = [png(10 * n) for n in range(1, 6)]
    values: list[object] = [
        {"bytes": one, "path": None} if kind.startswith("record") else one for one in photos
    ]
    arrow_type = BYTES[kind]
    if listed:
        values, arrow_type = [[one] for one in values], LISTS[listed](arrow_type)
    path = parquet(tmp_path / "goods.parquet", arrow(values, arrow_type))
    opened = Catalogue.read(path, columns=PHOTO)
    (rows,) = opened.batches()
    for one, data in zip(rows.products, photos, strict=True):
        (reference,) = opened.images.references(one)
        assert opened.images.read(reference) == data
    opened.close()


def test_photos_of_a_fixed_size(tmp_path):
    photos = [png(10), png(20)]
    size = max(map(len, photos))
    values = pa.array([one.ljust(size, b"\0") for one in photos], pa.binary(size))
    opened = Catalogue.read(parquet(tmp_path / "goods.parquet", values), columns=PHOTO)
    report = run(tmp_path / "shelf", opened)
    assert counts(report)[0] == 2


@pytest.mark.parametrize(
    "kind",
    [
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.list_view(pa.string()),
        pa.list_(pa.string(), 1),
        pa.struct({"path": pa.string()}),
    ],
    ids=str,
)
def test_names_of_every_arrow_type(tmp_path, kind):
    images = place(tmp_path, {f"{n}.png": png(n) for n in (1, 2, 3)})
    names: list[object] = [f"{n}.png" for n in (1, 2, 3)]
    if pa.types.is_struct(kind):
        names = [{"path": name} for name in names]
    elif not pa.types.is_dictionary(kind) and kind != pa.string_view():
        names = [[name] for name in names]
    path = parquet(tmp_path / "goods.parquet", arrow(names, kind))
    report = run(tmp_path / "shelf", Catalogue.read(path, images=images, columns=PHOTO))
    assert counts(report)[0] == 3


@pytest.mark.parametrize("listed", ["", "list", "list_view"])
def test_records_that_only_name_their_photos(tmp_path, listed):
    images = place(tmp_path, {"a/1.png": png(1), "2.png": png(2)})
    names = ["x/a/1.png", "2.PNG", "3.png"]
    values: list[object] = [{"bytes": None, "path": name} for name in names]
    kind: pa.DataType = RECORD
    if listed:
        values, kind = [[one] for one in values], LISTS[listed](kind)
    path = parquet(tmp_path / "goods.parquet", pa.array(values, kind))
    with pytest.raises(CatalogueError, match=r"only names the photos \('x/a/1\.png'\).*--images"):
        Catalogue.read(path, columns=PHOTO)
    with pytest.raises(PhotosNotFoundError, match=r"no photo 'x/a/1\.png'"):
        Catalogue.read(path, columns=PHOTO, images=place(tmp_path / "wrong", {"z.png": png(9)}))
    shelf = tmp_path / "shelf"
    report = run(shelf, Catalogue.read(path, columns=PHOTO, images=images))
    assert counts(report) == (2, 0, 0, 0, 1, 0, 0, 2, 3)
    assert errors(shelf)[0][:2] == ("3", "find")
    report = run(shelf, Catalogue.read(path, columns=PHOTO, images=images))
    assert counts(report) == (0, 0, 2, 0, 1, 0, 0, 2, 3)


def test_bytes_where_there_are_some_and_names_elsewhere(tmp_path):
    images = place(tmp_path, {"2.png": png(20)})
    values = [
        {"bytes": png(10), "path": "1.png"},
        {"bytes": None, "path": "2.png"},
        {"bytes": None, "path": None},
        None,
    ]
    path = parquet(tmp_path / "goods.parquet", pa.array(values, RECORD))
    report = run(tmp_path / "shelf", Catalogue.read(path, columns=PHOTO, images=images))
    assert counts(report) == (2, 0, 0, 2, 0, 0, 0, 2, 2)
    assert sorted(vectors_of(tmp_path / "shelf", IMAGE)) == [1, 2]


def test_a_column_of_bytes_alone_needs_no_folder(tmp_path):
    path = parquet(tmp_path / "goods.parquet", pa.array([png(1)]))
    with pytest.raises(CatalogueError, match="holds the photos themselves; leave out --images"):
        Catalogue.read(path, columns=PHOTO, images=tmp_path)
