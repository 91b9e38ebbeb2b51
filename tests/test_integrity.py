"""Damaged files of the right size, and tables whose checksums fit and whose content does not."""

import os
import shutil
from datetime import UTC, datetime

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.audits import audited, embedded
from support.resealing import rename_decisions, reseal
from support.vectors import rows_of, units
from vitrina import api
from vitrina.audit.results import Audit
from vitrina.cache import cache_folder
from vitrina.classifier.model import Model
from vitrina.errors import StoreError
from vitrina.index.fuse import Fusion
from vitrina.index.score import score_pairs
from vitrina.pipelines.index.index_state import folder_of
from vitrina.store import integrity
from vitrina.store.decisions import Decision, add_decisions
from vitrina.store.pages import find_numbers
from vitrina.store.space import read_errors
from vitrina.store.store import OpenStore
from vitrina.types import Action, Features, Modality

FACTORY = "PCA16,IVF4,SQ8"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache folder of these tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integrity, "cache_folder", cache_folder)
        patch.setenv("VITRINA_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, sample):
    """A store with one of everything."""
    store = embedded(tmp_path_factory.mktemp("made") / "shelf", sample)
    api.build_index(store, features="fused", factory=FACTORY, recall=0.5)
    api.train(store, head="logistic", features="text")
    audited(store)
    product, category = store.products.ids[0].as_py(), store.categories().ids[0]
    one = Decision(product, Action.MOVE, None, category, time=datetime(2026, 1, 2, tzinfo=UTC))
    add_decisions(store.files, store.products, [one])
    return store.files.root


@pytest.fixture
def shelf(made, tmp_path):
    return shutil.copytree(made, tmp_path / "shelf")


# -- reading -------------------------------------------------------------------------------------


def read_products(store):
    products = store.products
    hashes = [products.hashes(one).tobytes() for one in Modality]
    rows = products.take(np.arange(len(products)), products.schema.names).to_pylist()
    return products.ids.to_pylist(), hashes, products.stamps().tobytes(), rows, store.labels()


def read_space(store):
    found = []
    for name in store.manifest.spaces:
        space = store.open_space(name)
        located = space.locate(store.products)
        positions = np.arange(len(store.products))
        streamed = np.zeros((len(positions), space.dim), np.float32)
        for at, block in space.stream(store.products):
            streamed[at] = block
        assert np.array_equal(streamed, space.vectors(located, positions))
        found += [located.row.tolist(), streamed.tobytes()]
        if space.entry.encoder:
            found.append(store.folder(space.entry.encoder, "again").name)
    return found


def read_all_errors(store):
    return [read_errors(store.files, entry).to_pylist() for entry in store.manifest.errors()]


def read_index(store):
    index = api.open_index(store, "fused").vectors
    found = index.search(index.read(np.flatnonzero(~index.dead)[:9]), 5)
    probe = folder_of(store, Features.FUSED).probe(index.dim, len(index.dead))
    return found.positions.tolist(), found.scores.tolist(), probe.positions.tolist()


def read_head(store):
    model = Model.load(store.model_folder())
    return {
        f"{name}.{key}": value.tolist()
        for name, head in model.heads.items()
        for key, value in head.state_dict().items()
    }


def read_audit(store):
    return Audit.of(store)


def read_all_decisions(store):
    return store.decisions().all


READERS = {
    "products": read_products,
    "spaces": read_space,
    "indexes": read_index,
    "models": read_head,
    "audits": read_audit,
    "decisions": read_all_decisions,
}


def reader_of(name):
    if "errors-" in name:
        return read_all_errors
    if (name.startswith("models") and "thumbnail" in name) or "lexical" in name:
        return read_space
    return READERS[name.partition("/")[0]]


def fail(root, read, name):
    """The message of the one error that reading ends in, which names the file."""
    with pytest.raises(StoreError) as caught:
        read(OpenStore.open(root))
    message = str(caught.value)
    assert "\n" not in message
    assert name.rpartition("/")[2] in message
    return message


def flip(path, place, bit):
    """Change one bit; size and times stay."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# -- bytes that were changed ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_bit_changed_anywhere_is_found_and_the_file_named(shelf):
    random = np.random.default_rng(0)
    store = OpenStore.open(shelf)
    names = sorted(store.manifest.names) + store.files.names("decisions")
    kinds = {name.rpartition(".")[2] for name in names}
    assert kinds == {"parquet", "faiss", "json", "safetensors", "md"}
    whole = {read: read(store) for read in {*map(reader_of, names)} - {read_products, read_audit}}
    for name in names:
        path, read = shelf / name, reader_of(name)
        content = path.read_bytes()
        for place in random.integers(0, len(content), 3).tolist():
            flip(path, place, place % 8)
            message = fail(shelf, read, name)
            assert "is damaged (its checksum does not fit" in message or "decisions/" in message
            path.write_bytes(content)
    for read, before in whole.items():
        assert read(OpenStore.open(shelf)) == before


@pytest.mark.slow
def test_a_changed_file_is_found_by_every_reader_after_it_was_whole(shelf):
    store = OpenStore.open(shelf)
    path = store.model_folder() / "head.safetensors"
    time = path.stat().st_mtime_ns
    flip(path, 100, 3)
    assert path.stat().st_mtime_ns == time
    assert "run `vitrina train` again" in fail(shelf, read_head, path.name)


def test_verify_names_what_was_changed(shelf):
    (name, *_) = (one for one in OpenStore.open(shelf).manifest.names if one.endswith("faiss"))
    assert api.verify(shelf).ok
    flip(shelf / name, 77, 1)
    (problem,) = api.verify(shelf).problems
    assert (problem.file, problem.what) == (name, integrity.CHANGED)


# -- what is remembered --------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch):
    """The paths of the files that are hashed."""
    paths, real = [], integrity.checksum

    def checksum(path):
        paths.append(path)
        return real(path)

    monkeypatch.setattr(integrity, "checksum", checksum)
    return paths


def another_process():
    """Save what is known and forget it, as one process ends and another begins."""
    integrity._save_all()
    integrity._OF_PROCESS.clear()


def everything(root):
    store = OpenStore.open(root)
    read_products(store), read_space(store), read_head(store), read_all_errors(store)


def test_a_file_is_hashed_once(shelf, hashed):
    everything(shelf)
    # The store was copied, so all of its files are others now.
    assert len(hashed) == len(set(hashed)) > 5
    del hashed[:]
    everything(shelf)
    another_process()
    everything(shelf)
    assert hashed == []
    (part,) = OpenStore.open(shelf).manifest.products
    (shelf / part.path).touch()
    another_process()
    everything(shelf)
    assert hashed == [shelf / part.path]


@pytest.mark.slow
def test_what_was_just_written_is_known(tmp_path, sample, hashed):
    store = embedded(tmp_path / "shelf", sample)
    api.train(store, head="logistic", features="text")
    everything(tmp_path / "shelf")
    assert hashed == []


def test_nothing_is_remembered_in_the_store(shelf, cache):
    before = sorted(path for path in shelf.rglob("*"))
    everything(shelf)
    another_process()
    assert sorted(path for path in shelf.rglob("*")) == before
    kept = [*(cache / "verified").iterdir()]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    assert (cache / "verified").stat().st_mode & 0o777 == 0o700
    assert sum(str(shelf) in path.read_text() for path in kept) == 1


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"root": 1}', b"[" * 10_000])
def test_a_damaged_memory_is_no_memory(shelf, hashed, content):
    everything(shelf)
    count = len(hashed)
    another_process()
    integrity.Checksums.of(shelf)._file.write_bytes(content)
    everything(shelf)
    assert len(hashed) == 2 * count


def test_the_memory_of_another_user_is_none(shelf, hashed, monkeypatch):
    everything(shelf)
    count = len(hashed)
    another_process()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    everything(shelf)
    assert len(hashed) == 2 * count


def test_where_nothing_can_be_kept_each_process_hashes_once(shelf, hashed, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "file"))
    everything(shelf)
    count = len(hashed)
    everything(shelf)
    assert len(hashed) == count
    another_process()
    everything(shelf)
    assert len(hashed) == 2 * count


def test_two_processes_keep_what_both_found(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    one, other = integrity.Checksums(tmp_path), integrity.Checksums(tmp_path)
    one.note("a", "1" * 64)
    other.note("b", "2" * 64)
    one.save()
    other.save()
    assert {*integrity.Checksums(tmp_path)._known} == {"a", "b"}


def test_files_that_are_gone_are_forgotten(tmp_path):
    checksums = integrity.Checksums(tmp_path)
    for number in range(integrity.LEAST + 1):
        (tmp_path / f"{number}").touch()
        checksums.note(f"{number}", "0" * 64)
        if number:
            (tmp_path / f"{number}").unlink()
    checksums.save()
    assert [*integrity.Checksums(tmp_path)._known] == ["0"]


def test_stores_of_long_ago_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(integrity, "MEMORIES", 3)
    for number in range(5):
        folder = tmp_path / f"store-{number}"
        folder.mkdir()
        (folder / "file").touch()
        checksums = integrity.Checksums(folder)
        checksums.note("file", "0" * 64)
        checksums.save()
        os.utime(checksums._file, (number, number))
    assert len([*(tmp_path / "cache" / "verified").iterdir()]) == 3
    assert integrity.Checksums(tmp_path / "store-4")._known
    assert not integrity.Checksums(tmp_path / "store-0")._known


# -- a store elsewhere ---------------------------------------------------------------------------


@pytest.fixture
def remote(made, tmp_path, monkeypatch):
    """The store in a bucket, and the file system that it lies in."""
    import fsspec

    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))
    fs = fsspec.filesystem("memory")
    fs.put(str(made), "/shelf", recursive=True)
    yield fs
    fs.rm("/shelf", recursive=True)


@pytest.mark.usefixtures("remote")
def test_a_local_copy_that_is_damaged_is_fetched_again():
    store = OpenStore.open("memory://shelf")
    before = read_head(store)
    flip(store.model_folder() / "head.safetensors", 100, 1)
    assert read_head(OpenStore.open("memory://shelf")) == before


@pytest.mark.parametrize("kind", ["head.safetensors", "part-000000", "part-00000-", "errors-"])
def test_an_object_that_is_damaged_is_named(remote, kind):
    store = OpenStore.open("memory://shelf")
    name = next(name for name in sorted(store.manifest.names) if kind in name)
    content = bytearray(remote.cat_file(f"/shelf/{name}"))
    content[len(content) // 2] ^= 4
    remote.pipe_file(f"/shelf/{name}", bytes(content))
    assert f"memory://shelf/{name} is damaged" in fail("memory://shelf", reader_of(name), name)


# -- tables whose checksums fit ------------------------------------------------------------------


def bad_text(column):
    """Strings that are no UTF-8."""
    count = len(column)
    offsets = pa.py_buffer(np.arange(count + 1, dtype=np.int32))
    return pa.Array.from_buffers(pa.string(), count, [None, offsets, pa.py_buffer(b"\xff" * count)])


def put(name, make):
    """Replace a column."""

    def change(table):
        at = table.column_names.index(name)
        return table.set_column(at, name, make(table.column(name).combine_chunks()))

    return change


def first(value):
    """The column with another first value."""

    def change(column):
        return pa.array([value, *column.to_pylist()[1:]], column.type)

    return change


def whole(values):
    return lambda column: pa.array([values] * len(column))


SHORT, SPACED = "ab" * 15, "ab" * 15 + " a"

CRAFTED = [
    ("products/part", put("product_id", first(None)), "product_id lacks values"),
    ("products/part", put("product_id", whole(0.5)), "column product_id is double, not int64"),
    ("products/part", put("category_id", whole(b"x")), "column category_id is binary"),
    ("products/part", put("title", bad_text), "Invalid UTF8"),
    ("products/part", put("title", whole(7)), "its column title is int64, not string"),
    ("products/part", put("text_hash", first(SHORT)), "not 32 hexadecimal digits"),
    ("products/part", put("text_hash", first(SPACED)), "not 32 hexadecimal digits"),
    ("products/part", put("image_hash", first("я" * 16)), "not 32 hexadecimal digits"),
    ("products/part", put("images", whole("one")), "its column images is string"),
    ("products/part", lambda table: table.drop_columns("shop"), "its columns are product_id"),
    ("products/part", lambda table: table.slice(1), "rows instead of"),
    ("part-000000", put("product_id", whole(0.5)), "column product_id is double, not int64"),
    ("part-000000", put("product_id", first(None)), "its column product_id lacks values"),
    ("part-000000", put("content_hash", first(None)), "its column content_hash lacks values"),
    ("part-000000", put("content_hash", first(SHORT)), "not 32 hexadecimal digits"),
    ("part-000000", put("content_hash", first(SPACED)), "not 32 hexadecimal digits"),
    ("part-000000", put("embedding", whole(0.5)), "vectors of double instead of"),
    ("part-000000", lambda table: table.slice(1), "rows instead of"),
    ("errors-", put("stage", whole(1)), "its column stage is int64, not string"),
    ("errors-", put("error", bad_text), "Invalid UTF8"),
    ("errors-", put("content_hash", first(SHORT)), "not 32 hexadecimal digits"),
    ("rows-00000", put("product_id", first(None)), "its column product_id lacks values"),
    ("rows-00000", put("content", whole(b"short")), "content is binary, not fixed_size_binary[16]"),
    ("rows-00000", put("text_shard", first(-2)), "text_shard holds -2, which is out of bounds"),
    ("rows-00000", put("text_row", first(None)), "its column text_row lacks values"),
    ("rows-00000", put("text_row", whole(1)), "its column text_row is int64, not int32"),
    ("queries", put("position", first(10**9)), "position holds 1000000000, which is out of bounds"),
    ("queries", put("neighbours", first([-2] * 32)), "neighbours holds -2, which is out of bounds"),
    ("queries", put("neighbours", first([None] * 32)), "its column neighbours lacks values"),
    ("queries", put("vector", whole(1.0)), "its column vector is double"),
]


@pytest.mark.parametrize(("kind", "change", "words"), CRAFTED)
def test_a_table_of_wrong_content_is_named(shelf, kind, change, words):
    names = sorted(OpenStore.open(shelf).manifest.names)
    if kind == "errors-":
        entries = OpenStore.open(shelf).manifest.errors()
        names = [entry.path for entry in entries if entry.rows]
    name = next(name for name in names if kind in name)
    table = change(pq.read_table(shelf / name))
    pq.write_table(table, shelf / name)
    name = reseal(shelf)[name]
    assert words in fail(shelf, reader_of(name), name)
    if not name.startswith("indexes"):
        problems = api.verify(shelf).problems
        assert name in {problem.file for problem in problems}


@pytest.mark.parametrize(
    ("column", "value"), [("text_shard", 1), ("text_row", 5000), ("text_row", -1)]
)
def test_rows_of_an_index_lie_within_the_space(shelf, column, value):
    name = next(one for one in OpenStore.open(shelf).manifest.names if "rows-00000" in one)
    pq.write_table(put(column, first(value))(pq.read_table(shelf / name)), shelf / name)
    folder = reseal(shelf)[name].split("/")[1]
    assert "rows are named that text-lexical does not have" in fail(shelf, read_index, folder)


@pytest.mark.parametrize("position", [-1, 10**6, None])
def test_dead_rows_of_an_index_lie_within_it(shelf, position):
    from vitrina.index.storage import Folder

    store = OpenStore.open(shelf)
    files = store.index_files("fused")
    path = shelf / "dead.parquet"
    pq.write_table(pa.table({"position": pa.array([position], pa.int64())}), path)
    folder = Folder({**files, "dead.parquet": path}, "the index")
    with pytest.raises(StoreError, match=r"dead\.parquet is damaged \(its column position"):
        folder.entries(folder.card())


@pytest.mark.parametrize("number", [10**6, -7, 2**62])
def test_a_position_that_an_index_makes_up_is_never_an_address(shelf, number):
    name = next(one for one in OpenStore.open(shelf).manifest.names if one.endswith("faiss"))
    index = faiss.read_index(str(shelf / name))
    lists = faiss.extract_index_ivf(index).invlists
    for at in range(4):
        size = lists.list_size(at)
        lists.update_entries(
            at, 0, size, faiss.swig_ptr(np.full(size, number)), lists.get_codes(at)
        )
    faiss.write_index(index, str(shelf / name))
    reseal(shelf)
    assert "it finds rows that are not among its" in fail(shelf, read_index, name)


def test_a_row_that_is_not_there_is_not_scored():
    rows = rows_of(units(5, 8))
    with pytest.raises(IndexError, match="row 5 of 5"):
        score_pairs(Fusion.plain((1.0,)).over(rows), units(1, 8), np.array([[0, 5]]))


class Chunk:
    compression, has_dictionary_page, num_values = "UNCOMPRESSED", False, 8

    def __init__(self, at):
        self.data_page_offset = at

    num_row_groups = 1

    def row_group(self, _):
        return self

    def column(self, _):
        return self


@pytest.mark.parametrize("at", [-1, -100, 10**6, 2**62])
def test_a_page_before_or_behind_its_file(made, at):
    (part, *_) = OpenStore.open(made).open_space("text-lexical").shards
    content = memoryview((made / part).read_bytes())
    with pytest.raises(pa.ArrowInvalid, match="outside the file"):
        find_numbers(content, Chunk(at), 0, np.dtype(np.float16))


# -- decisions -----------------------------------------------------------------------------------


def far(column):
    return pa.array([2**62] * len(column), pa.int64()).cast(pa.timestamp("us", tz="UTC"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("time", far), "is damaged"),
        (put("action", whole("burn")), "'burn' is not a valid Action"),
        (put("action", whole("keep")), "can't be kept in"),
        (put("shown", whole("[" * 100_000)), "nested too deep"),
        (put("shown", whole("[]")), "Expected `object`, got `array`"),
        (put("key", first(None)), "its column key lacks values"),
        (put("product_id", whole(0.5)), "its column product_id is double, not int64"),
        (lambda table: table.drop_columns("undoes"), "its columns are key, product_id"),
    ],
)
def test_decisions_of_wrong_content_are_named(shelf, change, words):
    (path,) = (shelf / "decisions").iterdir()
    pq.write_table(change(pq.read_table(path)), path)
    path = rename_decisions(path)
    message = fail(shelf, read_all_decisions, path.name)
    assert words in message
    assert "bring it back from a backup" in message
    (problem,) = api.verify(shelf).problems
    assert problem.file == f"decisions/{path.name}"
