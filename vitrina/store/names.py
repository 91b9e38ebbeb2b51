"""Names in a store, read back: the inverse of `layout`, for names that come from a stranger.

A manifest, a listing and a journal may come from elsewhere. No name of theirs is used before
`parse` has recognised it, or `is_plain` has found that it stays below the store's root.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from vitrina.store import layout

OWNER_BYTES = 242
"""Bytes of the name of a space, an index, a model or an encoder at most: with a hyphen and
`layout.DIGEST` digits it is still one file name."""

_PART_BYTES = 255
_NAME_BYTES = 1024
_NO_PARTS = frozenset(("", ".", ".."))


class Role(StrEnum):
    """Purpose of a file in a store. The value says it in messages."""

    PRODUCTS = "a part of the product table"
    SHARD = "a shard"
    ERRORS = "a table of failures"
    INDEX = "a file of an index"
    MODEL = "a file of a model"
    AUDIT = "a file of an audit"
    DECISIONS = "a file of decisions"
    MANIFEST = "a manifest"
    JOURNAL = "a journal"


FOLDER_ROLES = (Role.INDEX, Role.MODEL, Role.AUDIT)
"""Roles of files in a folder whose name carries the checksum of all of them."""

SINGLE_ROLES = (Role.PRODUCTS, Role.SHARD, Role.ERRORS)
"""Roles of files that a commit names and whose own name carries their checksum."""


@dataclass(frozen=True)
class StoreName:
    """A name of the form that `layout` makes.

    Attributes:
        role: what the file is for.
        owner: its space, index or model; "" where it has none.
        number: of a part, a shard or a manifest.
        digest: the beginning of its content's SHA-256; of a file in a folder, the folder's digest.
        folder: the folder of a file in one, with its digest; else "".
        inside: the file's path in that folder.
    """

    role: Role
    owner: str = ""
    number: int = 0
    digest: str = ""
    folder: str = ""
    inside: str = ""


def is_plain(name: str) -> bool:
    """Whether a name is a relative POSIX path without `.`, `..`, empty parts, backslashes and
    characters that can't be printed, short enough for any file system."""
    parts = name.split("/")
    return (
        name.isprintable()
        and "\\" not in name
        and _NO_PARTS.isdisjoint(parts)
        and len(name.encode()) <= _NAME_BYTES
        and all(len(part.encode()) <= _PART_BYTES for part in parts)
    )


def is_owner(name: str) -> bool:
    """Whether a space, an index, a model or an encoder can have this name: one plain part of a
    path, in any script, that is not hidden."""
    return (
        is_plain(name)
        and "/" not in name
        and not name.startswith(".")
        and len(name.encode()) <= OWNER_BYTES
    )


_DIGEST = f"(?P<digest>[0-9a-f]{{{layout.DIGEST}}})"
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
    Role.JOURNAL: rf"{re.escape(layout.JOURNAL)}{_DIGEST}\.json",
}
_PATTERNS = {role: re.compile(form, re.ASCII) for role, form in _FORMS.items()}


@lru_cache(maxsize=1 << 14)
def parse(name: str) -> StoreName | None:
    """The parts of a name, if it is precisely of a form that `layout` makes; else None."""
    if not is_plain(name):
        return None
    for role, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(name):
            parts = {key: value for key, value in found.groupdict().items() if value is not None}
            told = StoreName(role, **{**parts, "number": int(parts.get("number", "0"))})  # type: ignore[arg-type]
            return told if _made(told, name) else None
    return None


def is_upkeep(name: str) -> bool:
    """Whether a file is one that Vitrina writes and no commit names: cards, locks, manifests,
    decisions, copies of errors for people, and what is being written."""
    folder = name.rpartition("/")[0]
    if name in (layout.CARD, layout.LOCK, layout.OWNER, layout.errors("")):
        return True
    if name.startswith(f"{layout.SCRATCH}/"):
        return True
    space = folder.removeprefix(layout.space(""))
    if folder == layout.space(space) and is_owner(space):
        return name in (layout.space_card(space), layout.errors(folder))
    told = parse(name.partition(layout.DAMAGED)[0] if folder == layout.DECISIONS else name)
    return told is not None and told.role in (Role.MANIFEST, Role.DECISIONS)


def _made(told: StoreName, name: str) -> bool:
    """Whether `layout` makes this very name: no other padding, no owner that can't be one."""
    if told.owner and not is_owner(told.owner):
        return False
    if told.role is Role.PRODUCTS:
        return name == layout.product_part(told.number, told.digest)
    if told.role is Role.SHARD:
        return name == layout.shard(told.owner, told.number, told.digest)
    if told.role is Role.MANIFEST:
        return name == layout.manifest(told.number)
    return True
