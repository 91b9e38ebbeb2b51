"""An index's files: what is written is read, and whatever is wrong with a file is said of it."""

import json
from dataclasses import replace

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.vectors import IMAGE, TEXT, built, clustered, entries_of, fused_rows, rows_of, units
from vitrina.errors import FingerprintError, StoreError
from vitrina.index.card import IndexCard
from vitrina.index.engine import Engine
from vitrina.index.results import Effort
from vitrina.index.search import VectorIndex
from vitrina.index.storage import Folder, write_parts

FACTORY = "PCA8,IVF4,SQ8"
CARD = {
    "modalities": ["text"],
    "weights": {"text": 1.0},
    "fingerprints": {"text": "aaaa"},
    "shards": {"text": ["spaces/t/part-000000.parquet"]},
    "parameters": {"nprobe": 2, "candidates": 20},
    "factory": FACTORY,
    "kind": "ivf-flat",
    "trained_rows": 400,
    "dim": 16,
    "base": 400,
    "rows": 403,
    "state": "0123",
    "goal": {"recall": 0.9, "memory": 1, "factory": FACTORY},
    "features": "text",
    "recall": {"at": 10, "value": 0.95, "low": 0.9, "high": 0.99, "queries": 20},
    "queries_per_second": 1000,
    "bytes": 1,
    "update": {"kind": "built", "added": 0, "changed": 0, "removed": 0, "seconds": 0.1},
}
DEAD = [3, 398]


@pytest.fixture(scope="module")
def made():
    return built(rows_of(clustered(400, 16)), FACTORY, recall=0.9)


@pytest.fixture
def folder(made, tmp_path):
    """A base of 400 rows, a delta of 5 in a file of its own, and two of all are dead."""
    path = tmp_path / "text-0003"
    dead = np.isin(np.arange(405), DEAD)
    write_parts(
        path,
        card=CARD,
        dead=dead,
        probe=made.probe,
        rows=("rows-00000.parquet", made.entries),
        engine=made.index.engine,
    )
    entries_of(range(900, 905)).write(path / "rows-00001.parquet")
    return path


def opened(path):
    return Folder({file.name: file for file in path.iterdir()}, str(path))


def read(path):
    """All of an index's files."""
    folder = opened(path)
    card = folder.card()
    return dict(card.told), *folder.entries(card), folder.engine(card), folder.probe(16, 405)


# -- what is written ------------------------------------------------------------------------------


def test_what_is_written_is_read(folder, made):
    card, entries, dead, engine, probe = read(folder)
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    assert set(sizes) == {
        "index.faiss",
        "rows-00000.parquet",
        "rows-00001.parquet",
        "dead.parquet",
        "queries.parquet",
        "index.json",
    }
    own = sum(sizes[name] for name in sizes if name not in ("index.json", "rows-00001.parquet"))
    assert card == {**CARD, "bytes": own}
    assert card == json.loads((folder / "index.json").read_text())
    assert entries.ids.to_pylist() == [*made.entries.ids.to_pylist(), *range(900, 905)]
    assert np.flatnonzero(dead).tolist() == DEAD
    assert (len(engine), engine.dim, engine.factory) == (400, 16, FACTORY)
    np.testing.assert_array_equal(probe.queries, made.probe.queries)
    assert opened(folder).row_files == ["rows-00000.parquet", "rows-00001.parquet"]


def test_an_exact_index_without_dead_rows_has_fewer_files(tmp_path):
    made = built(rows_of(units(9, 16)))
    write_parts(
        tmp_path / "i",
        card={**CARD, "factory": "Flat", "kind": "flat", "base": 9, "rows": 9},
        dead=np.zeros(9, dtype=bool),
        probe=None,
        rows=("rows-00000.parquet", made.entries),
        engine=made.index.engine,
        others=1000,
    )
    names = sorted(file.name for file in (tmp_path / "i").iterdir())
    assert names == ["index.faiss", "index.json", "rows-00000.parquet"]
    card, entries, dead, engine, probe = read(tmp_path / "i")
    sizes = sum((tmp_path / "i" / name).stat().st_size for name in (names[0], names[2]))
    assert card["bytes"] == 1000 + sizes
    assert (len(entries), dead.any(), len(engine), probe) == (9, False, 9, None)


def test_an_update_writes_only_what_is_new(folder, tmp_path):
    new = tmp_path / "new"
    write_parts(new, card=CARD, dead=np.arange(405) == 7, probe=None, others=5)
    assert sorted(file.name for file in new.iterdir()) == ["dead.parquet", "index.json"]
    files = {**opened(folder).files, **opened(new).files}
    together = Folder(files, "both")
    card = replace(together.card(), rows=404)
    assert np.flatnonzero(together.entries(card)[1]).tolist() == [7]


def test_a_disk_that_is_full_at_the_last_byte_is_noticed(folder, tmp_path):
    _, entries, _, engine, probe = read(folder)
    for part, name in ((engine, "index.faiss"), (entries, "rows"), (probe, "queries.parquet")):
        full = tmp_path / f"full-{name}"
        full.symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left on device"):
            part.write(full)


# -- what is wrong --------------------------------------------------------------------------------


NAMES = (
    "index.faiss",
    "rows-00000.parquet",
    "rows-00001.parquet",
    "dead.parquet",
    "queries.parquet",
    "index.json",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "zeros"])
def test_a_damaged_file_is_named(folder, name, damage):
    path = folder / name
    content = path.read_bytes()
    written = {
        "cut": content[: len(content) // 2],
        "garbage": b"\xff" * 200,
        "empty": b"",
        "zeros": bytes(len(content)),
    }
    path.write_bytes(written[damage])
    with pytest.raises(StoreError, match="text-0003"):
        read(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(folder, name):
    whole = opened(folder)
    (folder / name).unlink()
    words = f"the index at .*text-0003 lacks {name}; run `vitrina index --rebuild`"
    card = IndexCard.of(CARD, "it")
    with pytest.raises(StoreError, match=words):
        _ = whole.card(), whole.entries(card), whole.engine(card), whole.probe(16, 405)


def test_an_index_file_cut_anywhere_is_an_error(folder):
    # Not mapped: FAISS may crash on a mapped file that is cut, so its size is looked at before.
    path = folder / "index.faiss"
    content = path.read_bytes()
    for keep in (1, 4, 20, 60, 500, 1000, len(content) // 2, len(content) - 1000, len(content) - 1):
        path.write_bytes(content[:keep])
        with pytest.raises(StoreError, match=r"text-0003/index\.faiss is damaged"):
            opened(folder).engine(IndexCard.of(CARD, "it"), mapped=False)


@pytest.mark.parametrize("name", ["rows-00000.parquet", "dead.parquet", "queries.parquet"])
def test_a_changed_byte_in_a_page_is_an_error(folder, name):
    path = folder / name
    content = bytearray(path.read_bytes())
    chunk = pq.read_metadata(path).row_group(0).column(0)
    content[chunk.data_page_offset + chunk.total_compressed_size - 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"{name} is damaged \(.*run `vitrina index --rebuild`"):
        read(folder)


@pytest.mark.parametrize("dead", [[405], [3, 5, 2**62], [3, 3], [3], []])
def test_rows_and_card_disagree(folder, dead):
    column = pa.array(dead, pa.int64())
    pq.write_table(pa.table({"position": column}), folder / "dead.parquet")
    with pytest.raises(StoreError, match=r"text-0003(/dead\.parquet)? is damaged"):
        read(folder)


def test_fewer_rows_than_the_base_has(folder):
    (folder / "rows-00001.parquet").unlink()
    (folder / "dead.parquet").unlink()
    entries_of(range(399)).write(folder / "rows-00000.parquet")
    write_card(folder, rows=399)
    with pytest.raises(StoreError, match=r"text-0003 is damaged: 399 live rows where index\.json"):
        read(folder)


@pytest.mark.parametrize(("rows", "dim"), [(400, 8), (399, 16)])
def test_an_index_that_its_card_does_not_describe(folder, rows, dim):
    other = faiss.IndexFlatIP(dim)
    other.add(units(rows, dim))
    faiss.write_index(other, str(folder / "index.faiss"))
    words = rf"index\.faiss is not what index\.json describes: {rows} vectors of {dim}; run `vitrin"
    with pytest.raises(StoreError, match=words):
        read(folder)


def write_card(folder, **changes):
    card = {**json.loads((folder / "index.json").read_text()), **changes}
    (folder / "index.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    "card",
    [
        {},
        [],
        "text",
        {**CARD, "modalities": ["smell"]},
        {**CARD, "weights": {"image": 1.0}},
        {**CARD, "weights": {"text": "much"}},
        {**CARD, "fingerprints": {}},
        {**CARD, "shards": {}},
        {**CARD, "parameters": {"nprobe": "many"}},
        *({key: value for key, value in CARD.items() if key != lacking} for lacking in CARD),
    ],
)
def test_a_card_that_says_too_little(folder, card):
    (folder / "index.json").write_text(json.dumps(card))
    with pytest.raises(StoreError, match=r"text-0003/index\.json is not .*--rebuild"):
        opened(folder).card()


# -- fingerprints ---------------------------------------------------------------------------------


def test_fingerprints_guard_the_index():
    vectors = units(5, 16)
    engine = Engine.train("Flat", 16, vectors, 0)
    ids = pa.array(range(5))
    rows, dead = fused_rows(vectors), np.zeros(5, dtype=bool)
    index = VectorIndex(engine, rows, ids, dead, Effort(1, 1), CARD, "shelf/text-0003")
    index.check({TEXT: "aaaa"})
    index.check({})
    with pytest.raises(FingerprintError, match=r"text-0003.*aaaa.*zzzz.*run `vitrina index`"):
        index.check({TEXT: "zzzz"})
    with pytest.raises(FingerprintError, match=r"no image vectors, only text; .*--features image"):
        index.check({TEXT: "aaaa", IMAGE: "bbbb"})
    with pytest.raises(FingerprintError, match="no text vectors, only none"):
        replace(index, card={}).check({TEXT: "aaaa"})
