"""Small files that unpack to much, and what else costs time out of proportion to its bytes."""

from __future__ import annotations

import gzip
import os
import resource
import struct
import zipfile
from contextlib import suppress
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fuzz.archives import repeated_cell_bomb, shared_text_bomb, xls
from fuzz.catalogues import PLAIN
from support.catalogue_files import all_rows
from support.spreadsheets import SHEET, TABLE, with_sheet, xlsx
from vitrina.data import size_bounds, tar
from vitrina.data.catalogue import Catalogue
from vitrina.data.readers import spreadsheets, unpacked
from vitrina.errors import CatalogueError

WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
OUT_OF_PROPORTION = (
    r"it unpacks to more than 16 MB, over 100 times its size, too much for a catalogue; "
)


@pytest.mark.parametrize(
    "start",
    [b"product_id,title\n1,", b'[{"product_id": 1, "title": "', b"<yml_catalog><shop><name>"],
)
def test_a_gzipped_text_of_little_content_is_refused(tmp_path, start) -> None:
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(start + b"x" * 17_000_000, 1))
    with pytest.raises(CatalogueError, match=OUT_OF_PROPORTION):
        all_rows(Catalogue.read(path))


def test_a_gzipped_table_is_read_as_long_as_it_is_in_proportion(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(unpacked, "UNBOUNDED", 1000)
    monkeypatch.setattr(unpacked, "most_unpacked", lambda path: 30 * path.stat().st_size)
    path = tmp_path / "a.csv.gz"
    lines = "".join(f"{number},Чайник белый {number}\n" for number in range(3000))
    path.write_bytes(gzip.compress(f"product_id,title\n{lines}".encode()))
    assert len(all_rows(Catalogue.read(path))[0]) == 3000


def test_rows_are_bounded_by_the_bytes_of_the_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(size_bounds, "_FREE_ROWS", 10)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"product_id,title\n" + b"x\n" * 100_000))
    size = path.stat().st_size
    assert size < 1000
    with pytest.raises(CatalogueError, match=f"more than {size} rows in {size} bytes, too many"):
        all_rows(Catalogue.read(path))


def test_a_sheet_of_little_content_is_refused(tmp_path) -> None:
    path = with_sheet(tmp_path / "a.xlsx", SHEET + " " * 17_000_000)
    with pytest.raises(CatalogueError, match=OUT_OF_PROPORTION):
        Catalogue.read(path)


def test_cells_are_bounded_by_the_bytes_of_the_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(spreadsheets, "_FREE_CELLS", 10_000)
    wide = '<row r="2000"><c r="Z2000"><v>1</v></c></row></sheetData></worksheet>'
    path = with_sheet(tmp_path / "a.xlsx", SHEET + wide)
    with pytest.raises(CatalogueError, match=r"sheet1\.xml spans 2000 rows and 26 columns"):
        Catalogue.read(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("xl/media/1.png", os.urandom(20_000))
    with pytest.raises(CatalogueError, match=r"no sheet of it holds a table|no column"):
        Catalogue.read(path)


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (0x0203, struct.pack("<HHHd", 60_000, 1000, 0, 1), "more than 768 MB of memory"),
        (0x0203, struct.pack("<HHHd", 60_000, 200, 0, 1), "spans 60001 rows and 201 columns"),
        (0x0200, struct.pack("<IIHHH", 9, 3, 0, 2, 0), "it is damaged|more than 768 MB"),
    ],
)
def test_an_old_sheet_that_takes_all_memory_is_refused(
    tmp_path, capfd, kind, body, message
) -> None:
    record = struct.pack("<HH", kind, len(body)) + body
    # Before the end of the sheet.
    content = xls(PLAIN, lambda stream: stream[:-4] + record + stream[-4:])
    path = tmp_path / "a.xls"
    path.write_bytes(content)
    with pytest.raises(CatalogueError, match=message) as caught:
        Catalogue.read(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    path.write_bytes(xls(PLAIN))
    assert len(all_rows(Catalogue.read(path))[0]) == len(PLAIN) - 1


@pytest.mark.parametrize(
    ("at", "number"),
    # The chain of tables, that of the workbook's sectors, and the length of the workbook.
    [(68, 0), (512 + 4 * 9, 2), (1024 + 128 + 120, 1 << 30), (64, 1 << 30)],
)
def test_a_chain_of_sectors_without_an_end_ends(tmp_path, at, number) -> None:
    data = bytearray(xls(PLAIN))
    struct.pack_into("<I", data, at, number)
    if at == 68:
        # The sector of the directory leads to itself.
        struct.pack_into("<I", data, 512 + 508, 0)
    path = tmp_path / "a.xls"
    path.write_bytes(data)
    with suppress(CatalogueError):
        all_rows(Catalogue.read(path))


def test_a_text_that_many_cells_share_is_refused(tmp_path) -> None:
    path = xlsx(tmp_path / "a.xlsx", s=TABLE)
    path.write_bytes(shared_text_bomb(path.read_bytes()))
    _is_refused_for_its_memory(path)


def test_a_cell_that_is_repeated_is_refused(tmp_path) -> None:
    path = tmp_path / "a.ods"
    path.write_bytes(repeated_cell_bomb())
    _is_refused_for_its_memory(path)


def _is_refused_for_its_memory(path) -> None:
    own, others = (resource.getrusage(who).ru_maxrss for who in WHO)
    with pytest.raises(CatalogueError, match="more than 768 MB of memory to read; clear the cel"):
        Catalogue.read(path)
    assert resource.getrusage(WHO[0]).ru_maxrss - own < 100_000
    # A child has its parent's pages until it runs a program of its own.
    assert resource.getrusage(WHO[1]).ru_maxrss <= max(others, own, 1_000_000) + 100_000


def test_a_sheet_that_takes_long_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(spreadsheets, "_FREE_SECONDS", 1)
    monkeypatch.setattr(spreadsheets, "_SECONDS_A_MEGABYTE", 0)
    row = "<row>" + "<c><v>1</v></c>" * 20 + "</row>"
    path = with_sheet(tmp_path / "a.xlsx", f"{SHEET}{row * 100_000}</sheetData></worksheet>")
    monkeypatch.setattr(spreadsheets, "_check_size", lambda _: None)
    with pytest.raises(CatalogueError, match=r"it takes more than 1 seconds to read; .* as CSV$"):
        Catalogue.read(path)


@pytest.mark.slow
def test_any_damage_to_a_compound_file_is_survived(tmp_path) -> None:
    draw, sound = Random(0), xls(PLAIN)
    path = tmp_path / "a.xls"
    for _ in range(60):
        data = bytearray(sound)
        for _ in range(draw.choice((1, 4, 30))):
            data[draw.choice((draw.randrange(600), draw.randrange(len(data))))] = draw.randrange(
                256
            )
        path.write_bytes(data[: draw.choice((len(data), draw.randrange(3000)))])
        with suppress(CatalogueError):
            all_rows(Catalogue.read(path))


@pytest.mark.parametrize("size", [20_000, 900_000])
def test_one_text_in_every_row_is_refused(tmp_path, size) -> None:
    rows = 300_000_000 // size
    titles = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * size])
    pq.write_table(pa.table({"product_id": range(rows), "title": titles}), tmp_path / "a.parquet")
    with pytest.raises(CatalogueError, match="unpacks to more than 128 MB, over 100 times"):
        all_rows(Catalogue.read(tmp_path / "a.parquet"))


@pytest.mark.slow
def test_values_that_share_their_start_are_refused(tmp_path) -> None:
    table = pa.table({"product_id": range(300), "title": ["x" * 1_000_000] * 300})
    encoding = {"title": "DELTA_BYTE_ARRAY", "product_id": "PLAIN"}
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, use_dictionary=False, column_encoding=encoding)
    with pytest.raises(CatalogueError, match="unpacks to more than 128 MB, over 100 times"):
        all_rows(Catalogue.read(path))


def test_a_shop_that_is_named_with_every_product(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(size_bounds, "_FREE_TEXT", 1 << 20)
    offers = "".join(f'<offer id="{n}"><name>a</name></offer>' for n in range(300))
    path = tmp_path / "a.xml"
    shop = f"<shop><name>{'x' * 10_000}</name><offers>{offers}</offers></shop>"
    path.write_text(f"<yml_catalog>{shop}</yml_catalog>")
    with pytest.raises(CatalogueError, match=r"unpacks to more than \d MB, over 100 times"):
        all_rows(Catalogue.read(path))
    path.write_text(f"<yml_catalog>{shop.replace('x' * 9000, '')}</yml_catalog>")
    assert len(all_rows(Catalogue.read(path))[0]) == 300


def test_offers_without_an_end_are_not_parsed(tmp_path, monkeypatch) -> None:
    from vitrina.data.readers.feed import offers

    parsed = []
    parse = offers.OfferParser._well_formed
    monkeypatch.setattr(
        offers.OfferParser,
        "_well_formed",
        lambda self, text: parsed.append(text) or parse(self, text),
    )
    good = '<offer id="7"><name>Чайник</name></offer>'
    cut = '<offer id="8"><name>Кружка</name>'
    path = tmp_path / "a.xml"
    path.write_text(
        f"<yml_catalog><shop><offers>{'<offer>' * 50}{cut}{good}</offers></shop></yml_catalog>",
        encoding="utf-8",
    )
    products, rejected = all_rows(Catalogue.read(path))
    assert [(one.product_id, one.title) for one in products] == [(8, "Кружка"), (7, "Чайник")]
    assert len(rejected) == 50
    assert rejected[0].reason == (
        "the offer at line 1 can't be read: its tags are damaged, and no name can be read"
    )
    assert set(parsed) == {good}


def test_headers_of_an_archive_take_linear_time() -> None:
    records = b"6 a=b\n" * 150_000
    assert tar._Extended.of(records + b"9 size=1\n") == ("", 1, False)
    size = b"9" * 5000
    record = b" size=" + size + b"\n"
    found = tar._Extended.of(b"%d%s" % (len(record) + 4, record))
    assert found.size == 10**30 - 1


def test_a_long_message_is_shown_by_its_start_and_its_end() -> None:
    assert str(CatalogueError("a" * 3000)) == "a" * 3000
    text = str(CatalogueError("a" * 5000 + "; the way out"))
    assert len(text) == 2505
    assert text.startswith("aaa")
    assert text.endswith("; the way out")
