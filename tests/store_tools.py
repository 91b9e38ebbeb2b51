"""A store whose files were changed by hand, with a manifest that fits: as a stranger makes it."""

import hashlib
from dataclasses import replace

from vitrina.store import layout
from vitrina.store.files import checksum
from vitrina.store.history import newest
from vitrina.store.local import LocalFiles
from vitrina.store.manifest import FolderEntry, Manifest


def reseal(root, rows=None):
    """Let the newest manifest of a store say what its files are by now; a file keeps its name.

    rows: of some names, how many rows to tell of.
    """
    files = LocalFiles(root)
    manifest = newest(files)

    def entry(one):
        path = root / one.path
        return replace(
            one,
            bytes=path.stat().st_size,
            sha256=checksum(path),
            rows=(rows or {}).get(one.path, one.rows),
        )

    def folder(one):
        return one and FolderEntry(one.path, tuple(map(entry, one.files)))

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


def put(root, manifest: Manifest):
    """Replace a manifest."""
    (root / layout.manifest(manifest.sequence)).write_bytes(manifest.to_bytes())


def rename_decisions(path):
    """Give a file of decisions the name that its content asks for."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[: layout.DIGEST]
    stem = path.name.partition("-")[0]
    return path.rename(path.with_name(f"{stem}-{digest}.parquet"))
