"""Catalogues: read, hashed and committed as `vitrina embed` does, up to the encoders."""

from __future__ import annotations

import io
import json
import os
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from fuzz.archives import (
    bloated_zip,
    changed_zip,
    gzipped,
    hostile_tar,
    hostile_zip,
    ods,
    xls,
)
from fuzz.mutate import PATHS, mutated, mutated_value, written
from fuzz.target import Target, copy_files, expect, note, noted

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
TOKENS = (
    b'"', b'""', b'","', b"'", b";", b",", b"\t", b"|", b"\r", b"\r\n", b"\n", b"\0", b"\xef\xbb\xbf",
    b"\xff\xfe", b"product_id", b"title", b"category_id", b"category_name", b"text_fields", b"image",
    b"{", b"}", b"[", b"]", b"null", b"NaN", b"Infinity", b"-0", b"1e400", b"true", b"\\u0000",
    b"\\ud800", b"->", b"<", b">", b"</offer>", b"<offer id='9'>", b"<![CDATA[", b"]]>", b"<!--",
    b"<?xml version='1.0' encoding='utf-16'?>", b"encoding='cp1251'", b"encoding='utf-7'",
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&amp;", b"&#0;", b"&#x110000;", b"&nbsp;",
    b"<categoryId>", b"<picture>", b"<param name='x'>", b"PAR1", b"PK\x03\x04", b"\x1f\x8b\x08",
    b"\xd0\xcf\x11\xe0", b"ustar", b"../", b"=cmd|' /C calc'!A0", b"\xed\xa0\x80", b"\xc3\x28",
)  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "cp1251", "koi8-r", "utf-16", "utf-16-be", "cp866", "iso-8859-5")


class Readers(Target):
    name = "readers"
    forms = (
        "csv",
        "csv-gz",
        "json",
        "jsonl",
        "parquet",
        "parquet-folder",
        "arrow",
        "xlsx",
        "xls",
        "ods",
        "yml",
        "webdataset",
        "photos-zip",
        "photos-tar",
        "photos-folder",
        "label-studio",
    )

    def prepare(self, folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for form, contents in _sound().items():
            (folder / form).mkdir()
            for at, content in enumerate(contents):
                (folder / form / f"{at:02}").write_bytes(content)
        # Small files that unpack to hundreds of megabytes.
        (folder / "bombs").mkdir()
        long = pa.table({"product_id": [1, 2], "title": ["a", "x" * 250_000_000]})
        pq.write_table(long, folder / "bombs/parquet", compression="zstd", use_dictionary=False)
        many = pa.table(
            {
                "product_id": pa.array(range(200_000)),
                "title": pa.DictionaryArray.from_arrays(
                    pa.array([0] * 200_000, pa.int32()), pa.array(["x" * 20_000])
                ),
            }
        )
        pq.write_table(many, folder / "bombs/parquet-2", compression="zstd")
        head = b"product_id,title\n1,"
        (folder / "bombs/csv-gz").write_bytes(gzipped(head + b"x" * 250_000_000))
        (folder / "bombs/csv-gz-2").write_bytes(gzipped(head + b'"' * 3_000_000))
        (folder / "bombs/json").write_bytes(
            gzipped(b'[{"product_id": 1, "title": "' + b"x" * 250_000_000)
        )
        (folder / "bombs/yml").write_bytes(gzipped(_feed("utf-8")[:-40] + b"<b>" * 30_000_000))
        workbook = _sound()["xlsx"][0]
        cell = b'<row r="9"><c r="A9"><v>1</v></c></row>'
        for name, unit, times in (("xlsx", cell, 4_000_000), ("xlsx-2", b" ", 250_000_000)):
            sheet = b'<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
            content = bloated_zip(
                workbook,
                "xl/worksheets/sheet1.xml",
                sheet,
                unit,
                times,
                b"</sheetData></worksheet>",
            )
            (folder / "bombs" / name).write_bytes(content)
        store = folder / "store"
        catalogue = folder / "goods.csv"
        catalogue.write_bytes(_csv(",", "utf-8"))
        _ingest(catalogue, store, None, 1.0)
        _add_audit(store)

    def load(self) -> None:
        self._files = {
            path.name: [one.read_bytes() for one in sorted(path.iterdir())]
            for path in self.seeds.iterdir()
            if path.is_dir() and path.name not in ("store", "bombs")
        }
        # Here, or each child would look through the strategies anew.
        from fuzz.arrow_tables import JSON_VALUES, TABLES, drawn

        drawn(TABLES, Random(0))
        drawn(JSON_VALUES, Random(0))
        self._bombs = {path.name: path.read_bytes() for path in (self.seeds / "bombs").iterdir()}

    def warm_up(self) -> None:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as name:
            for form in self.forms:
                folder = Path(name) / form
                (folder / "outside").mkdir(parents=True)
                draw = Random(0)
                try:
                    self.make(form, draw, folder)
                    if form in self._files:
                        (folder / "catalogue").write_bytes(self._files[form][0])
                    self.run(form, folder)
                except Exception:
                    continue

    def make(self, form: str, draw: Random, folder: Path) -> str:
        outside = str(folder / "outside")
        settings: dict[str, Any] = {"failures": draw.choice((None, 1.0, 1.0))}
        if form.startswith("photos"):
            how = self._photos(form, draw, folder, outside)
        elif form == "arrow":
            how = self._arrow(draw, folder)
        elif form == "label-studio":
            how = self._tasks(draw, folder, outside)
        elif form == "parquet-folder":
            how = self._parts(draw, folder)
        else:
            data, how = self._file(form, draw, outside)
            (folder / "catalogue").write_bytes(data)
            how = f"{how}, {len(data)} bytes"
            if form in ("csv", "csv-gz", "jsonl") and draw.random() < 0.15:
                settings["encoding"] = draw.choice((*ENCODINGS, "utf-7", "idna", "zip", "x"))
            if form == "csv" and draw.random() < 0.1:
                settings["delimiter"] = draw.choice((";", "\t", "|", "ab", "\n", '"', "ё"))
            if form == "webdataset":
                (folder / "catalogue").rename(folder / "catalogue.tar")
                settings["catalogue"] = "catalogue.tar"
        if form != "arrow" and draw.random() < 0.3:
            settings["keep"] = ["price"]
        note(folder, **settings)
        return how

    def _file(self, form: str, draw: Random, outside: str) -> tuple[bytes, str]:
        own = self._files[form]
        bombs = [name for name in self._bombs if name.removesuffix("-2") == form]
        if bombs and draw.random() < 0.01:
            name = draw.choice(bombs)
            return self._bombs[name], f"bomb {name}"
        crafted = {
            "csv": _odd_csv,
            "csv-gz": _odd_csv,
            "json": _odd_json,
            "jsonl": _odd_json,
            "yml": _odd_feed,
        }.get(form)
        if form == "webdataset" and draw.random() < 0.6:
            return hostile_tar(self._samples(draw), draw, outside), "hostile archive"
        data = draw.choice(own)
        if form in ("xlsx", "ods") and draw.random() < 0.7:
            return changed_zip(data, draw, own, TOKENS), "members changed"
        if crafted is not None and draw.random() < 0.4:
            data, how = crafted(draw, data, outside)
            if form == "jsonl":
                data = data.replace(b"\n", b" ").replace(b"}, {", b"}\n{").strip(b"[]")
            return (gzipped(data) if form == "csv-gz" else data), how
        if form == "csv-gz" and draw.random() < 0.5:
            plain = draw.choice(self._files["csv"])
            return gzipped(mutated(plain, draw, self._files["csv"], TOKENS)), "mutated, packed"
        others = draw.choice((own, self._files[draw.choice(list(self._files))]))
        return mutated(data, draw, others, TOKENS), "bytes mutated"

    def _samples(self, draw: Random) -> list[tuple[str, bytes]]:
        entries: list[tuple[str, bytes]] = []
        for number, row in enumerate(ROWS):
            value: Any = {**row}
            if draw.random() < 0.3:
                value = mutated_value(value, draw, "/outside", 1)
            content = written(value)
            entries.append((f"{number:03}.json", content))
            entries.append((f"{number:03}.jpg", draw.choice(self._files["jpeg"])))
            if draw.random() < 0.1:
                entries.append((f"{number:03}.cls", draw.randbytes(5)))
                entries.append((f"{number:03}.txt", draw.randbytes(5)))
        return entries

    def _photos(self, form: str, draw: Random, folder: Path, outside: str) -> str:
        """A sound table that names photos in a hostile place, some of them by hostile names."""
        rows = [dict(row) for row in ROWS]
        for row in rows:
            if draw.random() < 0.3:
                row["image"] = draw.choice(PATHS).replace("OUTSIDE", outside)
        (folder / "catalogue").write_text(
            "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
        )
        entries = [(f"{row['product_id']}.jpg", draw.choice(self._files["jpeg"])) for row in ROWS]
        place = folder / "photos"
        if form == "photos-zip":
            data = hostile_zip(entries, draw, outside)
            if draw.random() < 0.4:
                data = mutated(data, draw, [data], TOKENS)
            place.write_bytes(data)
        elif form == "photos-tar":
            data = hostile_tar(entries, draw, outside)
            if draw.random() < 0.4:
                data = mutated(data, draw, [data], TOKENS)
            place = folder / "photos.tar"
            place.write_bytes(data)
        else:
            place.mkdir()
            for name, content in entries:
                way = draw.random()
                if way < 0.05:
                    os.mkfifo(place / name)
                elif way < 0.1:
                    (place / name).mkdir()
                elif way < 0.15:
                    (place / name).symlink_to(name)
                else:
                    (place / name).write_bytes(mutated(content, draw, [content], []))
        return f"hostile {form}"

    def _arrow(self, draw: Random, folder: Path) -> str:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from fuzz.arrow_tables import TABLES, drawn

        table = drawn(TABLES, draw)
        kept = []
        for at, name in enumerate(table.column_names):
            one = pa.Table.from_arrays([table.column(at)], names=[name])
            try:
                pq.write_table(one, io.BytesIO())
            except (pa.ArrowException, OSError):
                # Parquet has no such type.
                continue
            kept.append(at)
        table = table.select(kept)
        pq.write_table(
            table,
            folder / "catalogue.parquet",
            row_group_size=draw.choice((1, 5, 1000)),
            compression=draw.choice(("none", "zstd", "snappy")),
            use_dictionary=draw.random() < 0.5,
            store_schema=draw.random() < 0.8,
        )
        (folder / "catalogue.parquet").rename(folder / "catalogue")
        return str(table.schema).replace("\n", "; ")

    def _parts(self, draw: Random, folder: Path) -> str:
        place = folder / "catalogue"
        place.mkdir()
        own = self._files["parquet"]
        for number in range(draw.choice((1, 2, 3))):
            data = draw.choice(own)
            if draw.random() < 0.7:
                data = mutated(data, draw, own, TOKENS)
            (place / f"part-{number}.parquet").write_bytes(data)
        if draw.random() < 0.2:
            (place / draw.choice(("_SUCCESS", "x.txt", "x.parquet.tmp"))).write_bytes(b"x")
        if draw.random() < 0.1:
            (place / "sub=1").mkdir()
            (place / "sub=1/part-0.parquet").write_bytes(draw.choice(own))
        if draw.random() < 0.1:
            (place / "link.parquet").symlink_to(
                draw.choice(("../outside/victim.txt", "link.parquet", "nowhere"))
            )
        return "mutated parts"

    def _tasks(self, draw: Random, folder: Path, outside: str) -> str:
        copy_files(self.seeds / "store", folder / "store")
        tasks = [
            {
                "id": number,
                "data": {"product_id": number, "given_category_id": 1 + number % 3, "audit": "x"},
                "annotations": [
                    {
                        "id": 7,
                        "created_at": "2024-05-01T10:00:00Z",
                        "completed_by": {"email": "a@b.c"},
                        "was_cancelled": False,
                        "result": [
                            {
                                "from_name": "category",
                                "value": {"choices": ["Дом->Посуда->Кружка [2]"]},
                            }
                        ],
                    }
                ],
            }
            for number in range(3)
        ]
        if draw.random() < 0.7:
            data = written(mutated_value(tasks, draw, outside), draw)
        else:
            data = mutated(written(tasks), draw, [], TOKENS)
        (folder / "catalogue").write_bytes(data)
        return data[:300].decode("utf-8", "replace")

    def run(self, form: str, folder: Path) -> None:
        settings = noted(folder)
        path = folder / settings.get("catalogue", "catalogue")
        if form == "label-studio":
            _import(folder / "store", path)
            return
        images = None
        if form.startswith("photos"):
            images = folder / ("photos.tar" if form == "photos-tar" else "photos")
        given = {name: settings[name] for name in ("encoding", "delimiter") if name in settings}
        _ingest(
            path, folder / "store", images, settings["failures"], settings.get("keep", ()), given
        )


def _ingest(
    path: Path,
    place: Path,
    images: Path | None,
    failures: float | None,
    keep: Any = (),
    given: dict[str, str] | None = None,
) -> None:
    """Read a catalogue into a store, as `vitrina embed` does, and read the store again."""
    from vitrina import api
    from vitrina.data.options import Columns, ReadingOptions
    from vitrina.pipelines.change_guard import FailureLimit
    from vitrina.pipelines.embed import EmbedReport, _commit_products
    from vitrina.pipelines.ingest import ingest
    from vitrina.pipelines.ingest_result import IngestOptions
    from vitrina.pipelines.source_choice import source_of
    from vitrina.types import Modality

    columns = Columns(keep=tuple(keep), image="image" if images else None)
    reading = ReadingOptions(
        images=None if images is None else str(images), columns=columns, **(given or {})
    )
    store = api.Store.open(place)
    with closing(api.open_batch(path, store, reading, complete=True)) as catalogue:
        catalogue.check_complete()
        with store.writer("embed") as writer:
            options = IngestOptions(photos=True, failures=FailureLimit.of(failures))
            source = source_of(catalogue, store, None)
            done = ingest(catalogue, store, writer, source, options)
            models = {Modality.TEXT: "lexical", Modality.IMAGE: "thumbnail"}
            _commit_products(catalogue, store, writer, done, models)
            json.dumps(EmbedReport.of(store, catalogue, done).to_json(), default=str).encode()
    again = api.Store.open(place, create=False)
    found = api.describe(again)
    json.dumps(found, default=str)
    expect(found["products"] == done.fresh, f"products: {found['products']} of {done.fresh}")
    problems = api.verify(place).problems
    expect(not problems, f"a store that does not verify: {problems[:1]}")


def _import(place: Path, path: Path) -> None:
    from vitrina import api

    store = api.Store.open(place, create=False)
    added = api.import_decisions(store, path)
    again = api.Store.open(place, create=False)
    expect(len(again.decisions().all) == added, f"decisions: {added}")
    again.labels()
    json.dumps(api.describe(again), default=str)
    problems = api.verify(place).problems
    expect(not problems, f"a store that does not verify: {problems[:1]}")


def _add_audit(place: Path) -> None:
    """Suspects without an audit: what annotations are about."""
    from vitrina.audit.finding import Audit, Suspect
    from vitrina.store.store import Store

    store = Store.open(place)
    suspects = tuple(
        Suspect(number + 1, number, "x", 1 + number % 3, 2, 0.9, 0.1, 0.9) for number in range(3)
    )
    with store.writer("audit") as writer:
        Audit({"key": "x", "products": 6, "labelled": 6}, {1: "a"}, suspects).keep(store, writer)


# -- sound files ----------------------------------------------------------------------------------


def _sound() -> dict[str, list[bytes]]:
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
    plain: list[list[object]] = [
        ["product_id", "title", "category_id"],
        *([row["product_id"], row["title"].strip(), row["category_id"]] for row in ROWS),
    ]
    plain = [
        [cell.replace("&", "").replace("<", "") if isinstance(cell, str) else cell for cell in row]
        for row in plain
    ]
    photos = []
    for shade in ("red", "grey", "blue"):
        file = io.BytesIO()
        Image.new("RGB", (40, 30), shade).save(file, "JPEG")
        photos.append(file.getvalue())
    tar = hostile_tar([("001.json", written(ROWS[1])), ("001.jpg", photos[0])], _Calm(), "")
    return {
        "csv": [
            _csv(",", "utf-8"),
            _csv(";", "cp1251"),
            _csv("\t", "utf-16"),
            _csv(",", "utf-8-sig"),
        ],
        "csv-gz": [gzipped(_csv(",", "utf-8")), gzipped(_csv(";", "utf-8"))],
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
        "xls": [xls(plain)],
        "ods": [ods(plain)],
        "yml": [_feed(encoding) for encoding in ENCODINGS],
        "webdataset": [tar],
        "jpeg": photos,
    }


class _Calm(Random):
    """Draws that leave everything as it is."""

    def random(self) -> float:
        return 0.999

    def choice(self, seq: Any) -> Any:
        return seq[0]


def _csv(delimiter: str, encoding: str) -> bytes:
    import csv

    file = io.StringIO()
    writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return file.getvalue().encode(encoding, "replace")


def _feed(encoding: str) -> bytes:
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


def _odd_csv(draw: Random, data: bytes, _: str) -> tuple[bytes, str]:
    """Tables whose reading could take time that grows faster than they do."""
    size = draw.choice((10, 10, 1000, 1000, 30_000, 300_000))
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


def _odd_json(draw: Random, _: bytes, outside: str) -> tuple[bytes, str]:
    from fuzz.arrow_tables import JSON_VALUES, drawn

    size = draw.choice((10, 10, 1000, 1000, 30_000, 300_000))
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


def _odd_feed(draw: Random, data: bytes, outside: str) -> tuple[bytes, str]:
    """Feeds with entities, external files, depth and lying declarations."""
    size = draw.choice((10, 10, 1000, 1000, 30_000, 300_000))
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


TARGET = Readers()
