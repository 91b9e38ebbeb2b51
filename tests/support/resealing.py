"""A store whose files were changed by hand, with a manifest that fits: as a stranger makes it."""

import hashlib
from dataclasses import replace
from functools import cache

from vitrina.store import layout
from vitrina.store.entries import FolderEntry
from vitrina.store.files import checksum, folder_checksum
from vitrina.store.history import newest
from vitrina.store.local import LocalFiles
from vitrina.store.manifest import Manifest


def reseal(root, rows=None):
    """Let the newest manifest of a store say what its files are by now, and give them the names
    that go with it. Returns the names that changed, each with what it is now.

    rows: of some names, how many rows to tell of.
    """
    files = LocalFiles(root)
    manifest = newest(files)
    renamed = {}

    @cache
    def entry(one):
        path = root / one.path
        new = replace(
            one,
            bytes=path.stat().st_size,
            sha256=checksum(path),
            rows=(rows or {}).get(one.path, one.rows),
        )
        digests = one.sha256[: layout.DIGEST], new.sha256[: layout.DIGEST]
        if new.sha256 != one.sha256 and digests[0] in one.name:
            new = replace(new, path=one.path.replace(*digests))
            path.rename(root / new.path)
            renamed[one.path] = new.path
        return new

    @cache
    def folder(one):
        if one is None:
            return None
        new = FolderEntry(one.path, tuple(map(entry, one.files)))
        if (digest := _digest(new)) != _digest(one):
            path = f"{one.path.rpartition('-')[0]}-{digest}"
            (root / one.path).rename(root / path)
            moved = [
                replace(file, path=path + file.path.removeprefix(one.path))
                if file.path.startswith(f"{one.path}/")
                else file
                for file in new.files
            ]
            renamed.update(
                (old.path, file.path) for old, file in zip(one.files, moved, strict=True)
            )
            new = FolderEntry(path, tuple(moved))
        return new

    def folders(those):
        return {name: folder(one) for name, one in those.items()}

    spaces = {
        name: replace(
            space,
            shards=tuple(map(entry, space.shards)),
            errors=space.errors and entry(space.errors),
            encoder=folder(space.encoder),
        )
        for name, space in manifest.spaces.items()
    }
    put(
        root,
        replace(
            manifest,
            products=tuple(map(entry, manifest.products)),
            rejected=manifest.rejected and entry(manifest.rejected),
            spaces=spaces,
            indexes=folders(manifest.indexes),
            models=folders(manifest.models),
            encoders=folders(manifest.encoders),
            audit=folder(manifest.audit),
        ),
    )
    return renamed


def _digest(folder):
    """What the name of a folder carries: a checksum of its own files."""
    own = {
        file.path.removeprefix(f"{folder.path}/"): file.sha256
        for file in folder.files
        if file.path.startswith(f"{folder.path}/")
    }
    return folder_checksum(own)[: layout.DIGEST]


def put(root, manifest: Manifest):
    """Replace a manifest."""
    (root / layout.manifest(manifest.sequence)).write_bytes(manifest.to_bytes())


def rename_decisions(path):
    """Give a file of decisions the name that its content asks for."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[: layout.DIGEST]
    stem = path.name.partition("-")[0]
    return path.rename(path.with_name(f"{stem}-{digest}.parquet"))
