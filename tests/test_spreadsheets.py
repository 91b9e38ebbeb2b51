"""Spreadsheets as tables."""

import zipfile
from datetime import date, datetime, time

import pytest
import xlsxwriter

from support.catalogue_files import all_rows, products_of
from support.spreadsheets import SHEET, TABLE, with_sheet, xlsx
from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Product, Rejection
from vitrina.data.readers import Columns
from vitrina.data.readers.sheet_size import SheetSize
from vitrina.errors import CatalogueError


def test_a_table(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", first=TABLE)
    catalogue = Catalogue.read(path, columns=Columns(keep=("price",)))
    assert (catalogue.id_type, catalogue.category_type, list(catalogue.notes)) == (int, int, [])
    assert all_rows(catalogue) == (
        [
            Product(2, 1, "Чайник", category_id=5, metadata=(("price", 61.5),)),
            Product(3, 2, "Кружка", category_id=6, metadata=(("price", 70),)),
        ],
        [],
    )


def test_the_name_of_the_file_does_not_matter(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", first=TABLE).rename(tmp_path / "catalogue.csv")
    assert [one.product_id for one in products_of(path)] == [1, 2]


def test_the_sheet_and_the_header_are_found_and_rows_are_numbered_as_shown(tmp_path):
    rows = [["Прайс-лист"], [], ["", "от", date(2024, 5, 1)], *TABLE, [], ["", " ", 7], TABLE[1]]
    path = xlsx(tmp_path / "a.xlsx", Оглавление=[["о", "магазине"]], Товары=rows)
    catalogue = Catalogue.read(path)
    assert list(catalogue.notes) == ["products are read from the sheet 'Товары'"]
    products, rejected = all_rows(catalogue)
    assert [(one.row, one.product_id) for one in products] == [(5, 1), (6, 2)]
    assert rejected == [
        Rejection(8, "no product_id"),
        Rejection(9, "this product_id was seen before, in an earlier row", 1),
    ]


def test_values(tmp_path):
    book = xlsxwriter.Workbook(tmp_path / "a.xlsx")
    sheet = book.add_worksheet()
    day, hour = (book.add_format({"num_format": form}) for form in ("yyyy-mm-dd", "hh:mm"))
    sheet.write_row(0, 0, ["sku", "title", "day", "hour", "flag", "x", "", "y"])
    sheet.write_row(1, 0, ["007", "t"])
    sheet.write_datetime(1, 2, datetime(2024, 5, 1), day)
    sheet.write_datetime(1, 3, time(12, 30), hour)
    sheet.write_boolean(1, 4, True)
    sheet.write_row(1, 5, ["61,5 руб.", "unnamed", "NaN"])
    book.close()
    columns = Columns(product_id="sku", keep=("day", "hour", "flag", "x", "y"))
    (product,) = products_of(tmp_path / "a.xlsx", columns=columns)
    assert product.product_id == "007"
    assert dict(product.metadata) == {
        "day": "2024-05-01",
        "hour": "12:30:00",
        "flag": True,
        "x": 61.5,
    }


def test_ids_that_mix_types(tmp_path):
    rows = [["product_id", "title"], [1, "a"], ["2", "b"], [3.0, "c"]]
    assert [p.product_id for p in products_of(xlsx(tmp_path / "a.xlsx", s=rows))] == [1, 2, 3]
    rows.append(["A-4", "d"])
    found = [p.product_id for p in products_of(xlsx(tmp_path / "b.xlsx", s=rows))]
    assert found == ["1", "2", "3", "A-4"]


def test_a_sheet_without_the_id_column_says_what_there_is(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", s=[["Прайс"], ["Артикул", "Название"], [1, "a"]])
    with pytest.raises(
        CatalogueError, match=r"no column 'product_id'.*there are Артикул, Название"
    ):
        Catalogue.read(path)
    columns = Columns(product_id="Артикул", title="Название")
    assert [one.title for one in products_of(path, columns=columns)] == ["a"]


def test_an_ods_file(tmp_path):
    def row(*cells):
        texts = "".join(
            f'<table:table-cell office:value-type="string"><text:p>{one}</text:p>'
            "</table:table-cell>"
            for one in cells
        )
        return f"<table:table-row>{texts}</table:table-row>"

    spaces = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    table = row("product_id", "title") + row("1", "Чайник")
    with zipfile.ZipFile(tmp_path / "a.ods", "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr(
            "content.xml",
            f"<office:document-content{spaces}><office:body><office:spreadsheet>"
            f'<table:table table:name="a">{table}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )
    assert [(p.product_id, p.title) for p in products_of(tmp_path / "a.ods")] == [("1", "Чайник")]


# What can't be read.


@pytest.mark.parametrize(
    "rows",
    [
        '<row r="1"><c r="A1"><v>1</v></c></row>'
        '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>',
        '<row r="1"><c r="XFD1048576"><v>1</v></c></row>',
        "<row r='1'><c r='XFD1'><v>1</v></c></row><row\nr = '1048576'><c><v>1</v></c></row>",
        '<row r="1">' + "<c><v>1</v></c>" * 16_000 + '</row><row r="1000000"><c><v>1</v></c></row>',
    ],
)
def test_a_cell_far_outside_the_table_does_not_end_the_process(tmp_path, rows):
    path = with_sheet(tmp_path / "a.xlsx", f"{SHEET}{rows}</sheetData></worksheet>")
    with pytest.raises(CatalogueError, match=r"too large for a spreadsheet: .* save it as CSV"):
        Catalogue.read(path)


def test_sizes_are_those_of_the_outermost_cells():
    text = b'<row r="3" spans="1:4"><c r="B3" t="s"/><c r="AB3"/></row><row r="9"><c r="A9"/></row>'
    for cut in range(1, len(text)):
        size = SheetSize()
        size.add(text[:cut])
        size.add(text[cut:])
        assert (size.rows, size.columns) == (9, 28)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "can't be read as a spreadsh"),
        ("a.xlsx", {"xl/workbook.xml": "<broken"}, "can't be read as a spreadsheet: "),
        ("a.xlsb", {"xl/workbook.bin": "x"}, r"a binary Excel file \(.xlsb\); save it as .xlsx"),
        ("a.zip", {"1.jpg": "x"}, "a zip archive and no spreadsheet"),
        ("a.xlsx", {"xl/workbook.xml": None}, "can't be read as a spreadsheet: "),
    ],
)
def test_files_that_are_no_spreadsheet(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, data in content.items():
                archive.writestr(member, data or "x" * 5000)
        if None in content.values():
            damaged = bytearray(path.read_bytes())
            damaged[50:56] = b"\xff" * 6
            path.write_bytes(damaged)
    with pytest.raises(CatalogueError, match=rf"^{path}: .*{message}") as caught:
        Catalogue.read(path)
    assert "\n" not in str(caught.value)


def test_an_empty_sheet(tmp_path):
    with pytest.raises(CatalogueError, match="no sheet of it holds a table"):
        Catalogue.read(xlsx(tmp_path / "a.xlsx", s=[]))
