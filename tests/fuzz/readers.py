"""Catalogues: read, hashed and committed as `vitrina embed` does, up to the encoders."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from random import Random
from typing import Any

from fuzz.archives import (
    bloated_zip,
    changed_zip,
    gzipped,
    hostile_tar,
    hostile_zip,
    repeated_cell_bomb,
    shared_text_bomb,
    xls,
)
from fuzz.catalogues import (
    ENCODINGS,
    PLAIN,
    ROWS,
    TOKENS,
    csv_of,
    feed_of,
    odd_csv,
    odd_feed,
    odd_json,
    sound_catalogues,
)
from fuzz.ingesting import add_audit, import_annotations, ingest_catalogue
from fuzz.mutate import PATHS, mutated, mutated_value, written
from fuzz.target import SOUND, Target, copy_files, note, noted


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

        for form, contents in sound_catalogues().items():
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
        (folder / "bombs/yml").write_bytes(gzipped(feed_of("utf-8")[:-40] + b"<b>" * 30_000_000))
        workbook = sound_catalogues()["xlsx"][0]
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
        (folder / "bombs/xlsx-3").write_bytes(shared_text_bomb(workbook))
        (folder / "bombs/ods").write_bytes(repeated_cell_bomb())
        store = folder / "store"
        catalogue = folder / "goods.csv"
        catalogue.write_bytes(csv_of(",", "utf-8"))
        ingest_catalogue(catalogue, store, None, 1.0)
        add_audit(store)

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
        if form == SOUND:
            kind = draw.choice([kind for kind in self.forms if kind in self._files])
            name = "catalogue.tar" if kind == "webdataset" else "catalogue"
            at = draw.randrange(len(self._files[kind]))
            (folder / name).write_bytes(self._files[kind][at])
            # The encoding of a table is found out if it is one of Unicode's.
            named = {"encoding": "cp1251"} if (kind, at) == ("csv", 1) else {}
            note(folder, catalogue=name, failures=None, **named)
            return f"{kind} {at}"
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
        bombs = [name for name in self._bombs if name.rstrip("-23") == form]
        if bombs and draw.random() < 0.01:
            name = draw.choice(bombs)
            return self._bombs[name], f"bomb {name}"
        crafted = {
            "csv": odd_csv,
            "csv-gz": odd_csv,
            "json": odd_json,
            "jsonl": odd_json,
            "yml": odd_feed,
        }.get(form)
        if form == "webdataset" and draw.random() < 0.6:
            return hostile_tar(self._samples(draw), draw, outside), "hostile archive"
        if form == "xls" and draw.random() < 0.6:
            return xls(PLAIN, lambda stream: mutated(stream, draw, [stream], TOKENS)), "records"
        data = draw.choice(own)
        if form in ("xlsx", "ods") and draw.random() < 0.7:
            return changed_zip(data, draw, own, TOKENS), "members changed"
        if crafted is not None and draw.random() < 0.4:
            if form == "csv-gz":
                data = draw.choice(self._files["csv"])
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
                # Some types can't be cut into row groups.
                pq.write_table(one, io.BytesIO(), row_group_size=1)
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
                draw.choice(("link.parquet", "nowhere", "/dev/null"))
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
            import_annotations(folder / "store", path)
            return
        images = None
        if form.startswith("photos"):
            images = folder / ("photos.tar" if form == "photos-tar" else "photos")
        given = {name: settings[name] for name in ("encoding", "delimiter") if name in settings}
        ingest_catalogue(
            path, folder / "store", images, settings["failures"], settings.get("keep", ()), given
        )


TARGET = Readers()
