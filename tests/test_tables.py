"""Tables in files: CSV, Excel, JSON Lines, Parquet, by the end of a name."""

import csv
import gzip
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitrina.errors import CatalogueError, OptionError
from vitrina.tables.csv_file import unguarded
from vitrina.tables.destination import Destination, TableFormat
from vitrina.tables.flat import FlatColumns
from vitrina.tables.options import CsvOptions, OutputOptions
from vitrina.tables.write import write_table, writing

RISKY = [
    "=cmd|' /C calc'!A0",
    "+cmd()",
    "-2+3+cmd",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "- красный",
    '=HYPERLINK("http://x";"y")',
]
HARMLESS = ["-5", "+79161234567", "-1,5", "a=b", "'quoted", "http://example.org", "007", ""]

PREDICTIONS = pa.schema(
    [
        ("product_id", pa.int64()),
        ("title", pa.string()),
        ("predicted_category_id", pa.int64()),
        ("category_name", pa.string()),
        ("probability", pa.float32()),
        ("alone", pa.struct({"text": pa.float32(), "image": pa.float32()})),
        (
            "top_k",
            pa.list_(pa.struct({"category_id": pa.int64(), "probability": pa.float32()})),
        ),
        ("vote", pa.struct({"category_id": pa.int64(), "share": pa.float32()})),
        (
            "neighbours",
            pa.list_(
                pa.struct(
                    {"product_id": pa.int64(), "category_id": pa.int64(), "score": pa.float32()}
                )
            ),
        ),
        ("accepted", pa.bool_()),
    ]
)
ROWS = [
    {
        "product_id": 1,
        "title": "Кружка",
        "predicted_category_id": 10,
        "category_name": "Дом->Кружки",
        "probability": 0.9,
        "alone": {"text": 0.8, "image": 0.25},
        "top_k": [
            {"category_id": 10, "probability": 0.9},
            {"category_id": 20, "probability": 0.06},
        ],
        "vote": {"category_id": 20, "share": 0.75},
        "neighbours": [
            {"product_id": 7, "category_id": 10, "score": 0.912},
            {"product_id": 8, "category_id": None, "score": 0.5},
        ],
        "accepted": True,
    },
    {"product_id": 2, "predicted_category_id": 20, "accepted": False},
]
NAMES = {10: "Дом->Кружки", 20: "Дом->Тарелки"}


def predictions():
    return pa.Table.from_pylist(ROWS, schema=PREDICTIONS)


def texts(values):
    return pa.table({"text": values})


COMMAS = CsvOptions()


def written(table, path, options=COMMAS, **others):
    assert write_table([table], table.schema, path, options, **others) == table.num_rows
    return path


def cells(path, **options):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, **options))


def sheets(path):
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_path(path)
    return {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}


def parts(path):
    """The XML of a workbook's first sheet."""
    import zipfile

    with zipfile.ZipFile(path) as book:
        return book.read("xl/worksheets/sheet1.xml").decode()


def test_nested_columns_become_flat_ones():
    flat = FlatColumns(PREDICTIONS, NAMES)
    table = flat.convert(predictions())
    assert table.schema == flat.schema
    first, second = table.to_pylist()
    assert first == {
        "product_id": 1,
        "title": "Кружка",
        "predicted_category_id": 10,
        "category_name": "Дом->Кружки",
        "probability": pytest.approx(0.9),
        "alone_text": pytest.approx(0.8),
        "alone_image": pytest.approx(0.25),
        "second_category_id": 20,
        "second_category_name": "Дом->Тарелки",
        "second_probability": pytest.approx(0.06),
        "third_category_id": None,
        "third_category_name": None,
        "third_probability": None,
        "vote_category_id": 20,
        "vote_category_name": "Дом->Тарелки",
        "vote_share": pytest.approx(0.75),
        "reasons": "80% by text alone; 25% by image alone; 1 of 2 neighbours are in this category",
        "neighbours": "7 (0.91); 8 (0.50)",
        "accepted": True,
    }
    assert second["product_id"] == 2
    assert [name for name, value in second.items() if value is not None] == [
        "product_id",
        "predicted_category_id",
        "accepted",
    ]


def test_without_names_there_are_no_columns_of_names():
    assert "second_category_name" not in FlatColumns(PREDICTIONS).schema.names


def test_lists_of_texts_become_text():
    table = pa.table({"reasons": [["model", "copies"], [], None], "n": [1, 2, 3]})
    assert FlatColumns(table.schema).convert(table).to_pylist() == [
        {"reasons": "model, copies", "n": 1},
        {"reasons": "", "n": 2},
        {"reasons": None, "n": 3},
    ]


def test_csv_opens_in_excel(tmp_path):
    path = written(predictions(), tmp_path / "x.csv", names=NAMES)
    assert path.read_bytes().startswith(b'\xef\xbb\xbf"product_id",')
    header, first, second = cells(path)
    row = dict(zip(header, first, strict=True))
    assert row["title"] == "Кружка"
    assert row["probability"] == "0.9"
    assert row["accepted"] == "true"
    assert row["neighbours"] == "7 (0.91); 8 (0.50)"
    assert second[header.index("title")] == ""


def test_a_semicolon_brings_decimal_commas(tmp_path):
    path = written(predictions(), tmp_path / "x.csv", CsvOptions(csv_separator="semicolon"))
    header, first, _ = cells(path, delimiter=";")
    assert first[header.index("probability")] == "0,9"
    assert first[header.index("product_id")] == "1"


@pytest.mark.parametrize(("given", "mark"), [("tab", "\t"), ("|", "|"), (";", ";"), ("comma", ",")])
def test_separators(tmp_path, given, mark):
    options = CsvOptions(csv_separator=given)
    path = written(texts(["a;b,c\t|", 'q"uote', "two\nlines"]), tmp_path / "x.csv", options)
    read = [row[0] for row in cells(path, delimiter=mark)]
    assert read == ["text", "a;b,c\t|", 'q"uote', "two\nlines"]


def test_another_separator_is_refused():
    with pytest.raises(OptionError, match=r"csv_separator must be a comma, a semicolon, tab or \|"):
        CsvOptions(csv_separator="::")


@pytest.mark.parametrize("text", RISKY)
def test_no_cell_of_csv_is_a_formula(tmp_path, text):
    ((_,), (cell,)) = cells(written(texts([text]), tmp_path / "x.csv"))
    assert cell == f"'{text}"
    assert unguarded(cell) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_texts_stay_as_they_are(tmp_path, text):
    ((_,), *rest) = cells(written(texts([text]), tmp_path / "x.csv"))
    assert rest == [[text]]


def test_numbers_and_times_in_csv(tmp_path):
    moment = datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
    table = pa.table(
        {
            "n": [-5, 2**60],
            "x": [float("nan"), -1.5],
            "t": pa.array([moment, None], pa.timestamp("us", "UTC")),
            "z": ["a\0b", None],
        }
    )
    assert cells(written(table, tmp_path / "x.csv")) == [
        ["n", "x", "t", "z"],
        ["-5", "", "2026-12-01T08:30:00Z", "ab"],
        [str(2**60), "-1.5", "", ""],
    ]


@pytest.mark.parametrize("name", ["x.csv.gz", "x.jsonl.gz", "X.CSV.GZ"])
def test_gzipped_tables(tmp_path, name):
    path = written(texts(["Кружка"]), tmp_path / name)
    assert "Кружка" in gzip.decompress(path.read_bytes()).decode()
    again = written(texts(["Кружка"]), tmp_path / f"again-{name}")
    assert path.read_bytes() == again.read_bytes()


def test_jsonl_keeps_lists_and_records(tmp_path):
    path = written(predictions(), tmp_path / "x.jsonl")
    first, second = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert first["top_k"][1] == {"category_id": 20, "probability": 0.06}
    assert first["probability"] == 0.9
    assert first["title"] == "Кружка"
    assert second["vote"] is None


def test_parquet_is_written_as_it_is(tmp_path):
    path = written(predictions(), tmp_path / "x.parquet")
    assert pq.read_table(path).equals(predictions())


def test_xlsx_has_types_that_people_expect(tmp_path):
    path = written(predictions(), tmp_path / "Прогноз [1].xlsx", names=NAMES)
    ((title, (header, first, _)),) = sheets(path).items()
    assert title == "Прогноз  1"
    row = dict(zip(header, first, strict=True))
    assert row["product_id"] == 1
    assert row["probability"] == 0.9
    assert row["accepted"] is True
    assert row["second_category_name"] == "Дом->Тарелки"
    sheet = parts(path)
    assert 'state="frozen"' in sheet
    assert "<autoFilter" in sheet
    widths = [float(part.split('"')[0]) for part in sheet.split('width="')[1:]]
    assert len(widths) == len(header)
    assert min(widths) >= 9
    assert max(widths) <= 61


def test_no_cell_of_xlsx_is_a_formula_or_a_link(tmp_path):
    values = [*RISKY, "http://example.org", "mailto:a@b.c", "{=1}"]
    path = written(texts(values), tmp_path / "x.xlsx")
    sheet = parts(path)
    assert "<f>" not in sheet
    assert "hyperlink" not in sheet
    read = [row[0] for row in sheets(path)["x"][1:]]
    assert read == [value.replace("\r", "\n") if "\r" in value else value for value in values] or (
        read == values
    )


def test_long_numbers_keep_their_digits_in_xlsx(tmp_path):
    ids = [2**53 + 1, -(2**62), 10**15 - 1, 4_600_000_000_000]
    path = written(pa.table({"id": ids}), tmp_path / "x.xlsx")
    assert [row[0] for row in sheets(path)["x"][1:]] == [
        "9007199254740993",
        "-4611686018427387904",
        float(10**15 - 1),
        float(4_600_000_000_000),
    ]


def test_times_and_odd_characters_in_xlsx(tmp_path):
    moment = datetime(2026, 12, 1, 8, 30, 15, tzinfo=UTC)
    table = pa.table(
        {
            "t": pa.array([moment], pa.timestamp("us", "UTC")),
            "x": [float("inf")],
            "c": ["bell\x07 and \uffff"],
            "e": ["_x0041_"],
        }
    )
    ((_, values),) = [sheets(written(table, tmp_path / "x.xlsx"))["x"]]
    assert values == [datetime(2026, 12, 1, 8, 30, 15), "", "bell\ufffd and \ufffd", "_x0041_"]


@pytest.mark.parametrize("unit", ["я", "😀"])
def test_long_texts_are_cut_in_xlsx(tmp_path, unit):
    path = written(texts([unit * 40_000, unit * 16_000]), tmp_path / "x.xlsx")
    cut, whole = (row[0] for row in sheets(path)["x"][1:])
    assert cut.endswith(" … (cut)")
    assert 32_000 < len(cut.encode("utf-16-le")) // 2 <= 32_767
    assert whole == unit * 16_000


def test_rows_beyond_a_sheet_go_on_in_another(tmp_path, monkeypatch):
    monkeypatch.setattr("vitrina.tables.xlsx_file.MOST_ROWS", 11)
    path = written(pa.table({"n": list(range(25))}), tmp_path / "x.xlsx")
    found = sheets(path)
    assert list(found) == ["x", "x 2", "x 3"]
    assert [len(rows) for rows in found.values()] == [11, 11, 6]
    assert all(rows[0] == ["n"] for rows in found.values())
    assert [row[0] for rows in found.values() for row in rows[1:]] == list(range(25))


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv", "x.jsonl", "x.parquet", "x.csv.gz"])
def test_a_table_without_rows_is_a_table(tmp_path, name):
    path = written(predictions().slice(0, 0), tmp_path / name)
    assert path.stat().st_size >= 0
    if name == "x.csv":
        assert cells(path)[0][0] == "product_id"
    if name == "x.xlsx":
        assert sheets(path)["x"][0][0] == "product_id"


@pytest.mark.parametrize("name", ["x.txt", "x", "x.xls", "x.gz", "x.parquet.gz", "xlsx"])
def test_another_end_is_refused_before_any_work(name):
    with pytest.raises(OptionError) as caught:
        Destination.of(name)
    assert caught.value.flag == "--out"
    assert caught.value.problem == (
        f"must end in .parquet, .csv, .xlsx, .jsonl, .csv.gz or .jsonl.gz, not '{name}'"
    )


def test_a_secret_in_a_place_is_not_shown():
    with pytest.raises(OptionError) as caught:
        Destination.of(Path("postgresql://u:secret@h/db"))
    assert "secret" not in str(caught.value)


def test_options_of_databases_do_not_apply_to_files():
    with pytest.raises(OptionError, match="table applies to a database's URL as --out, not to x"):
        Destination.of("x.csv", OutputOptions(table="predictions"))
    with pytest.raises(OptionError, match="if_exists applies to a database"):
        Destination.of("x.csv", OutputOptions(if_exists="append"))
    with pytest.raises(OptionError, match=r"table must name the table to write in sqlite:///x\.db"):
        Destination.of("sqlite:///x.db", OutputOptions())


def test_tables_beside_a_table():
    assert str(Destination.of("d/x.csv.gz").beside("errors")) == "d/x.errors.csv.gz"
    assert str(Destination.of("d/x.y.XLSX").beside("errors")) == "d/x.y.errors.xlsx"
    base = Destination.of("sqlite:///x.db", OutputOptions(table="p"))
    assert str(base) == "the table p of sqlite:///x.db"
    assert base.beside("errors") == Destination(Path("p.errors.parquet"), TableFormat.PARQUET)


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv", "x.jsonl", "x.parquet", "x.csv.gz"])
def test_a_failure_leaves_what_was_there(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"before")
    destination = Destination.of(path)
    with pytest.raises(AttributeError), writing(destination, PREDICTIONS) as write:
        list(map(write, (predictions(), None)))
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["x.xlsx", "x.csv.gz"])
def test_a_killed_writer_leaves_no_half_table(tmp_path, name):
    code = f"""
import os, signal, pyarrow as pa
from vitrina.tables.destination import Destination
from vitrina.tables.write import writing
table = pa.table({{"n": list(range(1000))}})
with writing(Destination.of({str(tmp_path / name)!r}), table.schema) as write:
    write(table)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / name).exists()
    table = pa.table({"n": [1]})
    write_table([table], table.schema, tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CatalogueError, match="there is no directory"):
        write_table([predictions()], PREDICTIONS, tmp_path / "no/x.csv")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.csv", "x.xlsx", "x.jsonl"])
def test_memory_does_not_grow_with_the_rows(tmp_path, name):
    """600,000 rows take no more memory than 60,000."""
    code = """
import resource, sys, pyarrow as pa
from vitrina.tables.write import write_table
rows = int(sys.argv[2])
block = pa.table({"id": list(range(2000)), "title": ["длинное название товара"] * 2000})
write_table((block for _ in range(rows // 2000)), block.schema, sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
    used = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, tmp_path / name, str(rows)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for rows in (60_000, 600_000)
    ]
    assert used[1] < used[0] + 60, used
    assert np.isfinite(used).all()
