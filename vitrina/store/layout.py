"""Layout of a store: the only module that makes names in it (`names` parses them).

Names are POSIX paths below the store's root, the same on a disk and in a bucket. The name of a file
that a commit names carries part of its content's SHA-256, so that two writers can never put
different bytes under one name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitrina.atomic_files import TEMPORARY as TEMPORARY

if TYPE_CHECKING:
    from datetime import datetime

FORMAT_VERSION = 3
"""Version of the format of a new store. Increment it when an older Vitrina could misread a newer
store. Format 3 added sources: an older version would mix the products of several."""

SEGMENTED_VERSION = 4
"""Version of the format of a store whose manifest has segments: an older version would see the last
shards only. A smaller store stays at `FORMAT_VERSION`."""

READABLE_FORMATS = (2, 3, 4)
"""Formats that can be read; a writer upgrades older stores to `FORMAT_VERSION`."""

CARD = "store.json"
"""The format version and the time of creation."""

LOCK = ".lock"
"""The writer's lock."""

OWNER = ".lock-owner.json"
"""The lock holder on a local disk, for the message to a second writer."""

SCRATCH = f"{TEMPORARY}writer"
"""Scratch folder of a local store's writer, for files before they get their names."""

JOURNAL = f"{TEMPORARY}folder-"
"""Prefix of a journal, which lists the files of a folder about to be published."""

PRODUCTS = "products"
MANIFESTS = "manifests"
SPACES = "spaces"
INDEXES = "indexes"
MODELS = "models"
AUDITS = "audits"

DECISIONS = "decisions"
"""Reviewers' decisions: append-only files that any process may add at any time and that no commit
names. All of them are live."""

DAMAGED = ".damaged"
"""Suffix of a damaged decision file; it is kept, since decisions can't be recomputed."""

STAGING = "staging"
"""Folder of orders and of their results, which no commit names: see `staging`."""

RETIRED = "retired"
"""Folder of files that left the newest commit, for readers of an older one."""

FOLDERS = (PRODUCTS, MANIFESTS, SPACES, INDEXES, MODELS, AUDITS, DECISIONS, STAGING, RETIRED)
"""The folders of a store."""

DIGEST = 12
"""Number of hexadecimal digits of a SHA-256 in a name."""


def manifest(sequence: int) -> str:
    """The file of one commit."""
    return f"{MANIFESTS}/{sequence:08d}.json"


def segment(digest: str) -> str:
    """A list of shards that commits share."""
    return f"{MANIFESTS}/shards-{digest[:DIGEST]}.json"


def segment_copy(space_name: str, digest: str) -> str:
    """The second copy of a list of shards: all commits depend on it."""
    return f"{space(space_name)}/.shards-{digest[:DIGEST]}.json"


def is_segment(name: str) -> bool:
    """True for a list of shards, or its copy."""
    return name.rpartition("/")[2].lstrip(".").startswith("shards-") and name.endswith(".json")


def product_part(number: int, digest: str) -> str:
    """One Parquet file of the product table."""
    return f"{PRODUCTS}/part-{number:05d}-{digest[:DIGEST]}.parquet"


_TEXTS = ("title", "description", "attributes", "characteristics", "metadata", "images")


def columns_by_group(name: str) -> tuple[str, ...]:
    """Columns of a Parquet file that are read one row group at a time, never whole."""
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
    """The newest commit's table of errors, for people: items not read or not embedded."""
    return below(folder, "errors.parquet")


def errors_of_commit(folder: str, digest: str) -> str:
    """The table of errors that a commit names: hidden, so that `part-*.parquet` is data only."""
    return below(folder, f".errors-{digest[:DIGEST]}.parquet")


def is_errors(name: str) -> bool:
    """True for a table of errors that a commit names."""
    return name.rpartition("/")[2].startswith(".errors-")


def index(name: str, digest: str) -> str:
    """The folder of an index; a rebuilt index gets a new folder, and the commit switches to it."""
    return f"{INDEXES}/{name}-{digest[:DIGEST]}"


def model(name: str, digest: str) -> str:
    """The folder of a head."""
    return f"{MODELS}/{name}-{digest[:DIGEST]}"


def encoder(model_name: str, digest: str) -> str:
    """The folder of an encoder that was fitted or trained on this catalogue."""
    return f"{MODELS}/{model_name}-{digest[:DIGEST]}"


def audit(digest: str) -> str:
    """The folder of an audit's results."""
    return f"{AUDITS}/audit-{digest[:DIGEST]}"


def decisions(moment: datetime, digest: str) -> str:
    """A decision file. moment: time of its first decision, in UTC."""
    return f"{DECISIONS}/{moment:%Y%m%dT%H%M%S%f}-{digest[:DIGEST]}.parquet"


def order(number: int, key: str, digest: str) -> str:
    """A published order. key: of the order."""
    return f"{STAGING}/order-{number:06d}-{key[:DIGEST]}-{digest[:DIGEST]}.parquet"


def order_result(key: str, digest: str) -> str:
    """The result of an order. Two of one order differ in their digests, if in anything."""
    return f"{STAGING}/result-{key[:DIGEST]}-{digest[:DIGEST]}.parquet"


def journal(digest: str) -> str:
    """The journal of a folder that is being published."""
    return f"{JOURNAL}{digest[:DIGEST]}.json"


def retired(name: str) -> str:
    """The name of a file once it has left the newest commit."""
    return f"{RETIRED}/{name}"


def below(folder: str, name: str) -> str:
    """A name in a folder; "" is the root."""
    return f"{folder}/{name}" if folder else name
