"""The quick way of reading vectors against Arrow's, value by value and flaw by flaw."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.vectors import units
from vitrina.store.pages import read_numbers
from vitrina.store.shards import matrix_of, write_shard

HASHES = ["0123456789abcdef" * 2]


def shard(path, rows, dim, dtype="float16", ids=None):
    ids = pa.array(range(rows), pa.int64()) if ids is None else pa.array(ids)
    vectors = units(rows, dim) if rows else np.zeros((0, dim), np.float32)
    write_shard(path, ids, pa.array(HASHES * rows, pa.string()), vectors, dtype)
    return path


def quick(path, dtype, column=2):
    content = memoryview(path.read_bytes()).cast("B")
    return read_numbers(content, pq.read_metadata(path), column, np.dtype(dtype))


def arrows(path):
    column = pq.read_table(path, columns=["embedding"]).column(0).combine_chunks()
    return matrix_of(column)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(("rows", "dim"), [(1, 1), (3, 8), (4096, 384), (700, 1024)])
def test_it_gives_arrows_numbers(tmp_path, rows, dim, dtype):
    path = shard(tmp_path / "p.parquet", rows, dim, dtype)
    found = quick(path, dtype)
    assert found.dtype == np.dtype(dtype)
    expected = arrows(path)
    assert np.array_equal(found.reshape(rows, dim), expected)
    assert np.array_equal(expected, units(rows, dim).astype(dtype))


def test_a_shard_of_many_pages_and_groups(tmp_path):
    path, other = shard(tmp_path / "p.parquet", 5000, 300), tmp_path / "q.parquet"
    table = pq.read_table(path)
    pq.write_table(
        table,
        other,
        row_group_size=1500,
        data_page_size=10_000,
        compression="none",
        use_dictionary=False,
        write_page_checksum=True,
    )
    assert np.array_equal(quick(other, "float16").reshape(5000, 300), arrows(path))


@pytest.mark.parametrize(
    "otherwise",
    [
        {"compression": "zstd"},
        {"use_dictionary": True},
        {"data_page_version": "2.0"},
        {"use_byte_stream_split": ["embedding.list.element"], "use_dictionary": False},
        {"write_page_checksum": False},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_is_laid_out_otherwise_is_left_to_arrow(tmp_path, otherwise):
    path, other = shard(tmp_path / "p.parquet", 50, 8), tmp_path / "q.parquet"
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(pq.read_table(path), other, **{**options, **otherwise})
    assert quick(other, "float16") is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_byte_gives_an_error_or_the_same_numbers(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "pages.parquet"
    if not path.exists():
        shard(path, 40, 24)
    content = bytearray(path.read_bytes())
    metadata, expected = pq.read_metadata(path), arrows(path).reshape(-1)
    chunk = metadata.row_group(0).column(2)
    start = chunk.data_page_offset
    # Headers and levels are a small part of it, and the part where it could go wrong unseen.
    near = st.integers(start, start + 80)
    at = data.draw(st.one_of(near, st.integers(start, start + chunk.total_compressed_size - 1)))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read_numbers(memoryview(content), metadata, 2, np.dtype("float16"))
    except pa.ArrowInvalid:
        return
    assert found is None or np.array_equal(found, expected)


def test_a_file_cut_short_is_an_error(tmp_path):
    path = shard(tmp_path / "p.parquet", 400, 24)
    content, metadata = path.read_bytes(), pq.read_metadata(path)
    start = metadata.row_group(0).column(2).data_page_offset
    for length in (0, start - 1, start, start + 5, start + 60, start + 5000):
        with pytest.raises(pa.ArrowInvalid):
            read_numbers(memoryview(content[:length]), metadata, 2, np.dtype("float16"))
