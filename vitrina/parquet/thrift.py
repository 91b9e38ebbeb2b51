"""Reader of structs in Thrift's compact protocol, used by Parquet headers and footers."""

from __future__ import annotations

from typing import Any, TypeAlias

from vitrina.errors import VitrinaError

Fields: TypeAlias = "dict[int, Fields | None]"
"""Numbers of the fields to keep, each with the fields to keep of a nested struct or list."""

_DEEPEST = 16
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)
_LONGEST_NUMBER = 63


class ThriftError(VitrinaError):
    """The bytes are not a valid struct; the message gives the reason."""


def read_struct(
    data: bytes, at: int, keep: Fields | None = None, depth: int = 0
) -> tuple[dict[int, Any], int]:
    """Read a struct at byte `at`: its fields by number, and its end offset.

    keep: the fields to keep; None for all. Raises ThriftError, and IndexError if the data ends
    before the struct does.
    """
    if depth > _DEEPEST:
        raise ThriftError("nested too deep")
    values: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        at += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            found, at = _varint(data, at)
            number = _signed(found)
        if kind in (_TRUE, _FALSE):
            value: Any = kind == _TRUE
        else:
            inner = keep.get(number) if keep is not None else None
            wanted = keep is None or number in keep
            value, at = _value(data, at, kind, inner if keep is None else inner or {}, depth)
            if not wanted:
                continue
        if keep is None or number in keep:
            values[number] = value
    return values, at + 1


def _value(data: bytes, at: int, kind: int, keep: Fields | None, depth: int) -> tuple[Any, int]:
    if kind == _BYTE:
        return data[at], at + 1
    if kind in _INTEGERS:
        number, at = _varint(data, at)
        return _signed(number), at
    if kind == _DOUBLE:
        return None, at + 8
    if kind == _BINARY:
        length, at = _varint(data, at)
        return data[at : at + length], at + length
    if kind == _STRUCT:
        return read_struct(data, at, keep, depth + 1)
    if kind in (_LIST, _SET):
        return _list(data, at, keep, depth)
    if kind == _MAP:
        return None, _after_map(data, at, depth)
    raise ThriftError(f"a value of unknown type {kind}")


def _list(data: bytes, at: int, keep: Fields | None, depth: int) -> tuple[list[Any], int]:
    head, at = data[at], at + 1
    count, kind = head >> 4, head & 15
    if count == 15:
        count, at = _varint(data, at)
    if depth > _DEEPEST:
        raise ThriftError("nested too deep")
    if count > len(data) - at:
        raise IndexError
    items = []
    for _ in range(count):
        if kind in (_TRUE, _FALSE):
            item: Any = data[at] == 1
            at += 1
        else:
            item, at = _value(data, at, kind, keep, depth + 1)
        items.append(item)
    return items, at


def _after_map(data: bytes, at: int, depth: int) -> int:
    count, at = _varint(data, at)
    if not count:
        return at
    if count > len(data) - at:
        raise IndexError
    kinds = data[at]
    at += 1
    for _ in range(count):
        for kind in (kinds >> 4, kinds & 15):
            at = at + 1 if kind in (_TRUE, _FALSE) else _value(data, at, kind, {}, depth + 1)[1]
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
        if shift > _LONGEST_NUMBER:
            raise ThriftError("a number is too long")


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)
