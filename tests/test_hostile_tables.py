"""Tables that are made to cost more than their bytes are worth."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitrina.data.catalogue import Catalogue
from vitrina.data.options import Columns
from vitrina.data.readers.arrow_values import values_of
from vitrina.data.readers.base import Fault, UnreadableValue
from vitrina.data.readers.csv_lines import CsvLines
from vitrina.data.readers.csv_table import CsvRecords
from vitrina.errors import CatalogueError
from vitrina.parquet import pages as parquet_pages
from vitrina.parquet.footer import DamagedPagesError, read_footer
from vitrina.parquet.pages import group_size
from vitrina.parquet.thrift import ThriftError, read_struct

# ---------------------------------------------------------------- CSV


def read(path) -> list:
    return list(CsvRecords(path, ",", None).rows(("product_id",), "product_id"))


@pytest.mark.parametrize(
    "line",
    ['a","b\n', 'a"b,"c\n', '1,"x\n', '"1,x\n', '1,"a""\n', '1,"a" b\n', '1,a,b,c,"\n', '"\n'],
)
@pytest.mark.parametrize("columns", [2, 3000])
def test_each_line_is_followed_twice_at_most(tmp_path, monkeypatch, line, columns) -> None:
    followed, given = [], []
    follow, after = CsvLines._follow, CsvLines.__next__
    monkeypatch.setattr(
        CsvLines,
        "_follow",
        lambda lines, one, inside: followed.append(len(one)) or follow(lines, one, inside=inside),
    )
    monkeypatch.setattr(CsvLines, "__next__", lambda lines: given.append(1) or after(lines))
    path = tmp_path / "a.csv"
    names = ",".join(f"c{n}" for n in range(columns - 1))
    path.write_text(f"product_id,{names}\n" + line * 3000)
    read(path)
    # The file is gone through once for its header and a sample, and once for its rows.
    assert len(followed) <= 2 * 2 * 3000
    assert len(given) <= 40 * (3000 + 1000)
    assert sum(followed) <= 2 * 2 * 3000 * len(line)


def test_a_record_of_many_lines_and_a_wrong_number_of_fields(tmp_path) -> None:
    path = tmp_path / "a.csv"
    good = '2,"' + "x\n" * 100 + '"\n'
    path.write_text('product_id,title\n1,"' + "x\n" * 100 + '",more\n' + good + "3,c\n")
    rows = read(path)
    assert rows[0] == Fault("3 fields, but the header has 2", product_id="1")
    assert all(row.reason == "1 fields, but the header has 2" for row in rows[1:100])
    assert rows[-2:] == [("2",), ("3",)]


# ---------------------------------------------------------------- Parquet


def written(path, table, **options):
    pq.write_table(table, path, **{"compression": "zstd", **options})
    return path


def size_of(path, *columns):
    (group,) = read_footer(path)
    with path.open("rb") as raw, pq.ParquetFile(path) as file:
        return group_size(raw, file.schema, group, columns)


def test_a_large_dictionary_is_read_as_one(tmp_path) -> None:
    places = pa.array(np.zeros(4096, np.int32))
    text = "x" * 20_000_000
    title = pa.DictionaryArray.from_arrays(places, pa.array([text]))
    table = pa.table({"product_id": range(4096), "title": title})
    path = written(tmp_path / "a.parquet", table, store_schema=False)
    assert size_of(path, "title").dictionaries == ["title"]
    before = pa.total_allocated_bytes()
    (batch,) = Catalogue.read(path).batches()
    reasons = {row.reason for row in batch.rejected}
    assert (len(batch.rejected), reasons) == (
        4096,
        {"column 'title' is longer than 16777216 bytes"},
    )
    assert pa.total_allocated_bytes() - before < 1 << 26


def test_values_that_share_their_start_come_in_small_batches(tmp_path) -> None:
    table = pa.table({"title": ["x" * 1_000_000] * 300})
    encoding = {"title": "DELTA_BYTE_ARRAY"}
    options = {"use_dictionary": False, "column_encoding": encoding, "data_page_size": 1 << 16}
    path = written(tmp_path / "a.parquet", table, **options)
    assert size_of(path, "title").row >= 1_000_000
    plain = pa.table({"title": ["x" * 100] * 3000})
    path = written(tmp_path / "b.parquet", plain, use_dictionary=False)
    assert size_of(path, "title").row < 200


def test_claims_out_of_proportion_are_refused(tmp_path, monkeypatch) -> None:
    nulls = pa.ListArray.from_arrays(pa.array([0, 0, 25_000_000], pa.int32()), pa.nulls(25_000_000))
    path = written(tmp_path / "a.parquet", pa.table({"product_id": [1, 2], "title": nulls}))
    why = (
        r"a\.parquet: can't be read as Parquet: it is damaged: pages of \d+ bytes are said to take"
    )
    with pytest.raises(CatalogueError, match=why):
        list(Catalogue.read(path).batches())
    # What is large and has the bytes for it is not.
    monkeypatch.setattr(parquet_pages, "_MOST_MEMORY", 1000)
    texts = pa.table({"title": [f"{n * 7919}" for n in range(50_000)]})
    assert size_of(written(tmp_path / "b.parquet", texts, use_dictionary=False), "title").row < 100


def test_a_column_of_nulls_is_no_bomb(tmp_path) -> None:
    table = pa.table({"product_id": range(200_000), "title": pa.nulls(200_000, pa.string())})
    path = written(tmp_path / "a.parquet", table)
    assert size_of(path, "product_id", "title").row < 100


def test_a_footer_that_ends_a_process_in_arrow(tmp_path) -> None:
    """pyarrow's accessor of a column aborts where a histogram does not fit its schema."""
    table = pa.table({"product_id": [1], "title": ["a"], "tags": [["a", "b"]]})
    path = written(tmp_path / "a.parquet", table)
    data = bytearray(path.read_bytes())
    reasons = []
    for place in range(len(data) - 408, len(data) - 8):
        path.write_bytes(data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :])
        try:
            list(Catalogue.read(path).batches())
        except CatalogueError as err:
            reasons.append(str(err))
    assert len(reasons) > 50
    assert all(reason.startswith(f"{path}: ") for reason in reasons)


def test_footers_are_read_as_arrow_reads_them(tmp_path) -> None:
    table = pa.table({"a": range(100), "b": [[{"c": "x"}]] * 100, "d": [b"12"] * 100})
    path = written(tmp_path / "a.parquet", table, row_group_size=30)
    metadata = pq.ParquetFile(path).metadata
    groups = read_footer(path)
    assert [group.rows for group in groups] == [30, 30, 30, 10]
    for number, group in enumerate(groups):
        for place, chunk in enumerate(group.chunks):
            known = metadata.row_group(number).column(place)
            assert chunk.path == known.path_in_schema
            assert chunk.size == known.total_compressed_size
            assert chunk.values == known.num_values
            assert chunk.start == known.dictionary_page_offset
            assert chunk.texts == (known.physical_type == "BYTE_ARRAY")


@pytest.mark.parametrize("length", [0, 2**31 - 1, 2**32 - 1])
def test_a_footer_of_a_wrong_length(tmp_path, length) -> None:
    path = written(tmp_path / "a.parquet", pa.table({"a": [1]}))
    path.write_bytes(path.read_bytes()[:-8] + struct.pack("<I", length) + b"PAR1")
    with pytest.raises(DamagedPagesError, match="its footer"):
        read_footer(path)


def test_structs() -> None:
    # Field 1: 7; field 2: true; field 20: a list of two texts, and the end.
    data = b"\x15\x0e\x11\x09\x28\x28\x01a\x02bc\x00"
    assert read_struct(data, 0) == ({1: 7, 2: True, 20: [b"a", b"bc"]}, len(data))
    assert read_struct(data, 0, {2: None}) == ({2: True}, len(data))
    with pytest.raises(ThriftError, match="nested too deep"):
        read_struct(b"\x1c" * 100, 0)
    with pytest.raises(ThriftError, match="nested too deep"):
        read_struct(b"\x19" + b"\x19" * 100, 0)
    with pytest.raises(IndexError):
        read_struct(b"\x19\xf5\xff\xff\xff\xff\x0f", 0)


# ---------------------------------------------------------------- values


def test_a_place_outside_its_dictionary() -> None:
    bad = pa.DictionaryArray.from_arrays(pa.array([0, 9, -1, None]), pa.array(["a"]), safe=False)
    outside = UnreadableValue("column 'c' can't be read: it is not among the column's values")
    assert values_of("c", bad) == ["a", outside, outside, None]


def test_a_map_by_lists() -> None:
    kind = pa.map_(pa.list_(pa.int8()), pa.int8())
    assert values_of("c", pa.array([[([1, 2], 3)], None], kind)) == [{"[1, 2]": 3}, None]


def test_dates_out_of_range_cost_their_rows(tmp_path) -> None:
    days = pa.array([0, 2**31 - 1, -(2**31)], pa.int32()).view(pa.date32())
    nested = pa.StructArray.from_arrays([days], ["x"])
    table = pa.table({"product_id": [1, 2, 3], "title": ["a"] * 3, "day": days, "deep": nested})
    path = written(tmp_path / "a.parquet", table)
    for column in ("day", "deep"):
        (batch,) = Catalogue.read(path, columns=Columns(attributes=(column,))).batches()
        assert [one.product_id for one in batch.products] == [1]
        reason = f"column {column!r} can't be read: it is outside the range of dates"
        assert [(one.row, one.reason) for one in batch.rejected] == [(2, reason), (3, reason)]
        catalogue = Catalogue.read(path, columns=Columns(keep=(column,)))
        (batch,) = catalogue.batches()
        assert [len(one.metadata) for one in batch.products] == [1, 0, 0]
        assert catalogue.repairs == {f"values of column {column!r} left out that can't be read": 2}
