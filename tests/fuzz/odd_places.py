"""Stores whose names lead elsewhere: paths in a commit, links, and files of the owner's."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from fuzz.guard import SECRET
from fuzz.mutate import PATHS
from fuzz.sealed import changed_manifest, live_files, manifests
from fuzz.sound_store import OWNERS


def with_paths(draw: Random, store: Path, outside: str) -> str:
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


def with_links(draw: Random, store: Path, outside: str, names: Sequence[str]) -> str:
    """Names of Vitrina's that are links, folders or pipes."""
    told = []
    for _ in range(draw.choice((1, 1, 2))):
        name = draw.choice(
            (
                ".lock", ".lock-owner.json", ".tmp-writer", ".tmp-store.json", "retired",
                "products",
                "decisions", "spaces", "models", "indexes", "audits", "manifests", "store.json",
                "errors.parquet", "spaces/text-lexical", "spaces/text-lexical/space.json",
                "spaces/text-lexical/errors.parquet", "retired/products", "retired/x",
                "products/part-00009-000000000000.parquet", draw.choice(names),
                draw.choice(names),
            )
        )  # fmt: skip
        path = store / name
        target = draw.choice(
            (
                f"{outside}/folder", f"{outside}/victim.txt", f"{outside}/missing", outside,
                "../outside/folder", ".", "..", name, "/dev/zero", "/dev/null",
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


def with_owners_files(draw: Random, store: Path) -> str:
    """Files of the owner's beside Vitrina's own, some of them by names like these."""
    told = []
    for at in range(draw.choice((1, 3))):
        name = draw.choice(
            (
                "products/part-00001-{digest}.parquet", "products/{at}.parquet",
                "products/.hidden",
                "retired/products/part-00000-{digest}.parquet", "retired/{at}/{at}.txt",
                "spaces/text-lexical/part-000009-{digest}.parquet",
                "spaces/mine/part-1.parquet",
                "models/mine-{digest}/head.safetensors", "indexes/x-{digest}/mine.txt",
                "audits/audit-{digest}/mine.txt", "manifests/notes.txt", "manifests/{at}.json",
                "decisions/notes.txt", ".errors-{digest}.parquet", "part-00000.parquet",
                "part-{at}",
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
