"""Reading a column of vectors at the speed of memory.

Arrow takes a list column apart value by value. In the pages that `write_shard` writes (data pages
of the first version, plain encoding, no codec, nothing null) the numbers lie side by side already,
behind a few bytes of levels: a copy and a checksum are all it takes. Whatever looks otherwise is
left to Arrow.

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
"""A header of ours takes some 30 bytes; a damaged one must not be read on and on."""


def read_numbers(
    content: memoryview, metadata: pq.FileMetaData, column: int, dtype: np.dtype[Any]
) -> npt.NDArray[Any] | None:
    """Read all numbers of a column.

    content: the whole file. column: its place among the file's leaf columns. dtype: of the
    numbers. Returns (values,) of `dtype`, or None where the column is not laid out so.
    Raises pa.ArrowInvalid if a page is damaged.
    """
    chunks = [metadata.row_group(at).column(column) for at in range(metadata.num_row_groups)]
    if any(chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page for chunk in chunks):
        return None
    numbers = np.empty(sum(chunk.num_values for chunk in chunks), dtype=dtype)
    done = 0
    for chunk in chunks:
        at, end = chunk.data_page_offset, done + chunk.num_values
        while done < end:
            page = _read_page(content, at)
            if page is None:
                return None
            body, values, at = page
            if done + values > end:
                raise pa.ArrowInvalid("a page holds more values than its column")
            levels = _levels(body)
            if levels + values * dtype.itemsize != len(body):
                raise pa.ArrowInvalid("a page is not as long as its values")
            numbers[done : done + values] = np.frombuffer(body[levels:], dtype=dtype)
            done += values
    return numbers


def _read_page(content: memoryview, at: int) -> tuple[memoryview, int, int] | None:
    """A page's body, its number of values, and where the next one begins; None for another kind
    of page, or one without a checksum."""
    try:
        header, start = _struct(content[at : at + _HEADER_BYTES], 0)
        if header[_TYPE] != _DATA_PAGE or header[_DATA][_ENCODING] != _PLAIN:
            return None
        size, values = header[_SIZE], header[_DATA][_VALUES]
    except (IndexError, KeyError, TypeError, ValueError) as err:
        raise pa.ArrowInvalid("a page has no header") from err
    if _CHECKSUM not in header:
        return None
    body = content[at + start : at + start + size]
    if size <= 0 or len(body) != size or size != header[_STORED_SIZE] or values <= 0:
        raise pa.ArrowInvalid("a page reaches beyond the file")
    if zlib.crc32(body) != header[_CHECKSUM] & 0xFFFFFFFF:
        raise pa.ArrowInvalid("a page's checksum does not fit: bytes were changed")
    return body, values, at + start + size


def _levels(body: memoryview) -> int:
    """The bytes of repetition and definition levels that stand before the values."""
    first = 4 + int.from_bytes(body[:4], "little")
    return first + 4 + int.from_bytes(body[first : first + 4], "little")


def _struct(content: memoryview, at: int) -> tuple[dict[int, Any], int]:
    """A struct's integers, booleans and structs by field number, and where it ends."""
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
            # Bytes, as in statistics; of no use here.
            length, at = _integer(content, at, zigzag=False)
            at += length
        elif kind == 12:
            fields[field], at = _struct(content, at)
        else:
            raise ValueError(f"type {kind} in a page's header")


def _integer(content: memoryview, at: int, *, zigzag: bool = True) -> tuple[int, int]:
    """A number, seven bits to a byte, and where it ends."""
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return (number >> 1) ^ -(number & 1) if zigzag else number, at
