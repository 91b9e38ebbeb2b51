"""Stores: every file of a small real one, damaged or crafted, and used as the commands use it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import struct
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from fuzz import operations
from fuzz.guard import SECRET
from fuzz.mutate import PATHS, mutated, mutated_value, odd_value, written
from fuzz.outcomes import WronglyAcceptedError
from fuzz.sealed import (
    changed_manifest,
    live_files,
    manifests,
    read_manifest,
    replace_file,
    write_manifest,
)
from fuzz.target import Target, copy_files, expect, note, noted

TOKENS = (
    b"PAR1",
    b"{",
    b"}",
    b'"path"',
    b'"sha256"',
    b"../",
    b"null",
    b"IxFI",
    b"IwFl",
    b"\0\0\0\0",
)
OWNERS = {
    "products/notes.txt": b"mine",
    "products/part-of-mine.parquet": b"mine",
    "retired/keep.txt": b"mine",
    "retired/part-00000-mine.parquet": b"mine",
    "spaces/part-mine.bin": b"mine",
    "spaces/text-lexical/part-notes.txt": b"mine",
    "models/mine/notes.txt": b"mine",
    "notes.txt": b"mine",
}
"""Files that the store's owner put beside Vitrina's own; they are never deleted or changed."""
FORMS = (
    "damaged",
    "damaged",
    "manifest",
    "paths",
    "cards",
    "tables",
    "weights",
    "indexes",
    "bytes",
    "links",
    "owners",
    "rights",
)


class Stores(Target):
    name = "stores"
    forms = tuple(dict.fromkeys(FORMS))

    def prepare(self, folder: Path) -> None:
        make_store(folder)
        answers = {}
        for name in (*operations.READING, *operations.WRITING):
            if name in ("repair", "train"):
                continue
            place = folder / "copy"
            (folder / "tmp").mkdir(exist_ok=True)
            copy_files(folder / "store", place)
            answers[name] = operations.run(name, place, folder)
            shutil.rmtree(place)
        (folder / "answers.json").write_text(json.dumps(answers))

    def load(self) -> None:
        from fuzz.arrow_tables import TABLES, drawn

        # Here, or each child would look through the strategies anew.
        drawn(TABLES, Random(0))
        store = self.seeds / "store"
        self._answers = json.loads((self.seeds / "answers.json").read_text())
        value = read_manifest(manifests(store)[-1])
        self._live = sorted({entry["path"] for entry in live_files(value)})
        self._all = sorted(
            str(path.relative_to(store))
            for path in store.rglob("*")
            if path.is_file() and str(path.relative_to(store)) not in OWNERS
        )

    def warm_up(self) -> None:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as name:
            (Path(name) / "tmp").mkdir()
            place = Path(name) / "store"
            copy_files(self.seeds / "store", place)
            for operation in self._answers:
                try:
                    operations.run(operation, place, self.seeds)
                except Exception:
                    continue

    def make(self, form: str, draw: Random, folder: Path) -> str:
        store = folder / "store"
        copy_files(self.seeds / "store", store)
        outside = str(folder / "outside")
        changed: str | None = None
        if form not in ("owners", "paths"):
            for name in OWNERS:
                (store / name).unlink()
        if form == "damaged":
            changed, how = self._damaged(draw, store)
        elif form == "manifest":
            which = draw.choice((-1, -1, -1, 0))
            path = manifests(store)[which]
            value = mutated_value(read_manifest(path), draw, outside)
            if isinstance(value, dict):
                write_manifest(path, value)
                if b"@" in path.read_bytes():
                    path.write_bytes(written(json.loads(path.read_bytes())))
            else:
                path.write_bytes(written(value))
            how = f"manifest {which}"
        elif form == "paths":
            how = self._paths(draw, store, outside)
        elif form == "links":
            how = self._links(draw, store, outside)
        elif form == "owners":
            how = self._owners(draw, store)
        elif form == "rights":
            how = self._rights(draw, store, outside)
        else:
            how = getattr(self, f"_{form}")(draw, store, outside)
        note(folder, form=form, changed=changed, operations=_chosen(form, how, draw))
        return how

    def run(self, form: str, folder: Path) -> None:
        from vitrina.errors import VitrinaError

        told, store = noted(folder), folder / "store"
        refusals = []
        names = told["operations"]
        owners = {name for name in OWNERS if (store / name).is_file()}
        if form == "owners":
            # What is still being written when a writer starts is a crash's, whoever wrote it.
            mine = json.loads((folder / "mine.json").read_text())
            owners.update(name for name in mine if ".tmp-" not in name)
        live = told["changed"] in self._live
        for name in names:
            try:
                answer = operations.run(name, store, self.seeds)
            except (VitrinaError, OSError) as err:
                refusals.append(err)
                continue
            except WronglyAcceptedError:
                raise
            except Exception as err:
                err.add_note(f"in {name}")
                raise
            if form == "damaged" and live and name in self._answers:
                # Of a damaged file either nothing is used, or the damage is told.
                if name == "verify":
                    expect(not answer["ok"], "verify: finds nothing wrong with a damaged file")
                elif answer != self._answers[name]:
                    raise WronglyAcceptedError(f"{name}: another answer than of the sound store")
            if name in operations.WRITING:
                # What it wrote is no longer the input.
                live = False
        for name in owners:
            there = store / name
            expect(
                there.is_file() and there.read_bytes() == b"mine",
                f"an owner's file is gone: {name}",
            )
        if form != "links":
            for path in store.rglob("*"):
                if path.is_file() and not path.is_symlink() and SECRET in path.read_bytes():
                    raise WronglyAcceptedError(f"copied from outside: {path.relative_to(store)}")
        if form == "rights":
            self._check_rights(store, folder)
        if len(refusals) == len(names):
            raise refusals[0]

    # -- hostile stores ---------------------------------------------------------------------------

    def _damaged(self, draw: Random, store: Path) -> tuple[str, str]:
        """One file's bytes changed, and no checksum."""
        name = draw.choice((draw.choice(self._live), draw.choice(self._all)))
        path = store / name
        data = path.read_bytes()
        if draw.random() < 0.5:
            changed = bytearray(data or b"\0")
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
            new = bytes(changed)
        else:
            new = mutated(data, draw, [data], TOKENS)
            if draw.random() < 0.5:
                # Of the right size.
                new = new[: len(data)].ljust(len(data), b"\0")
        if draw.random() < 0.03:
            path.unlink()
            return name, f"{name} deleted"
        status = path.stat()
        path.write_bytes(new)
        if draw.random() < 0.5:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return (name if new != data else "", f"{name} damaged")

    def _paths(self, draw: Random, store: Path, outside: str) -> str:
        """Names in a commit that lead out of the store, or to what is not Vitrina's."""
        which = draw.choice((-1, -1, 0, 0, 1))
        told: list[str] = []

        def change(value: dict[str, Any]) -> None:
            for _ in range(draw.choice((1, 1, 2))):
                entries = live_files(value)
                name = draw.choice((*PATHS, *OWNERS, "spaces/x/../../../outside/victim.txt"))
                name = name.replace("OUTSIDE", outside)
                told.append(name)
                odd = {"path": name, "rows": 0, "bytes": len(SECRET), "sha256": "0" * 64}
                way = draw.randrange(6)
                if way == 0 and entries:
                    draw.choice(entries)["path"] = name
                elif way == 1:
                    value["models"]["old"] = {"path": name.rpartition("/")[0], "files": [odd]}
                elif way == 2:
                    value["rejected"] = odd
                elif way == 3:
                    value["products"] = [*value["products"], odd]
                elif way == 4 and value["spaces"]:
                    space = draw.choice(list(value["spaces"].values()))
                    space[draw.choice(("shards", "errors"))] = draw.choice(([odd], odd))
                else:
                    kind = draw.choice(("spaces", "indexes", "models", "encoders", "active"))
                    holder = value.get(kind) or {}
                    for key in list(holder)[:1]:
                        holder[name] = holder.pop(key)
                    if kind == "spaces":
                        value["order"] = list(holder)

        changed_manifest(store, max(which, -len(manifests(store))) % len(manifests(store)), change)
        return f"paths {told} in manifest {which}"

    def _cards(self, draw: Random, store: Path, outside: str) -> str:
        names = [name for name in self._live if name.endswith(".json")]
        others = ["store.json", ".lock-owner.json", "spaces/text-lexical/space.json"]
        name = draw.choice((draw.choice(names), draw.choice(names), draw.choice(others)))
        path = store / name
        value = json.loads(path.read_bytes()) if path.exists() else {"pid": 1, "host": "x"}
        content = written(mutated_value(value, draw, outside), draw)
        if name in self._live:
            replace_file(store, name, content)
        else:
            path.write_bytes(content)
        return f"{name}: values changed"

    def _tables(self, draw: Random, store: Path, _: str) -> str:
        tables = [name for name in self._live if name.endswith(".parquet")]
        tables += [name for name in self._all if name.startswith("decisions/")]
        name = draw.choice(tables)
        content, how = _odd_table((store / name).read_bytes(), draw)
        if name in self._live:
            replace_file(store, name, content)
        else:
            import hashlib

            (store / name).unlink()
            digest = hashlib.sha256(content).hexdigest()[:12]
            (store / f"{name.rpartition('-')[0]}-{digest}.parquet").write_bytes(content)
        return f"{name}: {how}"

    def _weights(self, draw: Random, store: Path, outside: str) -> str:
        name = draw.choice([name for name in self._live if name.endswith(".safetensors")])
        content, how = odd_safetensors((store / name).read_bytes(), draw, outside)
        replace_file(store, name, content)
        return f"{name}: {how}"

    def _indexes(self, draw: Random, store: Path, _: str) -> str:
        names = [name for name in self._live if name.startswith("indexes/")]
        name = draw.choice([name for name in names if name.endswith(".faiss")] or names)
        data = (store / name).read_bytes()
        content = bytearray(data)
        for _ in range(draw.choice((1, 1, 2, 5))):
            size = draw.choice((1, 4, 8))
            at = draw.randrange(max(1, min(len(content) - 8, draw.choice((60, 400, len(content))))))
            if draw.random() < 0.3:
                at = max(0, len(content) - 8 - at)
            number = draw.choice((0, -1, 1, 39, 40, 41, 1000, 2**31 - 1, 2**40, -(2**40), 2**62))
            content[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "little")
        new = mutated(data, draw, [data], TOKENS) if draw.random() < 0.3 else bytes(content)
        replace_file(store, name, new)
        return f"{name}: numbers changed"

    def _bytes(self, draw: Random, store: Path, _: str) -> str:
        name = draw.choice(self._live)
        data = (store / name).read_bytes()
        replace_file(store, name, mutated(data, draw, [data], TOKENS))
        return f"{name}: bytes mutated, checksum right"

    def _links(self, draw: Random, store: Path, outside: str) -> str:
        """Names of Vitrina's that are links, folders or pipes."""
        told = []
        for _ in range(draw.choice((1, 1, 2))):
            name = draw.choice(
                (
                    ".lock", ".lock-owner.json", ".tmp-writer", ".tmp-store.json", "retired", "products",
                    "decisions", "spaces", "models", "indexes", "audits", "manifests", "store.json",
                    "errors.parquet", "spaces/text-lexical", "spaces/text-lexical/space.json",
                    "spaces/text-lexical/errors.parquet", "retired/products", "retired/x",
                    "products/part-00009-000000000000.parquet", draw.choice(self._live),
                    draw.choice(self._all),
                )
            )  # fmt: skip
            path = store / name
            target = draw.choice(
                (
                    f"{outside}/folder", f"{outside}/victim.txt", f"{outside}/missing", outside,
                    "../outside/folder", ".", "..", name, "/etc/passwd", "/dev/zero", "/dev/null",
                )
            )  # fmt: skip
            way = draw.random()
            if path.is_symlink() or not path.parent.is_dir():
                continue
            aside = None
            if path.exists():
                aside = path.with_name(f"aside-{len(told)}")
                path.rename(aside)
            if way < 0.8:
                if aside is not None and aside.is_dir() and draw.random() < 0.4:
                    # A link to the real folder, moved out of the store.
                    target = str(store.parent / "outside" / f"moved-{len(told)}")
                    aside.rename(target)
                path.symlink_to(target)
                told.append(f"{name} -> {target}")
            elif way < 0.9:
                path.mkdir()
                told.append(f"{name} is a folder")
            else:
                os.mkfifo(path)
                told.append(f"{name} is a pipe")
        return "; ".join(told)

    def _owners(self, draw: Random, store: Path) -> str:
        """Files of the owner's beside Vitrina's own, some of them by names like these."""
        told = []
        for at in range(draw.choice((1, 3))):
            name = draw.choice(
                (
                    "products/part-00001-{digest}.parquet", "products/{at}.parquet", "products/.hidden",
                    "retired/products/part-00000-{digest}.parquet", "retired/{at}/{at}.txt",
                    "spaces/text-lexical/part-000009-{digest}.parquet", "spaces/mine/part-1.parquet",
                    "models/mine-{digest}/head.safetensors", "indexes/x-{digest}/mine.txt",
                    "audits/audit-{digest}/mine.txt", "manifests/notes.txt", "manifests/{at}.json",
                    "decisions/notes.txt", ".errors-{digest}.parquet", "part-00000.parquet", "part-{at}",
                    ".tmp-mine", "errors-of-mine.parquet", "retired/.tmp-mine", "store.json.bak",
                )
            ).format(digest="0123456789ab", at=at)  # fmt: skip
            path = store / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(b"mine")
                told.append(name)
        (store.parent / "mine.json").write_text(json.dumps(told))
        return f"owner's files: {', '.join(told)}"

    def _rights(self, draw: Random, store: Path, outside: str) -> str:
        """A remembered reading that grants what only the user may."""
        odd = {
            "allow_private": draw.choice((True, 1, "yes")),
            "cache": draw.choice((outside, f"{outside}/folder", "../outside", "/etc")),
        }
        if draw.random() < 0.5:
            odd.pop(draw.choice(list(odd)))

        def change(value: dict[str, Any]) -> None:
            def grant(inner: Any) -> None:
                if isinstance(inner, dict):
                    if "fetching" in inner:
                        inner["fetching"].update(odd)
                        inner["images"] = "web"
                    for one in inner.values():
                        grant(one)
                elif isinstance(inner, list):
                    for one in inner:
                        grant(one)

            grant(value["reading"])

        changed_manifest(store, -1, change)
        return f"rights {odd}"

    def _check_rights(self, store: Path, folder: Path) -> None:
        from vitrina import api
        from vitrina.errors import VitrinaError

        path = folder / "tmp" / "web.csv"
        path.write_text("product_id,title,image\n1,x,http://127.0.0.1:9/a.jpg\n")
        try:
            opened = api.open_batch(path, api.Store.open(store, create=False), images="web")
        except (VitrinaError, OSError):
            return
        with closing(opened):
            fetching = opened.reading.fetching
            expect(not fetching.allow_private, "rights: private addresses allowed by a store")
            expect(fetching.cache is None, "rights: a cache folder named by a store")


TARGET = Stores()


def _chosen(form: str, how: str, draw: Random) -> list[str]:
    """Operations to run: those that read what was changed are likelier."""
    likely = {
        "products": ("info", "classify", "vectors", "embed", "compact", "neighbours"),
        "spaces": ("vectors", "embed", "compact", "index"),
        "indexes": ("neighbours", "classify", "index", "info"),
        "models/fused": ("classify", "info"),
        "models/": ("classify", "embed", "neighbours"),
        "audits": ("audit", "review", "export", "report"),
        "decisions": ("info", "review", "decide", "export", "compact"),
        "manifest": ("info", "embed", "compact", "repair", "verify"),
        "rights": ("classify", "embed", "info"),
    }
    own = [name for start, names in likely.items() if start in how for name in names]
    pool = [*own * 3, *operations.READING, *operations.WRITING[:-1]]
    chosen = [draw.choice(pool)]
    if form in ("paths", "links", "owners"):
        chosen = draw.choice(
            (["embed", "compact"], ["embed", "embed", "embed"], ["repair"], ["compact"], chosen)
        )
    elif draw.random() < 0.5:
        chosen.append(draw.choice(pool))
    if draw.random() < 0.01:
        chosen.append("train")
    return list(dict.fromkeys(chosen)) if form not in ("paths", "links", "owners") else chosen


def make_store(folder: Path) -> None:
    """A small store with all that one may hold: two sources' commits, indexes of three kinds, a
    head, an audit, decisions, files put aside, errors, and files of its owner's."""
    from vitrina import api
    from vitrina.data.sample import write_sample
    from vitrina.store.decisions import Decision, add_decisions
    from vitrina.types import Action

    sample = write_sample(folder / "catalogue", products=50, seed=0)
    with closing(api.Catalogue.read(sample.train)) as catalogue:
        rows = [
            {
                "product_id": one.product_id,
                "title": one.title,
                "description": one.description,
                "category_id": one.category_id,
                "category_name": one.category_name,
            }
            for batch in catalogue.batches()
            for one in batch.products
        ]
    bad = {
        "product_id": "",
        "title": "без номера",
        "description": "",
        "category_id": "",
        "category_name": "",
    }
    _write_csv(folder / "first.csv", [*rows, bad])
    changed = [
        {**row, "title": f"{row['title']} новый"} if at % 9 == 0 else row
        for at, row in enumerate(rows)
    ]
    _write_csv(folder / "again.csv", [*changed[2:], bad])
    _write_csv(
        folder / "second.csv", [*rows[4:], {**rows[0], "product_id": 9999, "title": "Новая ваза"}]
    )
    _write_csv(
        folder / "batch.csv", [{**row, "product_id": f"{row['product_id']}0"} for row in rows[:6]]
    )
    place = folder / "store"
    template = "images/train/{product_id}.jpg"
    for name in ("first.csv", "again.csv"):
        store = api.Store.open(place)
        with closing(
            api.Catalogue.read(folder / name, images=sample.images, image_template=template)
        ) as catalogue:
            api.embed(
                catalogue,
                store,
                text="lexical",
                image="thumbnail",
                max_failures=1.0,
                accept_changes=True,
            )
    store = api.Store.open(place)
    api.build_index(store, "fused")
    api.build_index(api.Store.open(place), "text", factory="IVF2,Flat")
    api.build_index(api.Store.open(place), "image", factory="HNSW8,Flat")
    api.train(api.Store.open(place), "logistic", epochs=2)
    from audited import audited

    store = audited(api.Store.open(place), 8, {"store": "shelf", "time": "2024-05-01T10:00:00"})
    ids = store.products.ids.to_pylist()
    for number, action in enumerate((Action.KEEP, Action.SKIP)):
        one = Decision(
            product_id=ids[number],
            action=action,
            given=rows[0]["category_id"],
            category=rows[0]["category_id"] if action is Action.KEEP else None,
            reviewer="A",
        )
        add_decisions(store.files, store.products, [one])
    for name, content in OWNERS.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    (place / ".lock-owner.json").write_text(json.dumps({"host": "x", "pid": 1, "job": "embed"}))
    api.verify(place)


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _odd_table(data: bytes, draw: Random) -> tuple[bytes, str]:
    """A table with a column changed, missing, of another type, or of odd values."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fuzz.arrow_tables import TABLES, drawn

    table = pq.read_table(io.BytesIO(data))
    column = draw.randrange(max(1, table.num_columns))
    name = table.column_names[column]
    kind, rows = table.schema.field(column).type, len(table)
    way = draw.randrange(9)
    how = ("missing", "null", "text", "odd numbers", "another table", "rows repeated", "no rows",
           "twice", "nan")[way]  # fmt: skip
    try:
        if way == 0:
            table = table.drop_columns([name])
        elif way == 1:
            nothing = pa.nulls(rows, kind)
            table = table.set_column(column, pa.field(name, kind), nothing)
        elif way == 2:
            table = table.set_column(
                column, name, pa.array([draw.choice(("", "x", "9" * 400))] * rows)
            )
        elif way == 3:
            number = draw.choice((-1, 2**62, -(2**63), 40, 10**9))
            table = table.set_column(
                column, name, pa.array([number] * rows, pa.int64()).cast(kind, safe=False)
            )
        elif way == 4:
            table = drawn(TABLES, draw)
        elif way == 5:
            table = pa.concat_tables([table] * draw.choice((2, 50)))
        elif way == 6:
            table = table.slice(0, 0)
        elif way == 7:
            table = table.append_column(name, table.column(column))
        elif pa.types.is_fixed_size_list(kind):
            size = draw.choice((kind.list_size, 1, kind.list_size + 1))
            value = draw.choice((np.nan, np.inf, 0.0, 1e4, -1.0))
            flat = pa.array(np.full(rows * size, value, np.float16))
            flat = flat.cast(kind.value_type)
            table = table.set_column(column, name, pa.FixedSizeListArray.from_arrays(flat, size))
        else:
            table = table.set_column(column, name, pa.array([odd_value(draw, "x")] * rows))
    except (pa.ArrowException, TypeError, ValueError, OverflowError, UnicodeError):
        table, how = table.slice(0, max(0, rows - 1)), "a row less"
    file = io.BytesIO()
    try:
        pq.write_table(table, file, compression="zstd")
    except (pa.ArrowException, OSError):
        return data[:-5], "cut"
    return file.getvalue(), f"{name} {how}"


def odd_safetensors(data: bytes, draw: Random, outside: str) -> tuple[bytes, str]:
    """Tensors with a changed header, or with odd numbers."""
    (size,) = struct.unpack_from("<Q", data)
    head, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    if draw.random() < 0.5:
        name = draw.choice([name for name in head if name != "__metadata__"])
        start, stop = head[name]["data_offsets"]
        value = draw.choice((b"\xff", b"\0", b"\x7f", b"\x80", draw.randbytes(4)))
        length = draw.choice((stop - start, min(stop - start, 8)))
        odd = (value * length)[:length]
        return data[: 8 + size + start] + odd + data[
            8 + size + start + length :
        ], f"numbers of {name}"
    way = draw.randrange(5)
    if way == 0:
        name = draw.choice([name for name in head if name != "__metadata__"])
        shape = head[name]["shape"]
        head[name]["shape"] = draw.choice(
            (shape[::-1], [1, *shape], [*shape, 1], [0], [2**40, 2**40])
        )
    elif way == 1:
        name = draw.choice([name for name in head if name != "__metadata__"])
        head[f"{name}x"] = head.pop(name)
    elif way == 2:
        name = draw.choice([name for name in head if name != "__metadata__"])
        head[name]["dtype"] = draw.choice(
            ("F16", "F64", "I64", "U8", "BOOL", "BF16", "F8_E4M3", "X")
        )
    else:
        head = mutated_value(head, draw, outside)
    text = written(head)
    told = draw.choice((len(text), len(text), len(text), 2**63, len(text) + 8))
    return struct.pack("<Q", told) + text + body, "header changed"
