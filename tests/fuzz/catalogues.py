"""Small catalogues in every form, and odd ones whose reading could cost time or lead outside."""

from __future__ import annotations

import io
import json
from random import Random
from typing import Any

from fuzz.archives import gzipped, hostile_tar, ods, xls
from fuzz.mutate import mutated_value, written

ROWS = [
    {
        "product_id": number,
        "title": title,
        "description": f"<p>{title}, {number} шт.</p>",
        "category_id": 1 + number % 3,
        "category_name": f"Дом->Посуда->{title.split()[0]}",
        "shop_title": "Лавка",
        "image": f"{number}.jpg",
        "price": 10.5 * number,
    }
    for number, title in enumerate(
        ("Чайник белый", "Кружка синяя", "Ваза 'Орион'", 'Стол "Б", дуб', "Лампа; жёлтая", "Нож\n2")
    )
]
PLAIN: list[list[object]] = [
    ["product_id", "title", "category_id"],
    *([row["product_id"], str(row["title"]).strip(), row["category_id"]] for row in ROWS),
]
"""As rows of a sheet."""
TOKENS = (
    b'"', b'""', b'","', b"'", b";", b",", b"\t", b"|", b"\r", b"\r\n", b"\n", b"\0",
    b"\xef\xbb\xbf",
    b"\xff\xfe", b"product_id", b"title", b"category_id", b"category_name", b"text_fields",
    b"image",
    b"{", b"}", b"[", b"]", b"null", b"NaN", b"Infinity", b"-0", b"1e400", b"true", b"\\u0000",
    b"\\ud800", b"->", b"<", b">", b"</offer>", b"<offer id='9'>", b"<![CDATA[", b"]]>", b"<!--",
    b"<?xml version='1.0' encoding='utf-16'?>", b"encoding='cp1251'", b"encoding='utf-7'",
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&amp;", b"&#0;", b"&#x110000;", b"&nbsp;",
    b"<categoryId>", b"<picture>", b"<param name='x'>", b"PAR1", b"PK\x03\x04", b"\x1f\x8b\x08",
    b"\xd0\xcf\x11\xe0", b"ustar", b"../", b"=cmd|' /C calc'!A0", b"\xed\xa0\x80", b"\xc3\x28",
)  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "cp1251", "koi8-r", "utf-16", "utf-16-be", "cp866", "iso-8859-5")


# -- sound files ----------------------------------------------------------------------------------


def sound_catalogues() -> dict[str, list[bytes]]:
    """Small sound files by form."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import xlsxwriter
    from PIL import Image

    def packed(**options: Any) -> bytes:
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(ROWS), file, **options)
        return file.getvalue()

    def marketplace() -> bytes:
        rows = [
            {
                "product_id": row["product_id"],
                "category_id": row["category_id"],
                "category_name": row["category_name"],
                "sale": False,
                "shop_id": 1,
                "shop_title": "Лавка",
                "rating": 4.5,
                "text_fields": json.dumps(
                    {
                        "title": row["title"],
                        "description": row["description"],
                        "attributes": ["белый"],
                        "custom_characteristics": {"цвет": ["белый"]},
                        "defined_characteristics": {},
                        "filters": {},
                    }
                ),
            }
            for row in ROWS
        ]
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), file)
        return file.getvalue()

    book = io.BytesIO()
    workbook = xlsxwriter.Workbook(book, {"in_memory": True})
    sheet = workbook.add_worksheet("Товары")
    cells = [list(ROWS[0]), *(list(row.values()) for row in ROWS)]
    for number, cell_row in enumerate(cells):
        sheet.write_row(number, 0, cell_row)
    workbook.add_worksheet("Лист2").write(0, 0, "x")
    workbook.close()
    photos = []
    for shade in ("red", "grey", "blue"):
        file = io.BytesIO()
        Image.new("RGB", (40, 30), shade).save(file, "JPEG")
        photos.append(file.getvalue())
    tar = hostile_tar([("001.json", written(ROWS[1])), ("001.jpg", photos[0])], _Calm(), "")
    return {
        "csv": [
            csv_of(",", "utf-8"),
            csv_of(";", "cp1251"),
            csv_of("\t", "utf-16"),
            csv_of(",", "utf-8-sig"),
        ],
        "csv-gz": [gzipped(csv_of(",", "utf-8")), gzipped(csv_of(";", "utf-8"))],
        "json": [written(ROWS), json.dumps(ROWS, ensure_ascii=False).encode()],
        "jsonl": [b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS)],
        "parquet": [
            packed(),
            packed(compression="zstd", use_dictionary=False, row_group_size=2),
            packed(compression="none", data_page_version="2.0"),
            packed(
                compression="gzip",
                write_page_index=True,
                column_encoding="PLAIN",
                use_dictionary=False,
            ),
            marketplace(),
        ],
        "xlsx": [book.getvalue()],
        "xls": [xls(PLAIN)],
        "ods": [ods(PLAIN)],
        "yml": [feed_of(encoding) for encoding in ENCODINGS],
        "webdataset": [tar],
        "jpeg": photos,
    }


class _Calm(Random):
    """Draws that leave everything as it is."""

    def random(self) -> float:
        return 0.999

    def choice(self, seq: Any) -> Any:
        return seq[0]


def csv_of(delimiter: str, encoding: str) -> bytes:
    import csv

    file = io.StringIO()
    writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return file.getvalue().encode(encoding, "replace")


def feed_of(encoding: str) -> bytes:
    offers = "".join(
        f'<offer id="{row["product_id"]}" available="true"><url>http://a.b/{row["product_id"]}</url>'
        f"<price>{row['price']}</price><categoryId>{row['category_id']}</categoryId>"
        f"<picture>http://a.b/{row['image']}</picture><name>{str(row['title']).strip()}</name>"
        f"<vendor>Лавка</vendor><description><![CDATA[{row['description']}]]></description>"
        f'<param name="цвет">белый</param></offer>\n'
        for row in ROWS
    )
    named = "utf-8" if encoding == "utf-8-sig" else encoding
    text = (
        f'<?xml version="1.0" encoding="{named}"?>\n<!DOCTYPE yml_catalog SYSTEM "shops.dtd">\n'
        '<yml_catalog date="2024-05-01 12:00"><shop><name>Лавка</name><categories>'
        '<category id="1">Дом</category><category id="2" parentId="1">Посуда</category>'
        f'<category id="3" parentId="2">Кружки</category></categories>\n<offers>{offers}</offers>'
        "</shop></yml_catalog>\n"
    )
    return text.encode(encoding, "xmlcharrefreplace")


# -- crafted files --------------------------------------------------------------------------------


def odd_csv(draw: Random, data: bytes, _: str) -> tuple[bytes, str]:
    """Tables whose reading could take time that grows faster than they do."""
    size = draw.choice((10, 10, 1000, 1000, 30_000, 100_000))
    return draw.choice(
        (
            lambda: (data[:100] + b'"' * size + data[100:], "quotes"),
            lambda: (data + b'9,"a\n' * size, "open quotes"),
            lambda: (data + b'9,"a"b"\r\n' * size, "bad quotes"),
            lambda: (data + b"9,x" + b"," * size + b"\n", "commas"),
            lambda: (
                b",".join(b"c%d" % at for at in range(size)) + b"\n" + b"1," * size,
                "columns",
            ),
            lambda: (b",".join([b"title"] * size) + b"\n", "one name for all columns"),
            lambda: (data + b"\n" * size, "blank lines"),
            lambda: (data + b"\0" * size, "zeros"),
            lambda: (data + b"9," + b"x" * 20 * size + b"\n", "a long line"),
            lambda: (data.replace(b"\n", b"\r"), "carriage returns"),
            lambda: (data + b"9,a\n" * min(size, 30_000), "the same id"),
            lambda: (
                data + b"".join(b"%d,a->b->c%d\n" % (at, at) for at in range(min(size, 30_000))),
                "rows",
            ),
            lambda: (data.replace(b"->", b"->" * min(size, 3000)), "deep paths"),
            lambda: (data.replace(b"<p>", b"<p>" * min(size, 30_000)), "deep markup"),
            lambda: (data.replace(b"<p>", b"<" * size), "angles"),
            lambda: (data.replace(b"<p>", b"&" * size), "ampersands"),
        )
    )()


def odd_json(draw: Random, _: bytes, outside: str) -> tuple[bytes, str]:
    from fuzz.arrow_tables import JSON_VALUES, drawn

    size = draw.choice((10, 10, 1000, 1000, 30_000, 100_000))
    way = draw.randrange(6)
    if way == 0:
        return b"[" * size, "deep"
    if way == 1:
        return (
            b'[{"product_id": 1, "title": ' + b'{"a":' * size + b"1" + b"}" * size + b"}]",
            "deep",
        )
    if way == 2:
        return b'[{"product_id": ' + b"9" * size + b', "title": "a"}]', "a long number"
    if way == 3:
        rows = [{**row, draw.choice(list(row)): drawn(JSON_VALUES, draw)} for row in ROWS[:2]]
        return json.dumps(rows).encode(), "odd values"
    return written(mutated_value(ROWS, draw, outside), draw), "values mutated"


def odd_feed(draw: Random, data: bytes, outside: str) -> tuple[bytes, str]:
    """Feeds with entities, external files, depth and lying declarations."""
    size = draw.choice((10, 10, 1000, 1000, 30_000, 100_000))
    name = f"file://{outside}/victim.txt"
    laughs = "".join(f'<!ENTITY a{at} "{f"&a{at - 1};" * 10}">' for at in range(1, 10))
    types = (
        f'<!DOCTYPE yml_catalog [<!ENTITY x SYSTEM "{name}">]>',
        f'<!DOCTYPE yml_catalog SYSTEM "{name}">',
        f'<!DOCTYPE yml_catalog [<!ENTITY % x SYSTEM "{name}"> %x;]>',
        f'<!DOCTYPE yml_catalog [<!ENTITY a0 "ha">{laughs}<!ENTITY x "&a9;">]>',
        '<!DOCTYPE yml_catalog [<!ENTITY x "&x;">]>',
        '<!DOCTYPE yml_catalog SYSTEM "http://127.0.0.1:9/x.dtd">',
        f'<!DOCTYPE yml_catalog [<!ENTITY x "{"y" * size}">]>',
    )
    kind = draw.choice(types).encode()
    entity = data.replace(b'<!DOCTYPE yml_catalog SYSTEM "shops.dtd">', kind)
    entity = entity.replace(b"<name>", b"<name>&x;" * draw.choice((1, 1, 3)))
    return draw.choice(
        (
            lambda: (entity, "entities"),
            lambda: (entity, "entities"),
            lambda: (data.replace(b"<offers>", b"<offers>" + b"<offer>" * size), "deep"),
            lambda: (data.replace(b"<offers>", b"<offers>" + b"<x/>" * size), "wide"),
            lambda: (data.replace(b"<name>", b"<name>" + b"<b>" * size, 1), "deep names"),
            lambda: (data.replace(b"<name>", b"<name " + b"a='1' " * size + b">", 1), "attributes"),
            lambda: (data.replace(b"<name>", b"<!--" + b"-" * size, 1), "a comment"),
            lambda: (data.replace(b"<name>", b"<![CDATA[" + b"]" * size, 1), "CDATA"),
            lambda: (data.replace(b'parentId="1"', b'parentId="2"'), "a parent of its own"),
            lambda: (data.replace(b'parentId="1"', b'parentId="3"'), "a circle"),
            lambda: (
                data.replace(
                    b"</categories>",
                    b"".join(
                        b'<category id="%d" parentId="%d">x</category>' % (at, at - 1)
                        for at in range(4, min(size, 3000))
                    )
                    + b"</categories>",
                ),
                "a deep tree",
            ),
            lambda: (
                data.replace(
                    b"utf-8",
                    draw.choice(("utf-7", "ebcdic", "x" * 300, "utf-32", "big5", "hz")).encode(),
                ),
                "a lying declaration",
            ),
        )
    )()
