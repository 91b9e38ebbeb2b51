"""A store: one directory that holds products, spaces, indexes and models, and commits whole."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from vitrina.errors import StoreError, StoreLockedError
from vitrina.store.files import checksum, read_json, remove_leftovers, replacing, write_json
from vitrina.store.layout import FORMAT_VERSION, TEMPORARY, Layout
from vitrina.store.manifest import FileEntry, Manifest
from vitrina.store.products import Products
from vitrina.store.space import Space
from vitrina.types import Features, Modality


class Store:
    """A store as its newest commit shows it; `refresh` looks for a newer one."""

    def __init__(self, layout: Layout, manifest: Manifest) -> None:
        self.layout = layout
        self.manifest = manifest
        self._products: Products | None = None

    @classmethod
    def open(cls, path: str | Path, *, create: bool = True) -> Store:
        """Open a store; where there is none yet and `create`, one that its first writer will make.

        Raises StoreError if there is none, or it is of another format version.
        """
        layout = Layout(Path(path))
        if not layout.card.exists():
            if not create:
                raise StoreError(f"{path} is not a store; `vitrina embed` makes one")
            if layout.root.is_dir() and _holds_others(layout):
                raise StoreError(f"{path} holds other files already; give an empty directory")
            if layout.root.exists() and not layout.root.is_dir():
                raise StoreError(f"{path} is a file; give a directory")
            # The first writer makes it: a catalogue that can't be read leaves no empty store.
            return cls(layout, Manifest())
        version = read_json(layout.card).get("format")
        if version != FORMAT_VERSION:
            raise StoreError(
                f"{path} is of format {version}, this Vitrina reads {FORMAT_VERSION}; "
                "use the version of Vitrina that wrote it"
            )
        return cls(layout, _newest(layout))

    def refresh(self) -> None:
        """Look at the newest commit."""
        self.manifest = _newest(self.layout)
        self._products = None

    @property
    def path(self) -> Path:
        """The store's root."""
        return self.layout.root

    @property
    def products(self) -> Products:
        """The product table."""
        if self._products is None:
            self._products = Products(self.layout, self.manifest)
        return self._products

    def space(self, modality: Modality) -> Space:
        """The space that serves a modality.

        Raises StoreError if there is none.
        """
        name = self.manifest.active.get(modality)
        if name is None:
            raise StoreError(
                f"{self.path} has no {modality} space; "
                f"run `vitrina embed` with --{modality}-model other than none"
            )
        return self.open_space(name)

    def open_space(self, name: str) -> Space:
        """A space by its name."""
        entry = self.manifest.spaces.get(name)
        if entry is None:
            raise StoreError(f"{self.path} has no space named {name}")
        return Space.open(self.layout, name, entry)

    def spaces(self, features: Features) -> tuple[Space, ...]:
        """The spaces that some features are made of, text first."""
        return tuple(self.space(modality) for modality in features.modalities)

    def index_folder(self, name: str) -> Path:
        """Where a live index lies.

        Raises StoreError if it was not built.
        """
        folder = self.manifest.indexes.get(name)
        if folder is None:
            raise StoreError(
                f"{self.path} has no {name} index; run `vitrina index` with --features {name}"
            )
        return self.layout.root / folder

    def model_folder(self, name: str | None = None) -> Path:
        """Where a live head lies: the named one, or the one trained last.

        Raises StoreError if there is none.
        """
        name = name or self.manifest.model
        if name is None:
            raise StoreError(f"{self.path} has no head; run `vitrina train {self.path}` first")
        folder = self.manifest.models.get(name)
        if folder is None:
            have = ", ".join(sorted(self.manifest.models)) or "none"
            raise StoreError(f"{self.path} has no head named {name} (it has: {have})")
        return self.layout.root / folder

    @contextmanager
    def writer(self, job: str) -> Iterator[Writer]:
        """Become the store's one writer for the length of a `with` block.

        Raises StoreLockedError at once if another process is writing.
        """
        self.layout.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.layout.lock)
        try:
            lock.acquire(timeout=0)
        except Timeout as err:
            raise StoreLockedError(
                f"{self.path} is being written by {_owner(self.layout)}; try again when it is done"
            ) from err
        try:
            me = {"job": job, "pid": os.getpid(), "host": socket.gethostname()}
            self.layout.owner.write_text(json.dumps(me), encoding="utf-8")
            if not self.layout.card.exists():
                created = datetime.now(UTC).isoformat(timespec="seconds")
                write_json(self.layout.card, {"format": FORMAT_VERSION, "created": created})
            remove_leftovers(self.layout.root)
            self.refresh()
            writer = Writer(self)
            writer.sweep()
            yield writer
        finally:
            self.layout.owner.unlink(missing_ok=True)
            lock.release()


class Writer:
    """What only the holder of the lock may do."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._layout = store.layout

    @property
    def sequence(self) -> int:
        """The number that the next commit will have."""
        return self._store.manifest.sequence + 1

    def commit(self, manifest: Manifest) -> None:
        """Make `manifest` the newest: everything it names must already be on the disk."""
        manifest = replace(manifest, sequence=self.sequence)
        before = self._store.manifest
        write_json(self._layout.manifest(manifest.sequence), manifest.to_json())
        self._store.refresh()
        self._retire(before, manifest)

    def write_errors(self, folder: Path, errors: pa.Table) -> FileEntry:
        """Write a table of failures for the next commit."""
        path = self._layout.errors_of_commit(folder, self.sequence)
        with replacing(path) as temporary:
            pq.write_table(errors, temporary, compression="zstd")
        return FileEntry.of(self._layout, path, errors.num_rows)

    def sweep(self) -> None:
        """Tidy up after a writer that was killed beside its commit.

        Its files have their names already, or those it replaced still lie there, and other
        readers go by what lies in a folder.
        """
        manifest = self._store.manifest
        live = {entry.path for entry in manifest.products}
        folders = [self._layout.products]
        for name, space in manifest.spaces.items():
            live.update(shard.path for shard in space.shards)
            folders.append(self._layout.space(name))
        for folder in folders:
            for path in folder.glob("part-*.parquet"):
                if self._layout.relative(path) not in live:
                    path.unlink()
        for entry in _errors(manifest):
            shown = self._layout.errors((self._layout.root / entry.path).parent)
            if not shown.exists() or checksum(shown) != entry.sha256:
                self._show(entry)

    def _show(self, errors: FileEntry) -> None:
        """Let errors.parquet be the table that a commit names."""
        path = self._layout.root / errors.path
        with replacing(self._layout.errors(path.parent)) as temporary:
            shutil.copyfile(path, temporary)
        for older in path.parent.glob(".errors-*.parquet"):
            if older != path:
                older.unlink()

    def _retire(self, before: Manifest, after: Manifest) -> None:
        # Other readers go by what lies in the folder, so a product part that is no longer
        # live must not stay beside those that are; and errors.parquet follows the commit.
        live = {entry.path for entry in after.products}
        for entry in before.products:
            if entry.path not in live:
                (self._layout.root / entry.path).unlink(missing_ok=True)
        for entry in _errors(after) - _errors(before):
            self._show(entry)


def _holds_others(layout: Layout) -> bool:
    # A writer killed before it made `store.json` leaves only its lock and that file's beginning.
    ours = (layout.lock, layout.owner)
    return any(
        path not in ours and not path.name.startswith(TEMPORARY) for path in layout.root.iterdir()
    )


def _errors(manifest: Manifest) -> set[FileEntry]:
    entries = (manifest.rejected, *(space.errors for space in manifest.spaces.values()))
    return {entry for entry in entries if entry is not None}


def _newest(layout: Layout) -> Manifest:
    commits = sorted(layout.manifests.glob("[0-9]*.json")) if layout.manifests.is_dir() else []
    if not commits:
        return Manifest()
    value: dict[str, Any] = read_json(commits[-1])
    return Manifest.from_json(value, commits[-1])


def _owner(layout: Layout) -> str:
    try:
        owner = json.loads(layout.owner.read_text(encoding="utf-8"))
        return f"`vitrina {owner['job']}` (process {owner['pid']} on {owner['host']})"
    except (OSError, ValueError, KeyError):
        return "another process"
