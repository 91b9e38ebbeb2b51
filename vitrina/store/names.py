"""Parser of names in a store: the inverse of `layout`, for untrusted names.

A manifest, a listing and a journal may come from elsewhere. None of their names is used before
`parse` has recognised it, or `is_plain` has confirmed that it stays below the store's root.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from vitrina.store import layout

OWNER_BYTES = 242
"""Maximum bytes of the name of a space, an index, a model or an encoder: with a hyphen and
`layout.DIGEST` digits it still fits a file name."""

_PART_BYTES = 255
_NAME_BYTES = 1024
_NO_PARTS = frozenset(("", ".", ".."))


class Role(StrEnum):
    """Purpose of a file in a store. The value is its text in messages."""

    PRODUCTS = "a part of the product table"
    SHARD = "a shard"
    ERRORS = "a table of failures"
    INDEX = "a file of an index"
    MODEL = "a file of a model"
    AUDIT = "a file of an audit"
    DECISIONS = "a file of decisions"
    MANIFEST = "a manifest"
    SEGMENT = "a list of shards"
    JOURNAL = "a journal"
    ORDER = "an order"
    RESULT = "the result of an order"


FOLDER_ROLES = (Role.INDEX, Role.MODEL, Role.AUDIT)
"""Roles of files in a folder whose name carries the checksum of all its files."""

SINGLE_ROLES = (Role.PRODUCTS, Role.SHARD, Role.ERRORS, Role.SEGMENT)
"""Roles of files that a commit names and whose own name carries their checksum."""

STAGED_ROLES = (Role.ORDER, Role.RESULT)
"""Roles of files in `layout.STAGING`, whose own name carries their checksum."""


@dataclass(frozen=True)
class StoreName:
    """A parsed name, of a form that `layout` makes.

    Attributes:
        role: the file's purpose.
        owner: its space, index or model; "" if it has none.
        number: of a part, a shard, a manifest or an order.
        digest: prefix of its content's SHA-256; of a file in a folder, the folder's digest.
        folder: the folder of a file in one, with its digest; else "".
        inside: the file's path in that folder.
        key: first digits of the key of an order.
    """

    role: Role
    owner: str = ""
    number: int = 0
    digest: str = ""
    folder: str = ""
    inside: str = ""
    key: str = ""


def is_plain(name: str) -> bool:
    """True for a relative POSIX path without `.`, `..`, empty parts, backslashes and unprintable
    characters, and short enough for any file system."""
    parts = name.split("/")
    return (
        name.isprintable()
        and "\\" not in name
        and _NO_PARTS.isdisjoint(parts)
        and len(name.encode()) <= _NAME_BYTES
        and all(len(part.encode()) <= _PART_BYTES for part in parts)
    )


def is_owner(name: str) -> bool:
    """True for a valid name of a space, an index, a model or an encoder: one plain path component,
    in any script, that is not hidden."""
    return (
        is_plain(name)
        and "/" not in name
        and not name.startswith(".")
        and len(name.encode()) <= OWNER_BYTES
    )


_DIGEST = f"(?P<digest>[0-9a-f]{{{layout.DIGEST}}})"
_KEY = f"(?P<key>[0-9a-f]{{{layout.DIGEST}}})"
_OWNER = "(?P<owner>[^/]+)"
_NUMBER = "(?P<number>[0-9]{5,15})"
_INSIDE = "/(?P<inside>.+)"
_FORMS = {
    Role.PRODUCTS: rf"{layout.PRODUCTS}/part-{_NUMBER}-{_DIGEST}\.parquet",
    Role.SHARD: rf"{layout.SPACES}/{_OWNER}/part-{_NUMBER}-{_DIGEST}\.parquet",
    Role.ERRORS: rf"(?:{layout.SPACES}/{_OWNER}/)?\.errors-{_DIGEST}\.parquet",
    Role.INDEX: rf"(?P<folder>{layout.INDEXES}/{_OWNER}-{_DIGEST}){_INSIDE}",
    Role.MODEL: rf"(?P<folder>{layout.MODELS}/{_OWNER}-{_DIGEST}){_INSIDE}",
    Role.AUDIT: rf"(?P<folder>{layout.AUDITS}/(?P<owner>audit)-{_DIGEST}){_INSIDE}",
    Role.DECISIONS: rf"{layout.DECISIONS}/[0-9]{{5,8}}T[0-9]{{12}}-{_DIGEST}\.parquet",
    Role.MANIFEST: rf"{layout.MANIFESTS}/{_NUMBER}\.json",
    Role.SEGMENT: rf"(?:{layout.MANIFESTS}/|{layout.SPACES}/{_OWNER}/\.)shards-{_DIGEST}\.json",
    Role.JOURNAL: rf"{re.escape(layout.JOURNAL)}{_DIGEST}\.json",
    Role.ORDER: rf"{layout.STAGING}/order-{_NUMBER}-{_KEY}-{_DIGEST}\.parquet",
    Role.RESULT: rf"{layout.STAGING}/result-{_KEY}-{_DIGEST}\.parquet",
}
_PATTERNS = {role: re.compile(form, re.ASCII) for role, form in _FORMS.items()}


@lru_cache(maxsize=1 << 14)
def parse(name: str) -> StoreName | None:
    """Parse a name; None unless it has exactly a form that `layout` makes."""
    if not is_plain(name):
        return None
    for role, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(name):
            parts = {key: value for key, value in found.groupdict().items() if value is not None}
            parsed = StoreName(role, **{**parts, "number": int(parts.get("number", "0"))})  # type: ignore[arg-type]
            return parsed if _round_trips(parsed, name) else None
    return None


def is_upkeep(name: str) -> bool:
    """True for files that Vitrina writes and no commit names: cards, locks, manifests, decisions,
    copies of errors for people, and unfinished files."""
    folder = name.rpartition("/")[0]
    if name in (layout.CARD, layout.LOCK, layout.OWNER, layout.errors("")):
        return True
    if name.startswith(f"{layout.SCRATCH}/"):
        return True
    space = folder.removeprefix(layout.space(""))
    if folder == layout.space(space) and is_owner(space):
        return name in (layout.space_card(space), layout.errors(folder))
    parsed = parse(name.partition(layout.DAMAGED)[0] if folder == layout.DECISIONS else name)
    return parsed is not None and parsed.role in (Role.MANIFEST, Role.DECISIONS)


def _round_trips(parsed: StoreName, name: str) -> bool:
    """True if `layout` makes exactly this name: the padding and the owner are right."""
    if parsed.owner and not is_owner(parsed.owner):
        return False
    if parsed.role is Role.PRODUCTS:
        return name == layout.product_part(parsed.number, parsed.digest)
    if parsed.role is Role.SHARD:
        return name == layout.shard(parsed.owner, parsed.number, parsed.digest)
    if parsed.role is Role.ORDER:
        return name == layout.order(parsed.number, parsed.key, parsed.digest)
    if parsed.role is Role.MANIFEST:
        return name == layout.manifest(parsed.number)
    return True
