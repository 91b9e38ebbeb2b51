"""Stores changed the way someone would who knows the format: checksums and names fit again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FOLDERS = ("indexes/", "models/", "audits/")


def to_json(value: Any) -> bytes:
    """As Vitrina writes JSON: what a manifest's checksum is over."""
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)
    return (text + "\n").encode("utf-8", "surrogatepass")


def manifests(store: Path) -> list[Path]:
    """The commits' files, the newest last."""
    return sorted((store / "manifests").glob("*.json"))


def read_manifest(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_bytes())
    value.pop("sha256")
    return value


def write_manifest(path: Path, value: Any, content: bytes | None = None) -> None:
    """Write a commit with its checksum. content: its JSON, where `value` can't be written so."""
    if isinstance(value, dict) and content is None:
        content = to_json({**value, "sha256": hashlib.sha256(to_json(value)).hexdigest()})
    path.write_bytes(to_json(value) if content is None else content)


def live_files(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of files that a commit names, each once."""
    found = {id(entry): entry for entry in _entries(value)}
    return list(found.values())


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if {"path", "bytes", "sha256"} <= value.keys():
            yield value
        for inner in value.values():
            yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)


def replace_file(store: Path, name: str, content: bytes, rows: int | None = None) -> str:
    """Give a file of the newest commit other content, and its entries the checksum and name that
    go with it. rows: how many they tell of from then on. Returns its name from then on."""
    path = manifests(store)[-1]
    value = read_manifest(path)
    digest = hashlib.sha256(content).hexdigest()
    named = {entry["path"]: entry for entry in live_files(value)}
    before = named[name]["sha256"]
    for entry in live_files(value):
        if entry["path"] == name:
            entry.update(bytes=len(content), sha256=digest)
            if rows is not None and entry["rows"]:
                entry["rows"] = rows
    (store / name).write_bytes(content)
    renames = {name: name.replace(before[:12], digest[:12])}
    folder = name.rpartition("/")[0]
    if name.startswith(FOLDERS):
        beside = {
            entry["path"].removeprefix(f"{folder}/"): entry["sha256"]
            for entry in live_files(value)
            if entry["path"].startswith(f"{folder}/")
        }
        whole = hashlib.sha256(to_json(beside)).hexdigest()[:12]
        renames = {folder: f"{folder.rpartition('-')[0]}-{whole}"}
    for old, new in renames.items():
        if old != new:
            if (store / new).exists():
                continue
            (store / old).rename(store / new)
            value = _renamed(value, old, new)
            name = name.replace(old, new)
    write_manifest(path, value)
    return name


def _renamed(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, old, new) for inner in value]
    if isinstance(value, str) and (value == old or value.startswith(f"{old}/")):
        return new + value[len(old) :]
    return value


def changed_manifest(store: Path, which: int, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change one commit's value, and make its checksum fit."""
    path = manifests(store)[which]
    value = read_manifest(path)
    changed = change(value)
    write_manifest(path, value if changed is None else changed)
