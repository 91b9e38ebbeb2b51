"""Conversion of Arrow columns to Python values, with errors per value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vitrina.data.readers.base import UnreadableValue

LONGEST_VALUE = 1 << 24
"""Maximum bytes of a value; a longer one is unusable for a product."""

_LARGE_BATCH = 1 << 25
_UUID_BYTES = 16
# Years that have four digits, in seconds since 1970.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_NOT_UTF8 = "it is not valid utf-8"
_OUT_OF_RANGE = "it is outside the range of dates"


def rows_of(batch: pa.RecordBatch, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a batch; a value without a Python equivalent is an `UnreadableValue`."""
    arrays = [batch.column(name) for name in columns]
    if sum(map(_nbytes, batch.columns)) <= _LARGE_BATCH:
        yield from zip(*map(values_of, columns, arrays), strict=True)
    else:
        yield from zip(*map(_values_apart, columns, arrays), strict=True)


def unpacked_bytes(batch: pa.RecordBatch) -> int:
    """Return the bytes of a batch's values, with repeated dictionary values counted each time."""
    return sum(map(_unpacked_bytes, batch.columns))


def _unpacked_bytes(column: pa.Array) -> int:
    if not pa.types.is_dictionary(column.type) or not len(column.dictionary):
        return _nbytes(column)
    known = column.dictionary
    try:
        lengths = pc.binary_length(known).fill_null(0).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        # The values are not text or bytes.
        return _nbytes(column) + _nbytes(known) // len(known) * len(column)
    # Longer values are never read.
    lengths = np.where(lengths > LONGEST_VALUE, 0, lengths)
    places = column.indices.drop_null().to_numpy(zero_copy_only=False)
    return int(lengths[np.clip(places, 0, len(known) - 1)].sum(dtype=np.int64))


def _nbytes(column: pa.Array) -> int:
    """Return the bytes of a column; those of its whole buffers where Arrow can't count a part, as
    for views before version 22."""
    try:
        return int(column.nbytes)
    except pa.ArrowException:
        return int(column.get_total_buffer_size())


def _values_apart(name: str, column: pa.Array) -> Iterator[Any]:
    """Yield values one by one, so that large ones are not all in memory twice."""
    if pa.types.is_dictionary(column.type):
        yield from _dictionary(name, column)
        return
    too_long = UnreadableValue(f"column {name!r} is longer than {LONGEST_VALUE} bytes")
    for row in range(len(column)):
        piece = column.slice(row, 1)
        yield too_long if piece.nbytes > LONGEST_VALUE else values_of(name, piece)[0]


def values_of(name: str, column: pa.Array) -> list[Any]:
    """Convert a column of any type to Python values.

    Timestamps become text, 16-byte binary values `UUID`, maps dictionaries.
    """
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _timestamps(name, column)
    if pa.types.is_dictionary(kind):
        return _dictionary(name, column)
    try:
        values = list(_plain(column).to_pylist())
    except (ValueError, OverflowError, ArithmeticError, pa.ArrowException):
        values = [_value(name, column.slice(row, 1)) for row in range(len(column))]
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == _UUID_BYTES:
        return [UUID(bytes=value) if type(value) is bytes else value for value in values]
    if pa.types.is_map(kind):
        return [_object(value) if type(value) is list else value for value in values]
    return values


def _object(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Convert a map's pairs to a dictionary; unhashable keys such as lists become text."""
    try:
        return dict(pairs)
    except TypeError:
        return {str(key): value for key, value in pairs}


def _plain(column: pa.Array) -> pa.Array:
    """Cast a column to a type whose values Python can represent."""
    kind = column.type
    if pa.types.is_duration(kind) and kind.unit == "ns":
        # Python durations have no nanoseconds.
        return pc.cast(column, pa.duration("us"), safe=False)
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if pa.types.is_run_end_encoded(kind):
        return pc.run_end_decode(column)
    return column


def _value(name: str, one: pa.Array) -> Any:
    try:
        return _plain(one).to_pylist()[0]
    except UnicodeDecodeError:
        return UnreadableValue(f"column {name!r} can't be read: {_NOT_UTF8}")
    except OverflowError:
        return UnreadableValue(f"column {name!r} can't be read: {_OUT_OF_RANGE}")
    except (ValueError, ArithmeticError, pa.ArrowException) as err:
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        return UnreadableValue(f"column {name!r} can't be read: {reason}")


def _dictionary(name: str, column: pa.DictionaryArray) -> list[Any]:
    known = list(_values_apart(name, column.dictionary))
    outside = UnreadableValue(f"column {name!r} can't be read: it is not among the column's values")
    return [
        None if place is None else known[place] if 0 <= place < len(known) else outside
        for place in column.indices.to_pylist()
    ]


def _timestamps(name: str, column: pa.Array) -> list[Any]:
    """Convert timestamps to text, since Python has no nanoseconds."""
    kind = column.type
    ticks = column.cast(pa.int64())
    unit = _UNITS[kind.unit]
    if unit < _UNITS["ns"]:
        first, last = _FIRST_SECOND * unit, (_LAST_SECOND + 1) * unit - 1
        inside = pc.and_(pc.greater_equal(ticks, first), pc.less_equal(ticks, last))
        column = pc.if_else(inside, column, pa.scalar(None, kind))
    try:
        texts = column.cast(pa.string()).to_pylist()
    except pa.ArrowException:
        # The time zone is unknown here: write the same moment in UTC.
        texts = column.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.string()).to_pylist()
    if column.null_count == ticks.null_count:
        return list(texts)
    out_of_range = UnreadableValue(f"column {name!r} can't be read: {_OUT_OF_RANGE}")
    valid = ticks.is_valid().to_pylist()
    return [
        out_of_range if text is None and there else text
        for text, there in zip(texts, valid, strict=True)
    ]
