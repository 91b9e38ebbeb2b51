"""Tests of Arrow types that look through lists, dictionaries and other encodings."""

from __future__ import annotations

import pyarrow as pa

_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
_BINARY = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)


def plain(kind: pa.DataType) -> pa.DataType:
    """Return the value type without dictionary, run-end or extension encoding."""
    while True:
        if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        elif isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        else:
            return kind


def is_list(kind: pa.DataType) -> bool:
    """Return True if the values are lists of any kind."""
    return any(test(plain(kind)) for test in _LISTS)


def innermost(kind: pa.DataType) -> pa.DataType:
    """Return the value type inside all levels of lists; a type that is no list is its own."""
    while is_list(kind):
        kind = plain(kind).value_type
    return plain(kind)


def is_binary(kind: pa.DataType) -> bool:
    """Return True if the values are bytes."""
    return any(test(plain(kind)) for test in _BINARY)


def holds_photos(kind: pa.DataType) -> bool:
    """Return True for bytes, records with a binary field `bytes`, or lists of either."""
    kind = innermost(kind)
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and is_binary(kind.field(place).type)
    return is_binary(kind)
