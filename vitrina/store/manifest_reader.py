"""Manifest parser. A manifest is untrusted input: types, checksum and names are checked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from vitrina.errors import StoreError, printable
from vitrina.store.manifest import Manifest, digest
from vitrina.store.manifest_check import check
from vitrina.typed_json import load_json

_DEPTH = 64
"""Maximum nesting depth of a manifest; those that Vitrina writes stay below ten."""

_PARTS = frozenset(Manifest().to_json()) - {"encoders", "audit"}
"""Required keys of a manifest; older stores have neither encoders nor audits."""


def parse_manifest(content: bytes, where: str, sequence: int | None = None) -> Manifest:
    """Parse a manifest file. where: its name for messages. sequence: the number in its name.

    Raises StoreError if it is truncated, changed, lacks a key, or names a file in a form that
    `layout` does not make.
    """
    way = "`vitrina verify STORE --repair` goes back to the commit before it"
    try:
        manifest = _parsed(load_json(content, where, way, deepest=_DEPTH))
        if sequence is not None and manifest.sequence != sequence:
            raise ValueError(f"it is commit {manifest.sequence}")
        check(manifest)
    except (StoreError, ValueError, TypeError, RecursionError) as err:
        reason = printable(str(err)).removeprefix(f"{where} is ").removesuffix(f"; {way}")
        raise StoreError(f"{where} is not a whole manifest ({reason[:300]}); {way}") from err
    return manifest


def _parsed(value: Any) -> Manifest:
    """Check the checksum and types, and convert. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    if value.pop("sha256", None) != digest(value):
        raise ValueError("its checksum does not fit")
    if lacking := _PARTS - value.keys():
        raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
    manifest = msgspec.convert(value, Manifest)
    order = msgspec.convert(value["order"], list[str])
    if sorted(order) != sorted(manifest.spaces):
        raise ValueError("its order is not that of its spaces")
    return replace(manifest, spaces={name: manifest.spaces[name] for name in order})
