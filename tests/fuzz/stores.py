"""Stores: every file of a small real one, damaged or crafted, and used as the commands use it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from fuzz import operations
from fuzz.guard import SECRET
from fuzz.mutate import mutated, mutated_value, written
from fuzz.odd_files import odd_safetensors, odd_table
from fuzz.odd_places import with_links, with_owners_files, with_paths
from fuzz.outcomes import WronglyAcceptedError
from fuzz.sealed import (
    changed_manifest,
    live_files,
    manifests,
    read_manifest,
    replace_file,
    write_manifest,
)
from fuzz.sound_store import OWNERS, make_store
from fuzz.target import SOUND, Target, copy_files, expect, note, noted

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
        if form == SOUND:
            name = draw.choice(list(self._answers))
            note(folder, changed=None, operations=[name])
            return name
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
            how = with_paths(draw, store, outside)
        elif form == "links":
            how = with_links(draw, store, outside, self._all)
        elif form == "owners":
            how = with_owners_files(draw, store)
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
            used = live
            if name in operations.WRITING:
                # What it writes, also before it refuses the rest, is no longer the input.
                live = False
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
            if form == SOUND:
                expect(answer == self._answers[name], f"{name}: another answer than before")
            if form == "damaged" and used and name in self._answers:
                # Of a damaged file either nothing is used, or the damage is told.
                if name == "verify":
                    expect(not answer["ok"], "verify: finds nothing wrong with a damaged file")
                elif answer != self._answers[name]:
                    raise WronglyAcceptedError(f"{name}: another answer than of the sound store")
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
        content, how = odd_table((store / name).read_bytes(), draw)
        if name in self._live:
            replace_file(store, name, content, _rows(content) if draw.random() < 0.9 else None)
        else:
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

    def _rights(self, draw: Random, store: Path, outside: str) -> str:
        """A remembered reading that grants what only the user may."""
        odd = {
            "allow_private": draw.choice((True, 1, "yes")),
            "cache": draw.choice((outside, f"{outside}/folder", "../outside")),
        }
        if draw.random() < 0.5:
            odd.pop(draw.choice(list(odd)))
        if draw.random() < 0.3:
            limit = draw.choice(("workers", "max_bytes", "timeout", "tries"))
            odd[limit] = draw.choice((10**6, 10**15, 1e300))

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
        from vitrina.data.options import Columns, ReadingOptions
        from vitrina.errors import VitrinaError

        path = folder / "tmp" / "web.csv"
        path.write_text("product_id,title,image\n1,x,http://127.0.0.1:9/a.jpg\n")
        try:
            reading = ReadingOptions(images="web", columns=Columns(image="image"))
            opened = api.open_batch(path, api.Store.open(store, create=False), reading)
        except (VitrinaError, OSError):
            return
        with closing(opened):
            fetching = opened.reading.fetching
            expect(not fetching.allow_private, "rights: private addresses allowed by a store")
            expect(fetching.cache is None, "rights: a cache folder named by a store")


def _rows(content: bytes) -> int | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.ParquetFile(pa.BufferReader(content)).metadata.num_rows)
    except pa.ArrowException:
        return None


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


TARGET = Stores()
