"""Memory that reading a Parquet file of a store takes, known before it is read."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitrina.parquet.footer import DamagedPagesError
from vitrina.parquet.pages import check_pages

ROWS = 4096


def repeated(text: str, rows: int = ROWS) -> pa.Array:
    places = pa.array(np.zeros(rows, np.int32))
    return pa.DictionaryArray.from_arrays(places, pa.array([text]))


def in_lists(values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(range(len(values) + 1), pa.int32()), values)


def in_structs(values: pa.Array) -> pa.Array:
    return in_lists(pa.StructArray.from_arrays([values, values], ["kind", "other"]))


def checked(columns: dict[str, pa.Array], by_group: tuple[str, ...] = (), **options) -> None:
    sink = io.BytesIO()
    options = {"compression": "zstd", "store_schema": False, **options}
    pq.write_table(pa.table(columns), sink, **options)
    usual, own = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(own)
    try:
        check_pages(pa.BufferReader(sink.getvalue()), by_group)
    finally:
        pa.set_memory_pool(usual)
        assert own.max_memory() < 1 << 26


@pytest.mark.parametrize("form", [lambda values: values, in_lists, in_structs])
def test_one_long_text_that_stands_in_all_rows(form) -> None:
    with pytest.raises(DamagedPagesError, match=r"are said to take \d{10,11} bytes of memory"):
        checked({"title": form(repeated("x" * 1_500_000))})
    checked({"title": form(repeated("x" * 1_500_000, 20))})


@pytest.mark.slow
def test_texts_that_share_their_beginnings() -> None:
    options = {"use_dictionary": False, "column_encoding": {"title": "DELTA_BYTE_ARRAY"}}
    with pytest.raises(DamagedPagesError, match="are said to take"):
        checked({"title": ["x" * 1_000_000] * 420}, **options)
    checked({"title": ["a", "ab"] * 2000}, **options)


def test_full_dictionaries_are_no_bomb() -> None:
    texts = [f"{n:06}" * 40 for n in range(ROWS)]
    checked({"title": texts * 4, "description": texts * 4, "tags": [[one] for one in texts] * 4})


def test_a_column_is_bounded_by_group_or_whole() -> None:
    rows = {"description": repeated("x" * 4000, 8 * 20_000)}
    checked(rows, by_group=("description",), row_group_size=20_000)
    with pytest.raises(DamagedPagesError, match="are said to take"):
        checked(rows, row_group_size=20_000)
