"""What a run leaves, and what an uninterrupted one leaves."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kills.commands import Command
from kills.runs import whole

VOLATILE = re.compile(
    r"seconds|second|took|stages|created|time|moment|rate|bottleneck|throughput|compute"
)
"""Keys of what tells of a run, not of its result. compute: numbers that were fastest here, then."""
DIGEST = re.compile(r"-[0-9a-f]{12}(?=[./]|$)")
_MADE = re.compile(rb"\d\d\.\d\d\.\d{4} \d\d:\d\d")
"""The minute in which a page was made."""


def leftovers(folder: Path) -> list[str]:
    """Half-written files and the record of a writer, wherever a run may write."""
    found = [
        *folder.rglob(".tmp-*"),
        *folder.rglob("*.unfinished"),
        *folder.rglob(".lock-owner.json"),
    ]
    found += [one for one in folder.rglob("*.part") if one.is_file()]
    return sorted(str(one.relative_to(folder)) for one in found)


def files(folder: Path) -> dict[str, str]:
    """The checksum of every file that a command may have written, by its path."""
    paths = [one for one in folder.rglob("*") if one.is_file()]
    found = {
        one.relative_to(folder).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in paths
    }
    return {name: digest for name, digest in found.items() if not name.startswith("cache/")}


def stored(folder: Path) -> dict[str, str]:
    """The same of the store alone, without what tells when it was made."""
    found = files(folder / "store")
    return {name: digest for name, digest in found.items() if name not in ("store.json", ".lock")}


def essence(folder: Path) -> dict[str, str]:
    """What runs of one input leave alike: contents by names without checksums, pages without the
    minute they were made in, and the values in JSON files, without times. Where several names are
    alike, such as those of two commits' indexes, all their values."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, digest in files(folder).items():
        plain = DIGEST.sub("", name)
        if plain.startswith(
            ("store/manifests", "store/retired", "store/.lock", "store/store.json")
        ) or plain.endswith("/.shards.json"):
            continue
        if name.endswith(".json"):
            with suppress(ValueError):
                for path, value in leaves(json.loads((folder / name).read_text("utf-8")), plain):
                    found[path].add(value)
                continue
        if name.endswith(".html"):
            page = _MADE.sub(b"", (folder / name).read_bytes())
            digest = hashlib.sha256(page).hexdigest()
        found[plain].add(digest)
    return {name: " ".join(sorted(values)) for name, values in found.items()}


def leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, one in value.items():
            if not VOLATILE.search(key):
                yield from leaves(one, f"{path}:{key}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from leaves(one, f"{path}:{number}")
    else:
        yield path, repr(value)


COMPUTE = "cache/compute"


@dataclass
class Uninterrupted:
    """What an uninterrupted run leaves and how long it takes."""

    seconds: float
    stored: dict[str, str]
    stable: dict[str, str]
    largest: int

    @classmethod
    def of(cls, command: Command, base: Path, work: Path) -> Uninterrupted:
        found, ends = [], []
        for _ in range(2):
            shutil.copytree(base, folder := work / "run")
            ends.append(whole(command.arguments, folder))
            found.append((stored(folder), essence(folder)))
            sizes = [one.stat().st_size for one in folder.rglob("*") if one.is_file()]
            if (folder / COMPUTE).exists():
                # Which numbers are fastest a machine measures once, and under load not always
                # alike.
                shutil.copytree(folder / COMPUTE, base / COMPUTE, dirs_exist_ok=True)
            shutil.rmtree(folder)
        (first, one), (second, other) = found
        if command.exact:
            assert first == second, "two uninterrupted runs differ"
        assert one.keys() == other.keys(), (
            f"two uninterrupted runs leave other files: {one.keys() ^ other.keys()}"
        )
        stable = {name: value for name, value in one.items() if other[name] == value}
        return cls(min(one.seconds for one in ends), first, stable, max(sizes))

    def differences(self, folder: Path, exact: bool) -> list[str]:
        if exact:
            pairs = stored(folder).items() ^ self.stored.items()
        else:
            found = essence(folder)
            pairs = {
                (name, value) for name, value in self.stable.items() if found.get(name) != value
            }
        return sorted({name for name, _ in pairs})
