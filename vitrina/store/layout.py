"""Where everything in a store lies: the only place that makes a name in it (`names` reads them).

Names are POSIX paths below the store's root, the same on a disk and in a bucket. What a commit
names carries part of its content's SHA-256, so that two writers can never put different bytes
under one name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

FORMAT_VERSION = 3
"""Raise it when an older Vitrina could misread a store written by a newer one. Format 3 knows
sources: an older version would mix the products of several."""

READABLE_FORMATS = (2, 3)
"""Formats that are read; a writer brings the store to the newest."""

TEMPORARY = ".tmp-"
"""Prefix of what is being written; whatever carries it when a writer starts is a crash's."""

CARD = "store.json"
"""The format version and the time of creation."""

LOCK = ".lock"
"""What a writer holds."""

OWNER = ".lock-owner.json"
"""Who holds it, on a local disk: for the message that a second writer gets."""

SCRATCH = f"{TEMPORARY}writer"
"""Where a local store's writer makes files before they get their names."""

JOURNAL = f"{TEMPORARY}folder-"
"""Prefix of a journal: the files of a folder that a writer is about to put."""

PRODUCTS = "products"
MANIFESTS = "manifests"
SPACES = "spaces"
INDEXES = "indexes"
MODELS = "models"
AUDITS = "audits"

DECISIONS = "decisions"
"""What reviewers said: files that are only ever added, by anyone at any time, and that no commit
names. Every one of them is live."""

DAMAGED = ".damaged"
"""Ending of a file of decisions that was put aside, since nothing can redo what a person said."""

RETIRED = "retired"
"""Where files go that no longer belong to the newest commit, for readers of an older one."""

FOLDERS = (PRODUCTS, MANIFESTS, SPACES, INDEXES, MODELS, AUDITS, DECISIONS, RETIRED)
"""The folders of a store."""

DIGEST = 12
"""Hexadecimal digits of a SHA-256 that go into a name."""


def manifest(sequence: int) -> str:
    """The file of one commit."""
    return f"{MANIFESTS}/{sequence:08d}.json"


def product_part(number: int, digest: str) -> str:
    """One Parquet file of the product table."""
    return f"{PRODUCTS}/part-{number:05d}-{digest[:DIGEST]}.parquet"


_TEXTS = ("title", "description", "attributes", "characteristics", "metadata", "images")


def columns_by_group(name: str) -> tuple[str, ...]:
    """The columns of a Parquet file that are never read whole, a row group at a time at most."""
    return _TEXTS if name.startswith(f"{PRODUCTS}/") else ()


def space(name: str) -> str:
    """The folder of a space."""
    return f"{SPACES}/{name}"


def space_card(name: str) -> str:
    """A space's `space.json`."""
    return f"{space(name)}/space.json"


def shard(space_name: str, number: int, digest: str) -> str:
    """One Parquet file of a space."""
    return f"{space(space_name)}/part-{number:06d}-{digest[:DIGEST]}.parquet"


def shard_number(name: str) -> int:
    """The number in a shard's name."""
    return int(name.rpartition("/")[2].split("-")[1])


def errors(folder: str) -> str:
    """What could not be read or embedded, for people; always the newest commit's."""
    return below(folder, "errors.parquet")


def errors_of_commit(folder: str, digest: str) -> str:
    """The errors that a commit names: hidden, so that `part-*.parquet` stays the data."""
    return below(folder, f".errors-{digest[:DIGEST]}.parquet")


def is_errors(name: str) -> bool:
    """Whether a file is a table of errors that a commit names."""
    return name.rpartition("/")[2].startswith(".errors-")


def index(name: str, digest: str) -> str:
    """The folder of an index; a rebuilt index is a new folder, and the commit switches over."""
    return f"{INDEXES}/{name}-{digest[:DIGEST]}"


def model(name: str, digest: str) -> str:
    """The folder of a head."""
    return f"{MODELS}/{name}-{digest[:DIGEST]}"


def encoder(model_name: str, digest: str) -> str:
    """The folder of an encoder that was fitted or trained on this catalogue."""
    return f"{MODELS}/{model_name}-{digest[:DIGEST]}"


def audit(digest: str) -> str:
    """The folder of what an audit found."""
    return f"{AUDITS}/audit-{digest[:DIGEST]}"


def decisions(moment: datetime, digest: str) -> str:
    """A file of decisions; moment: of the first of them, in UTC."""
    return f"{DECISIONS}/{moment:%Y%m%dT%H%M%S%f}-{digest[:DIGEST]}.parquet"


def journal(digest: str) -> str:
    """The list of the files of a folder that is being put."""
    return f"{JOURNAL}{digest[:DIGEST]}.json"


def retired(name: str) -> str:
    """Where a file lies once it has left the newest commit."""
    return f"{RETIRED}/{name}"


def below(folder: str, name: str) -> str:
    """A name in a folder; "" is the root."""
    return f"{folder}/{name}" if folder else name
