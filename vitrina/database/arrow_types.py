"""Arrow types of a PostgreSQL query's result, reduced to those that Parquet has."""

from __future__ import annotations

import pyarrow as pa

NUMERIC = "numeric"
_TYPE = b"POSTGRESQL:type"
_MONEY = b"money"


def needs_text(field: pa.Field) -> bool:
    """Return True for a column that the driver can't decode, or decodes wrongly: an enum, an
    address, an interval, money. The database must convert it to text."""
    return (field.metadata or {}).get(_TYPE) == _MONEY or _undecoded(field.type)


def is_numeric(kind: pa.DataType) -> bool:
    """Return True for decimal numbers, which the driver gives as text."""
    return bool(isinstance(kind, pa.OpaqueType) and kind.type_name == NUMERIC)


def is_json(kind: pa.DataType) -> bool:
    """Return True for JSON documents, which the driver gives as text."""
    return isinstance(kind, pa.JsonType)


def storage_of(kind: pa.DataType) -> pa.DataType:
    """Return the type that a column is stored in: without extension types, except for UUIDs."""
    if isinstance(kind, pa.UuidType):
        return pa.string()
    if isinstance(kind, pa.BaseExtensionType):
        return storage_of(kind.storage_type)
    if pa.types.is_list(kind):
        return pa.list_(storage_of(kind.value_type))
    return kind


def stored(column: pa.Array) -> pa.Array:
    """Convert a column to its `storage_of` type."""
    kind = column.type
    if isinstance(kind, pa.UuidType):
        return pa.array([None if one is None else str(one) for one in column.to_pylist()])
    if isinstance(kind, pa.BaseExtensionType):
        return stored(column.storage)
    if pa.types.is_list(kind) and storage_of(kind) != kind:
        values = stored(column.values)
        mask = column.is_null() if column.null_count else None
        return pa.ListArray.from_arrays(column.offsets, values, mask=mask)
    return column


def _undecoded(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.OpaqueType):
        return bool(pa.types.is_binary(kind.storage_type))
    if pa.types.is_list(kind):
        return _undecoded(kind.value_type)
    return bool(pa.types.is_interval(kind) or pa.types.is_struct(kind))
