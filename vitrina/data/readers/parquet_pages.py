"""Page headers of a Parquet file: how much memory reading it takes, known before it is read.

Arrow allocates what a page's header says. A header that is damaged or made up says gigabytes in
a file of a few kilobytes, so the headers are compared with the file's own index first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow.parquet as pq

_HEADER = 1 << 12
_LONGEST_HEADER = 1 << 24
# One page holds a megabyte as most programs write them, and a whole row group at worst.
_LARGEST_PAGE = 1 << 30
_DICTIONARY = 2
# Old files leave a page's header out of their column's size.
_MISCOUNTED = 100


class DamagedPagesError(Exception):
    """A page header can't be read or contradicts the file; the message says which and how."""


@dataclass(frozen=True)
class GroupSize:
    """Bytes of some columns in a row group: all that their pages hold, and the dictionaries of
    texts alone, each of which may stand in any number of rows."""

    pages: int
    dictionaries: int


def group_size(file: BinaryIO, group: pq.RowGroupMetaData, columns: Collection[str]) -> GroupSize:
    """Go through the page headers of some top-level columns. Raises DamagedPagesError."""
    pages = dictionaries = 0
    for number in range(group.num_columns):
        chunk = group.column(number)
        name = chunk.path_in_schema
        if name in columns or name.partition(".")[0] in columns:
            whole, dictionary = _chunk_size(file, chunk)
            pages += whole
            dictionaries += dictionary if chunk.physical_type == "BYTE_ARRAY" else 0
    return GroupSize(pages, dictionaries)


def _chunk_size(file: BinaryIO, chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    if chunk.num_values == 0:
        # There may be no page.
        return 0, 0
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < at:
        at = chunk.dictionary_page_offset
    end = at + chunk.total_compressed_size
    pages = dictionaries = 0
    while at < end:
        header, length = _header(file, at, end - at)
        unpacked, packed = header.get(2, -1), header.get(3, -1)
        if not isinstance(unpacked, int) or not isinstance(packed, int):
            raise DamagedPagesError(f"column {chunk.path_in_schema}: no page header at byte {at}")
        if not 0 <= packed <= end - at - length + _MISCOUNTED or not 0 <= unpacked <= _LARGEST_PAGE:
            raise DamagedPagesError(
                f"column {chunk.path_in_schema}: the page at byte {at} is said to hold {packed} "
                f"bytes, {unpacked} unpacked, in a column of {chunk.total_compressed_size} bytes"
            )
        pages += unpacked
        dictionaries += unpacked if header.get(1) == _DICTIONARY else 0
        at += length + packed
    return pages, dictionaries


def _header(file: BinaryIO, at: int, most: int) -> tuple[dict[int, Any], int]:
    """A page's header, by the numbers of its fields, and its length in bytes."""
    size = _HEADER
    while True:
        file.seek(at)
        data = file.read(min(size, most))
        try:
            return _struct(data, 0, 0)
        except IndexError:
            size *= 16
            if len(data) == most or size > _LONGEST_HEADER:
                raise DamagedPagesError(f"no page header at byte {at}") from None


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """A struct in Thrift's compact form: booleans, integers and texts; IndexError at the end."""
    if depth > 8:
        raise DamagedPagesError("a page header is nested too deep")
    values: dict[int, Any] = {}
    field = 0
    while head := data[at]:
        at += 1
        kind = head & 15
        if head >> 4:
            field += head >> 4
        else:
            number, at = _varint(data, at)
            field = _signed(number)
        if kind in (1, 2):
            values[field] = kind == 1
        elif kind == 3:
            values[field], at = data[at], at + 1
        elif kind in (4, 5, 6):
            number, at = _varint(data, at)
            values[field] = _signed(number)
        elif kind == 7:
            at += 8
        elif kind == 8:
            number, at = _varint(data, at)
            at += number
        elif kind == 12:
            values[field], at = _struct(data, at, depth + 1)
        else:
            raise DamagedPagesError(f"a page header holds a value of unknown type {kind}")
    return values, at + 1


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
        if shift > 63:
            raise DamagedPagesError("a number in a page header is too long")


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)
