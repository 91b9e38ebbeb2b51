"""Size of an .xls file's sheets and its claims, read before a library allocates memory for it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

_HEADER = struct.Struct("<8s16xHHHHH10xIIIIIIII")
_END_OF_CHAIN = 0xFFFFFFF0
_ENTRY = 128
_STREAMS = ("Workbook", "Book")
_MOST_STREAMS = 4
_BACKWARDS = 1 << 62
"""Cells that a sheet claims which ends before it begins."""

_BOF = (0x0809, 0x0409, 0x0209, 0x0009)
_DIMENSIONS = 0x0200
_SHEET, _END = 0x0085, 0x000A
_MOST_WALKS = 10
_ALL = struct.pack("<HHHHH", 1, 0, 1, 0, 0)
"""The claim of a sheet that can't be told."""
_STRINGS = 0x00FC
_MANY = 0x00BD
_CELLS = frozenset((0x0006, 0x0201, 0x0203, 0x0204, 0x0205, 0x027E, 0x00FD, 0x00D6, _MANY))


class _EndlessError(Exception):
    """A chain of sectors that leads back to itself, or claims more than the file."""


class XlsSize(NamedTuple):
    """rows, columns: of the largest sheet, as far as cells stand. claimed: the most cells that one
    claims to have. strings: how many texts the file claims that they share."""

    rows: int = 0
    columns: int = 0
    claimed: int = 0
    strings: int = 0


def xls_size(data: bytes) -> XlsSize:
    """The size of an .xls file's sheets; zeros for what can't be read."""
    try:
        return _size(data)
    except _EndlessError:
        return XlsSize(claimed=_BACKWARDS)


def _size(data: bytes) -> XlsSize:
    largest, rows, columns, claimed, strings = XlsSize(), 0, 0, 0, 0
    for kind, at, end, stream in _records(data):
        if kind in _BOF:
            largest = max(largest, XlsSize(rows, columns), key=_cells)
            rows = columns = 0
        elif kind in _CELLS and end - at >= 4:
            row, column = struct.unpack_from("<HH", stream, at)
            if kind == _MANY:
                column = max(column, *struct.unpack_from("<H", stream, end - 2))
            rows, columns = max(rows, row + 1), max(columns, column + 1)
        elif kind == _DIMENSIONS and end - at >= 10:
            wide = end - at >= 14
            form, place = ("<II", 8) if wide else ("<HH", 4)
            first, last = struct.unpack_from(form, stream, at)
            left, right = struct.unpack_from("<HH", stream, at + place)
            claimed = max(claimed, (last - first) * (right - left))
            if first > last or left > right:
                claimed = max(claimed, last * right, _BACKWARDS)
        elif kind == _STRINGS and end - at >= 8:
            strings = max(strings, *struct.unpack_from("<I", stream, at + 4))
    largest = max(largest, XlsSize(rows, columns), key=_cells)
    return largest._replace(claimed=claimed, strings=strings)


def _cells(size: XlsSize) -> int:
    return size.rows * size.columns


def _records(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The kind of each record, where its body starts and ends, and the stream that it is in.

    From the start of the stream, and from wherever it says that a sheet starts.
    """
    for stream in _workbooks(data):
        starts = {0: None}
        left = _MOST_WALKS * len(stream)
        while starts:
            at, _ = starts.popitem()
            whole = at == 0
            while at + 4 <= len(stream) and left > 0:
                kind, size = struct.unpack_from("<HH", stream, at)
                end = min(at + 4 + size, len(stream))
                yield kind, at + 4, end, stream
                if kind == _SHEET and whole and end - at >= 8:
                    starts[max(1, *struct.unpack_from("<I", stream, at + 4))] = None
                left -= 4 + size
                at += 4 + size
                if kind == _END and not whole:
                    break
        if left <= 0:
            yield _DIMENSIONS, 0, 10, _ALL


def _workbooks(data: bytes) -> Iterator[bytes]:
    """The streams of a compound file that hold a workbook."""
    with suppress(struct.error, IndexError):
        header = _HEADER.unpack_from(data)
        shift, small_shift = header[4], header[5]
        directory, cutoff, small_table = header[7], header[9], header[10]
        if not 7 <= shift <= 20:
            return
        size = 1 << shift

        def sector(number: int) -> bytes:
            return data[(number + 1) * size : (number + 2) * size]

        def numbers(block: bytes) -> list[int]:
            return [number for (number,) in struct.iter_unpack("<I", block[: len(block) & ~3])]

        def chain(first: int, table: list[int], most: int) -> Iterator[int]:
            while first < len(table):
                if not most:
                    raise _EndlessError
                yield first
                first, most = table[first], most - 1

        most = len(data) // size + 1
        places = numbers(data[76:512])
        more = header[12]
        counts = (header[6], header[11], header[13])
        if any(count > most for count in counts):
            raise _EndlessError
        for _ in range(most + 1):
            if more >= most:
                break
            if len(places) > len(data):
                raise _EndlessError
            block = numbers(sector(more))
            places += block[:-1]
            more = block[-1] if block else _END_OF_CHAIN
        else:
            raise _EndlessError
        table = numbers(b"".join(sector(place) for place in islice(places, most) if place < most))
        entries = b"".join(sector(one) for one in chain(directory, table, most))
        small_numbers = numbers(b"".join(sector(one) for one in chain(small_table, table, most)))
        small, found = b"", 0
        for at in range(0, len(entries) - _ENTRY + 1, _ENTRY):
            (length,) = struct.unpack_from("<H", entries, at + 64)
            name = entries[at : at + min(max(length - 2, 0), 64)].decode("utf-16-le", "replace")
            start, total = struct.unpack_from("<II", entries, at + 116)
            if (at == 0 or name in _STREAMS) and total > len(data) + size:
                raise _EndlessError
            if at == 0:
                small = b"".join(sector(one) for one in chain(start, table, most))
            elif name in _STREAMS and found < _MOST_STREAMS:
                found += 1
                yield b"".join(sector(one) for one in chain(start, table, most))
                if total < cutoff and 4 <= small_shift <= 12:
                    piece = 1 << small_shift
                    yield b"".join(
                        small[one * piece : (one + 1) * piece]
                        for one in chain(start, small_numbers, len(small) // piece + 1)
                    )
