"""Where everything in a store lies: the only place that knows a path in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FORMAT_VERSION = 1
"""Raise it when an older Vitrina could misread a store written by a newer one."""

TEMPORARY = ".tmp-"
"""Prefix of what is being written; whatever carries it when a writer starts is a crash's."""


@dataclass(frozen=True)
class Layout:
    """Paths below a store's root."""

    root: Path

    @property
    def card(self) -> Path:
        """`store.json`: the format version and the time of creation."""
        return self.root / "store.json"

    @property
    def lock(self) -> Path:
        """What a writer holds locked; the operating system frees it when the process ends."""
        return self.root / ".lock"

    @property
    def owner(self) -> Path:
        """Who holds the lock, for the message that a second writer gets."""
        return self.root / ".lock-owner.json"

    @property
    def products(self) -> Path:
        """The folder of the product table."""
        return self.root / "products"

    @property
    def manifests(self) -> Path:
        """The folder of the commits."""
        return self.root / "manifests"

    @property
    def models(self) -> Path:
        """The folder of heads and of encoders fitted or fine-tuned here."""
        return self.root / "models"

    def manifest(self, sequence: int) -> Path:
        """The file of one commit."""
        return self.manifests / f"{sequence:08d}.json"

    def space(self, name: str) -> Path:
        """The folder of a space."""
        return self.root / "spaces" / name

    def space_card(self, name: str) -> Path:
        """A space's `space.json`."""
        return self.space(name) / "space.json"

    def shard(self, space: str, number: int) -> Path:
        """One Parquet file of a space."""
        return self.space(space) / f"part-{number:06d}.parquet"

    def errors(self, folder: Path) -> Path:
        """What could not be embedded, or read; always the newest commit's."""
        return folder / "errors.parquet"

    def errors_of_commit(self, folder: Path, sequence: int) -> Path:
        """The errors that one commit names: hidden, so that `part-*.parquet` stays the data."""
        return folder / f".errors-{sequence:08d}.parquet"

    def index(self, name: str, sequence: int) -> Path:
        """The folder of an index; a rebuilt index is a new folder, and the commit switches over."""
        return self.root / "indexes" / f"{name}-{sequence:08d}"

    def model(self, name: str, sequence: int) -> Path:
        """The folder of a head."""
        return self.models / f"{name}-{sequence:08d}"

    def encoder(self, name: str) -> Path:
        """The folder of an encoder that was fitted on this catalogue."""
        return self.models / name

    def relative(self, path: Path) -> str:
        """The path as a manifest names it."""
        return path.relative_to(self.root).as_posix()
