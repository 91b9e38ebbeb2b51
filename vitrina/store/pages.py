"""Fast reading of a vector column from Parquet pages.

Arrow decodes a list column value by value. In the pages that `write_shard` writes (data pages of
version 1, plain encoding, no compression, no nulls) the numbers are already contiguous after a few
bytes of levels, so a copy and a checksum suffice. Any other layout is left to Arrow.

The layout is that of parquet.thrift in the Apache Parquet format, in Thrift's compact protocol.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

_PLAIN = 0
_DATA_PAGE = 0
# Fields of PageHeader, and of the DataPageHeader within it.
_TYPE, _SIZE, _STORED_SIZE, _CHECKSUM, _DATA = 1, 2, 3, 4, 5
_VALUES, _ENCODING = 1, 2
_HEADER_BYTES = 512
"""Maximum bytes of a page header, to bound the parsing of a damaged one; ours take some 30."""
_DEPTH = 4
"""Maximum nesting depth of structs in a header; ours have two levels."""


def read_numbers(
    content: memoryview, metadata: pq.FileMetaData, column: int, dtype: np.dtype[Any]
) -> npt.NDArray[Any] | None:
    """Read all numbers of a column.

    content: the whole file. column: its index among the file's leaf columns. dtype: of the
    numbers. Returns (values,) of `dtype`, or None if the column has another layout.
    Raises pa.ArrowInvalid if a page is damaged.
    """
    pages = find_numbers(content, metadata, column, dtype, check=True)
    if pages is None:
        return None
    numbers = np.empty(sum(count for _, count in pages), dtype=dtype)
    done = 0
    for start, count in pages:
        numbers[done : done + count] = np.frombuffer(content, dtype, count, start)
        done += count
    return numbers


def find_numbers(
    content: memoryview,
    metadata: pq.FileMetaData,
    column: int,
    dtype: np.dtype[Any],
    *,
    check: bool = False,
) -> list[tuple[int, int]] | None:
    """Find the numbers of a column: the byte offset and the number of values in each page.

    The arguments are those of `read_numbers`. check: verify the pages' checksums, which reads the
    whole column. Returns None if the column has another layout. Raises pa.ArrowInvalid if a
    page is damaged.
    """
    chunks = [metadata.row_group(at).column(column) for at in range(metadata.num_row_groups)]
    if any(chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page for chunk in chunks):
        return None
    pages = []
    for chunk in chunks:
        at, left = chunk.data_page_offset, chunk.num_values
        while left:
            page = _read_page(content, at, check)
            if page is None:
                return None
            start, stop, values = page
            if values > left:
                raise pa.ArrowInvalid("a page holds more values than its column")
            levels = _levels(content[start:stop])
            if levels + values * dtype.itemsize != stop - start:
                raise pa.ArrowInvalid("a page is not as long as its values")
            pages.append((start + levels, values))
            at, left = stop, left - values
    return pages


def _read_page(content: memoryview, at: int, check: bool) -> tuple[int, int, int] | None:
    """Start and end of a page's body, and its number of values.

    Returns None for another kind of page, or one without a checksum. Raises pa.ArrowInvalid if the
    page is damaged.
    """
    if not 0 <= at < len(content):
        raise pa.ArrowInvalid("a page is outside the file")
    try:
        header, length = _struct(content[at : at + _HEADER_BYTES], 0)
        if header[_TYPE] != _DATA_PAGE or header[_DATA][_ENCODING] != _PLAIN:
            return None
        size, stored, values = header[_SIZE], header[_STORED_SIZE], header[_DATA][_VALUES]
        checksum = header.get(_CHECKSUM, 0)
        if not all(isinstance(one, int) for one in (size, stored, values, checksum)):
            raise ValueError("a header's number is none")
    except (IndexError, KeyError, TypeError, ValueError) as err:
        raise pa.ArrowInvalid("a page has no header") from err
    if _CHECKSUM not in header:
        return None
    start = at + length
    body = content[start : start + size]
    if size <= 0 or len(body) != size or size != stored or values <= 0:
        raise pa.ArrowInvalid("a page reaches beyond the file")
    if check and zlib.crc32(body) != checksum & 0xFFFFFFFF:
        raise pa.ArrowInvalid("a page's checksum does not fit: bytes were changed")
    return start, start + size, values


def _levels(body: memoryview) -> int:
    """Bytes of repetition and definition levels before the values."""
    first = 4 + int.from_bytes(body[:4], "little")
    return first + 4 + int.from_bytes(body[first : first + 4], "little")


def _struct(content: memoryview, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Parse a struct: its integers, booleans and structs by field number, and its end offset."""
    if depth > _DEPTH:
        raise ValueError("structs nested too deep in a page's header")
    fields: dict[int, Any] = {}
    field = 0
    while True:
        head = content[at]
        at += 1
        if head == 0:
            return fields, at
        kind = head & 15
        if head >> 4:
            field += head >> 4
        else:
            field, at = _integer(content, at)
        if kind in (1, 2):
            fields[field] = kind == 1
        elif kind in (4, 5, 6):
            fields[field], at = _integer(content, at)
        elif kind == 8:
            # Bytes, as in statistics; not needed here.
            length, at = _integer(content, at, zigzag=False)
            at += length
        elif kind == 12:
            fields[field], at = _struct(content, at, depth + 1)
        else:
            raise ValueError(f"type {kind} in a page's header")


def _integer(content: memoryview, at: int, *, zigzag: bool = True) -> tuple[int, int]:
    """Parse a varint: the number and its end offset."""
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return (number >> 1) ^ -(number & 1) if zigzag else number, at
