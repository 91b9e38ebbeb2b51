"""How many rows a shard has: chosen with the space, kept in its card, overridden by an option."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.embedding import STUBS, Words, catalogue_of, goods, run, shard_ids, use_stubs
from support.stores import put_products, put_space, row
from support.vectors import units
from vitrina.embedder.probes import PROBES
from vitrina.engines import base as engine
from vitrina.errors import OptionError, StoreError
from vitrina.store import plan
from vitrina.store.manifest_check import check
from vitrina.store.plan import SHARD_ROWS
from vitrina.store.shards import read_matrix, vector_type, write_shard
from vitrina.store.store import OpenStore

pytestmark = pytest.mark.usefixtures("unsynced")

OPTIONS = replace(STUBS, image="none", shard_rows=None)


@pytest.fixture
def stubs(monkeypatch):
    return use_stubs(monkeypatch.setattr)


@pytest.fixture
def large(monkeypatch):
    """Spaces are large from 14 products, with 5 rows a shard; small ones have 3."""
    monkeypatch.setattr(plan, "LARGE_SPACE", 14)
    monkeypatch.setattr(plan, "LARGE_SHARD_ROWS", 5)


def sizes(path):
    return [len(ids) for ids in shard_ids(path, "text-words")]


def card_of(path):
    return OpenStore.open(path).manifest.spaces["text-words"].card


@pytest.mark.parametrize(
    ("products", "rows"), [(0, 4096), (999_999, 4096), (1_000_000, 32_768), (10**8, 32_768)]
)
def test_a_new_space_is_large_from_a_million_products(products, rows):
    assert plan.shard_rows(products) == rows


@pytest.mark.usefixtures("stubs", "large")
def test_a_large_space_keeps_its_rows_as_it_grows_and_shrinks(tmp_path, monkeypatch):
    run(tmp_path / "shelf", catalogue_of(tmp_path / "a", goods(14)), OPTIONS)
    assert sizes(tmp_path / "shelf") == [5, 5, 4]
    assert card_of(tmp_path / "shelf")["shard_rows"] == 5
    monkeypatch.undo()
    use_stubs(monkeypatch.setattr)
    run(tmp_path / "shelf", catalogue_of(tmp_path / "b", goods(26)), OPTIONS)
    assert sizes(tmp_path / "shelf") == [5, 5, 4, 5, 5, 2]


@pytest.mark.usefixtures("stubs", "large")
def test_a_small_space_has_the_card_it_had(tmp_path):
    run(tmp_path / "shelf", catalogue_of(tmp_path / "a", goods(13)), OPTIONS)
    assert "shard_rows" not in card_of(tmp_path / "shelf")
    # It goes on with its own rows where a new one would be large.
    run(tmp_path / "shelf", catalogue_of(tmp_path / "b", goods(30)), OPTIONS)
    assert sizes(tmp_path / "shelf") == [13, 17]


@pytest.mark.usefixtures("stubs", "large")
def test_the_option_precedes_the_card(tmp_path):
    run(tmp_path / "shelf", catalogue_of(tmp_path / "a", goods(6)), replace(OPTIONS, shard_rows=4))
    assert card_of(tmp_path / "shelf")["shard_rows"] == 4
    more = catalogue_of(tmp_path / "b", goods(14))
    run(tmp_path / "shelf", more, replace(OPTIONS, shard_rows=6))
    assert sizes(tmp_path / "shelf") == [4, 2, 6, 2]
    assert card_of(tmp_path / "shelf")["shard_rows"] == 4
    with pytest.raises(OptionError, match="shard_rows"):
        replace(OPTIONS, shard_rows=plan.MOST_SHARD_ROWS + 1)


def test_texts_of_a_large_shard_are_read_in_parts(tmp_path, monkeypatch):
    asked = []

    class Counting(Words):
        def encode(self, texts):
            if texts != PROBES:
                asked.append(len(texts))
            return super().encode(texts)

    for name, rows in (("whole", 4096), ("parts", 4)):
        stubs = use_stubs(monkeypatch.setattr)
        counting = Counting()
        monkeypatch.setitem(stubs, counting.card.modality, counting)
        monkeypatch.setattr(engine, "SHARD_ROWS", rows)
        run(tmp_path / name, catalogue_of(tmp_path / f"{name}-a", goods(14)), OPTIONS)
        monkeypatch.undo()
    assert asked == [14, 4, 4, 4, 2]
    one, other = (
        next((tmp_path / name).glob("spaces/*/part-*.parquet")) for name in ("whole", "parts")
    )
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("rows", [0, -1, plan.MOST_SHARD_ROWS + 1, "4096", None, 1.5])
def test_a_card_with_other_rows_is_refused(tmp_path, rows):
    store = OpenStore.open(tmp_path / "shelf", create=True)
    put_products(store, [row(1, "чай")])
    put_space(store, "text-m", [([1], ["чай"], units(1, 4).astype("float16"))])
    entry = store.manifest.spaces["text-m"]
    bad = replace(entry, card={**entry.card, "shard_rows": rows})
    with pytest.raises(ValueError, match="the card of space 'text-m'"):
        check(store.manifest.with_space("text-m", bad))
    with store.writer("test") as writer, pytest.raises(StoreError, match="can't be committed"):
        writer.commit(store.manifest.with_space("text-m", bad))


def test_a_large_shard_has_row_groups_of_a_small_one(tmp_path):
    hashes = pa.array([f"{at:032x}" for at in range(9)])
    vectors = units(9, 4).astype("float16")
    write_shard(tmp_path / "a.parquet", pa.array(range(9)), hashes, vectors, group_rows=4)
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)] == [4, 4, 1]
    content = memoryview((tmp_path / "a.parquet").read_bytes())
    np.testing.assert_array_equal(read_matrix(content, 9, vector_type(4, "float16")), vectors)
    # One of 4,096 rows is what it was.
    for name, rows in (("b", SHARD_ROWS), ("c", None)):
        path = tmp_path / f"{name}.parquet"
        write_shard(path, pa.array(range(9)), hashes, vectors, group_rows=rows)
    assert (tmp_path / "b.parquet").read_bytes() == (tmp_path / "c.parquet").read_bytes()
