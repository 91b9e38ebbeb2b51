"""Rows of a store read where they lie, against the numbers that were put there."""

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.catalogue_files import jsonl
from support.stores import put_products, put_space, root, row
from support.vectors import rows_of, units
from vitrina import api
from vitrina.errors import StoreError
from vitrina.index.score import score_pairs
from vitrina.store import rows as rows_module
from vitrina.store.files import checksum
from vitrina.store.mapping import files_mapped, map_file
from vitrina.store.rows import PagedRows, Rows
from vitrina.store.store import OpenStore
from vitrina.types import Modality

pytestmark = pytest.mark.usefixtures("unsynced")

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
NAMES = {TEXT: "text-m", IMAGE: "image-m"}
SHARDS = ((0, 5), (5, 12), (12, 30))
"""Which of 30 products stand in which of three shards."""


@pytest.fixture(params=["float16", "float32"])
def dtype(request):
    return request.param


@pytest.fixture
def vectors(dtype):
    return units(30, 24).astype(dtype)


@pytest.fixture
def store(tmp_path, vectors, dtype):
    """A store of 30 products, of which `vectors` are the texts'."""
    made = OpenStore.open(tmp_path / "shelf", create=True)
    put_products(made, [row(at, f"t{at}") for at in range(30)])
    put(made, vectors, dtype)
    return made


def put(store, vectors, dtype="float16", modality=TEXT, shards=SHARDS):
    """Write a space of the products, some to a shard."""
    pieces = [
        (list(range(*span)), [f"t{at}" for at in range(*span)], vectors[slice(*span)])
        for span in shards
    ]
    put_space(store, NAMES[modality], pieces, modality, dtype)


def everything(store, modality=TEXT):
    """All rows of a store in the catalogue's order; -1 where one has no vector."""
    space = store.space(modality)
    located = space.locate(store.products)
    return Rows.mapped([space], [(located.shard, located.row)])


def shard(store, number, modality=TEXT):
    """The file of a shard."""
    return root(store) / store.space(modality).shards[number]


def written_anew(store, number, table=None, **layout):
    """Write a shard again with Arrow's defaults or otherwise, and commit what the file is now."""
    file = shard(store, number)
    table = pq.read_table(file) if table is None else table
    pq.write_table(table, file, **layout)
    commit_size(store, number)


def commit_size(store, number, **says):
    space = store.space(TEXT)
    file = shard(store, number)
    says = {"bytes": file.stat().st_size, "sha256": checksum(file), **says}
    shards = list(space.entry.shards)
    shards[number] = replace(shards[number], **says)
    entry = replace(space.entry, shards=tuple(shards))
    store.show(store.manifest.with_space(space.name, entry))


def check(rows, vectors, present=None):
    """That rows of one modality are these, in any order and as often as asked."""
    present = np.ones(len(vectors), dtype=bool) if present is None else present
    assert rows.present[0].tolist() == present.tolist()
    for at in (
        np.arange(len(vectors)),
        np.array([7, 3, 3, len(vectors) - 1, 0]),
        np.array([], int),
    ):
        (read,), (there,) = rows.read(at)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, np.where(present[:, None], vectors, 0)[at])
        np.testing.assert_array_equal(there, present[at])


# -- of arrays ------------------------------------------------------------------------------------


def test_rows_of_arrays(vectors):
    present = np.arange(30) % 3 > 0
    rows = rows_of(vectors, present=[present])
    assert (len(rows), rows.dim, rows.dims) == (30, 24, (24,))
    assert rows.dtypes == (vectors.dtype,)
    check(rows, vectors, present)


def test_rows_of_a_part_of_an_array(vectors):
    # Neither from the first row, nor to the last number, nor every row.
    part = vectors[3::2, 2:10]
    check(rows_of(part), part)


def test_the_numbers_of_a_row_must_lie_side_by_side(vectors):
    with pytest.raises(ValueError, match="must be contiguous"):
        rows_of(vectors[:, ::2])


def test_taking_some_rows_keeps_what_they_lie_in(vectors):
    rows = rows_of(vectors.copy(), units(30, 4)).take(np.array([4, 4, 29]))
    gc.collect()
    (text, image), _ = rows.read(np.array([2, 0]))
    np.testing.assert_array_equal(text, vectors[[29, 4]])
    np.testing.assert_array_equal(image, units(30, 4)[[29, 4]])
    assert rows.modalities == (TEXT, IMAGE)


# -- of a store -----------------------------------------------------------------------------------


def test_rows_of_a_store_are_read_where_they_lie(store, vectors, monkeypatch):
    # Arrow's way is not even tried.
    monkeypatch.setattr("vitrina.store.rows.read_matrix", None)
    check(everything(store), vectors)


def test_rows_of_two_spaces_where_some_have_neither(store, vectors):
    images = units(30, 6, seed=5).astype(vectors.dtype)
    put(store, images, vectors.dtype.name, IMAGE, [(10, 18), (2, 4)])
    spaces = [store.space(modality) for modality in (TEXT, IMAGE)]
    nowhere = np.full(30, -1, dtype=np.int32), np.zeros(30, dtype=np.int32)
    shards, places = nowhere[0].copy(), nowhere[1].copy()
    for number, (start, stop) in enumerate([(10, 18), (2, 4)]):
        shards[start:stop], places[start:stop] = number, np.arange(stop - start)
    shards[11] = -1
    rows = Rows.mapped(spaces, [nowhere, (shards, places)])
    has = np.isin(np.arange(30), [2, 3, *range(10, 18)]) & (np.arange(30) != 11)
    text, image = rows.read(np.arange(30))[0]
    assert rows.dims == (24, 6)
    assert not text.any()
    np.testing.assert_array_equal(image, np.where(has[:, None], images, 0))
    assert rows.present[1].tolist() == has.tolist()


def test_only_the_shards_that_are_asked_for_are_opened(store, vectors):
    for number in (0, 2):
        shard(store, number).unlink()
    place = np.full(4, 1, dtype=np.int32), np.array([6, 0, 3, 3], dtype=np.int32)
    rows = Rows.mapped([store.space(TEXT)], [place])
    np.testing.assert_array_equal(rows.read(np.arange(4))[0][0], vectors[[11, 5, 8, 8]])


def test_no_rows_at_all(store):
    nothing = np.empty(0, dtype=np.int32)
    rows = Rows.mapped([store.space(TEXT)], [(nothing, nothing)])
    assert (len(rows), rows.dim) == (0, 24)
    assert rows.read(np.empty(0, dtype=np.int64))[0][0].shape == (0, 24)


def test_what_the_lexical_encoder_made(tmp_path):
    titles = [f"{word} {size} см" for word in ("чайник", "кружка", "лампа") for size in range(30)]
    rows = [{"product_id": f"p{at}", "title": title} for at, title in enumerate([*titles, ""])]
    store = OpenStore.open(tmp_path / "shelf", create=True)
    catalogue = api.Catalogue.read(jsonl(tmp_path / "goods.jsonl", *rows))
    api.embed(catalogue, store, text="lexical", image="none")
    ids, matrix = api.vectors(store, "text")
    assert len(ids) == 90
    whole = np.vstack([matrix, np.zeros((1, matrix.shape[1]), matrix.dtype)])
    check(everything(store), whole, np.arange(91) < 90)


# -- shards that another tool wrote ---------------------------------------------------------------


@pytest.mark.parametrize(
    "layout",
    [
        {"compression": "zstd"},
        {"compression": "snappy", "data_page_version": "2.0"},
        {"compression": "none", "use_dictionary": True},
        {"compression": "none", "use_dictionary": False, "write_page_checksum": True},
        {"compression": "none", "row_group_size": 4, "use_dictionary": False},
    ],
    ids=["zstd", "snappy, second version", "dictionary", "plain", "groups of four"],
)
@pytest.mark.parametrize("nullable", [False, True])
def test_a_shard_laid_out_otherwise_gives_the_same_numbers(store, vectors, layout, nullable):
    table = pq.read_table(shard(store, 1))
    if nullable:
        kind = pa.list_(pa.float16() if vectors.dtype == np.float16 else pa.float32(), 24)
        table = table.set_column(2, "embedding", table.column("embedding").cast(kind))
    written_anew(store, 1, table, **layout)
    check(everything(store), vectors)


@pytest.mark.parametrize("batch", [3 * 24, 24, 5])
def test_pages_of_a_few_rows(store, vectors, batch):
    written_anew(
        store,
        2,
        compression="none",
        use_dictionary=False,
        write_page_checksum=True,
        write_batch_size=batch,
        data_page_size=1,
    )
    check(everything(store), vectors)


def test_pages_of_a_few_rows_are_mapped_too(store, vectors, monkeypatch):
    monkeypatch.setattr("vitrina.store.rows.read_matrix", None)
    layout = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    written_anew(store, 2, write_batch_size=3 * 24, data_page_size=1, row_group_size=10, **layout)
    check(everything(store), vectors)


def test_where_a_page_ends_within_a_row_arrow_reads_it(store, vectors, monkeypatch):
    # Arrow itself writes no such pages.
    monkeypatch.setattr("vitrina.store.rows.find_numbers", lambda *_: [(0, 36), (500, 10_000)])
    check(everything(store), vectors)


def test_a_column_before_the_vectors(store, vectors):
    table = pq.read_table(shard(store, 0)).add_column(0, "note", pa.array(["x"] * 5))
    layout = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    written_anew(store, 0, table, **layout)
    check(everything(store), vectors)


# -- what is wrong --------------------------------------------------------------------------------


def refused(store, *words):
    with pytest.raises(StoreError) as caught:
        everything_at(store)
    for word in (*words, str(shard(store, 1)), "vitrina verify"):
        assert word in str(caught.value)


def everything_at(store):
    """All rows, without a look at ids, which would find the damage by itself."""
    shards = np.repeat([0, 1, 2], [5, 7, 18]).astype(np.int32)
    places = np.concatenate([np.arange(count) for count in (5, 7, 18)]).astype(np.int32)
    return Rows.mapped([store.space(TEXT)], [(shards, places)])


def test_a_shard_cut_short(store):
    file = shard(store, 1)
    file.write_bytes(file.read_bytes()[:-40])
    refused(store, "damaged", "bytes instead of")


@pytest.mark.parametrize("keep", [0, 3, 100])
def test_a_shard_cut_short_before_it_was_committed(store, keep):
    file = shard(store, 1)
    file.write_bytes(file.read_bytes()[:keep])
    commit_size(store, 1)
    refused(store, "damaged")


def test_a_shard_of_garbage(store):
    file = shard(store, 1)
    file.write_bytes(bytes(range(256)) * (file.stat().st_size // 256 + 1))
    commit_size(store, 1)
    refused(store, "damaged")


def test_a_shard_that_is_missing(store):
    shard(store, 1).unlink()
    refused(store, "missing", "open the store again")


def test_a_shard_that_is_a_folder(store):
    file = shard(store, 1)
    file.unlink()
    file.mkdir()
    refused(store, "is no file but a folder")


def test_a_shard_of_other_vectors(store, vectors, dtype):
    other = {"float16": pa.float32(), "float32": pa.float16()}[dtype]
    table = pq.read_table(shard(store, 1))
    column = table.column("embedding")
    written_anew(store, 1, table.set_column(2, "embedding", column.cast(pa.list_(other, 24))))
    refused(store, f"instead of 7 of 24 {dtype}")
    shorter = pa.array(vectors[5:12, :20].tolist(), pa.list_(column.type.value_type, 20))
    written_anew(store, 1, table.set_column(2, "embedding", shorter))
    refused(store, "7 vectors of 20", "instead of 7 of 24")
    written_anew(store, 1, table.slice(1))
    refused(store, "6 vectors of 24", "instead of 7 of 24")
    written_anew(store, 1, table.drop_columns("embedding"))
    refused(store, "7 vectors of null instead of 7 of 24")


def test_a_shard_where_a_vector_is_null(store, vectors):
    # Arrow leaves nulls out of what a list holds: rows would shift.
    table = pq.read_table(shard(store, 1))
    column = table.column("embedding")
    kind = pa.list_(column.type.value_type, 24)
    lists = pa.array([*vectors[5:8].tolist(), None, *vectors[9:12].tolist()], kind)
    written_anew(store, 1, table.set_column(2, "embedding", lists))
    refused(store, "6 vectors instead of 7")


# -- while others write ---------------------------------------------------------------------------


def test_a_shard_that_a_later_commit_put_aside_is_found(store, vectors, dtype):
    before = OpenStore.open(store.place)
    put(store, np.roll(vectors, 1, axis=0), dtype)
    assert not shard(before, 0).exists()
    check(everything_at(before), vectors)
    check(everything(store), np.roll(vectors, 1, axis=0))


def test_rows_stay_readable_when_their_files_are_gone(store, vectors):
    rows = everything(store).take(np.arange(30))
    for number in range(3):
        shard(store, number).unlink()
    gc.collect()
    check(rows, vectors)


# -- files mapped into memory ---------------------------------------------------------------------


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def mapped(path):
    return sum(str(path) in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_a_mapped_file_is_let_go_with_the_last_view_of_it(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 5000)
    view = map_file(path)
    assert view.readonly
    assert (view.nbytes, bytes(view[:6])) == (15_000, b"abcabc")
    part = np.frombuffer(view, dtype=np.uint8)[9000:]
    del view
    gc.collect()
    path.unlink()
    assert mapped(path) == 1
    assert bytes(part[:3]) == b"abc"
    del part
    gc.collect()
    assert mapped(path) == 0


def test_no_descriptor_is_held_for_a_mapping(store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    before = descriptors()
    views = [map_file(path) for _ in range(50)]
    rows = everything(store)
    assert len(views) + len(rows) == 80
    assert descriptors() == before


def test_what_can_not_be_mapped(tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    before = descriptors()
    with pytest.raises(OSError, match=r"Invalid argument: '.*/empty'"):
        map_file(empty)
    with pytest.raises(FileNotFoundError):
        map_file(tmp_path / "absent")
    with pytest.raises(OSError, match=str(tmp_path)):
        map_file(tmp_path)
    assert descriptors() == before


# -- more shards than a process can map -----------------------------------------------------------


@pytest.fixture
def few_maps(monkeypatch):
    """A process that may map two shards, and keep one mapped."""
    monkeypatch.setattr(rows_module, "MOST_MAPPED", files_mapped() + 2)
    monkeypatch.setattr(rows_module, "KEPT_MAPPED", 1)


@pytest.mark.usefixtures("few_maps")
def test_rows_of_too_many_shards_are_copied_when_they_are_read(store, vectors):
    rows = everything(store)
    assert isinstance(rows, PagedRows)
    assert len(rows) == 30
    check(rows, vectors)
    assert files_mapped() <= rows_module.MOST_MAPPED - 1
    (read,), _ = rows.take(np.array([20, 3, 3])).read(np.array([1, 0]))
    np.testing.assert_array_equal(read, vectors[[3, 20]])


@pytest.mark.usefixtures("few_maps")
def test_rows_of_too_many_shards_score_as_mapped_ones(store, vectors, monkeypatch):
    images = units(30, 6, seed=5).astype(vectors.dtype)
    put(store, images, vectors.dtype.name, IMAGE, [(10, 18), (2, 4)])
    spaces = [store.space(modality) for modality in (TEXT, IMAGE)]
    located = [space.locate(store.products) for space in spaces]
    places = [(one.shard, one.row) for one in located]
    paged = Rows.mapped(spaces, places)
    monkeypatch.setattr(rows_module, "MOST_MAPPED", 1000)
    mapped = Rows.mapped(spaces, places)
    assert isinstance(paged, PagedRows)
    assert not isinstance(mapped, PagedRows)
    positions = np.array([[0, -1, 29, 12], [12, 3, 3, 17], [-1, -1, -1, -1]])
    queries = units(3, 30, seed=7).astype(np.float32)
    for at in (positions, positions[:0], positions[2:]):
        np.testing.assert_array_equal(
            score_pairs(paged, (1.0, 0.5), queries[: len(at)], at),
            score_pairs(mapped, (1.0, 0.5), queries[: len(at)], at),
        )
    with pytest.raises(IndexError):
        score_pairs(paged, (1.0, 0.5), queries, positions + 1)


@pytest.mark.usefixtures("few_maps")
def test_a_damaged_shard_among_too_many_is_named(store):
    rows = everything(store)
    shard(store, 1).write_bytes(b"PAR1")
    rows.read(np.array([0, 29]))
    with pytest.raises(StoreError, match=r"part-000001-.*is damaged"):
        rows.read(np.array([6]))
