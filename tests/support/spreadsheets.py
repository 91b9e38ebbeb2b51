"""Spreadsheets for tests: written by a library, or with a sheet of hand-written XML."""

import zipfile

import xlsxwriter


def xlsx(path, **sheets):
    book = xlsxwriter.Workbook(path, {"default_date_format": "dd.mm.yyyy"})
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    book.close()
    return path


TABLE = [
    ["product_id", "title", "category_id", "price"],
    [1, "Чайник", 5, 61.5],
    [2, "Кружка", 6, 70],
]


def with_sheet(path, xml):
    """A spreadsheet whose only sheet is replaced by some XML."""
    xlsx(path, s=TABLE)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/worksheets/sheet1.xml"] = xml.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


SHEET = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
