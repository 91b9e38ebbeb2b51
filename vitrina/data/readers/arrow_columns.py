"""Types of Arrow columns: which may be ids, and which may hold text."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from vitrina.data.arrow_types import is_list
from vitrina.data.location import Location
from vitrina.errors import CatalogueError
from vitrina.types import IdType


def declared_id_type(
    location: Location, column: str, kinds: Iterable[pa.DataType], *, lists: bool
) -> IdType | None:
    """Return the id type of a column by its types in the parts of a table.

    None if they differ, or only the values determine it. lists: whether a list may be an id. Raises
    CatalogueError for a type that can't hold ids.
    """
    there = list(kinds)
    if lists and any(map(is_list, there)):
        return None
    found = {_id_type(location, column, kind) for kind in there}
    return found.pop() if len(found) == 1 else None


def may_hold_text(kind: pa.DataType) -> bool:
    """Return True for a type of texts or lists."""
    declared = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    other = (pa.types.is_boolean, pa.types.is_temporal, pa.types.is_null)
    return not any(is_kind(kind) for is_kind in (*declared, *other))


def _id_type(location: Location, column: str, kind: pa.DataType) -> IdType | None:
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            if kind.extension_name == "arrow.uuid":
                return str
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        else:
            break
    if pa.types.is_uint64(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return None
    if pa.types.is_integer(kind):
        return int
    texts = (pa.string(), pa.large_string(), pa.string_view())
    binary = (pa.binary(), pa.large_binary(), pa.binary_view())
    if kind in texts or kind in binary or pa.types.is_fixed_size_binary(kind):
        return str
    raise CatalogueError(f"{location}: column {column!r} holds {kind}, which can't be an id")
