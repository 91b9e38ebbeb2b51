"""Facts in the headers of image files, read before a library decodes anything of them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from vitrina.errors import ImageError

_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_MOST_BLOCKS = 500_000
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)
"""A JPEG marker that a length follows, or the end of the image."""


def gif_canvas(data: bytes) -> tuple[int, int]:
    """The screen stretched to hold the first frame, (0, 0) where the file ends before it."""
    try:
        width, height = struct.unpack_from("<HH", data, 6)
        left, top, across, down = struct.unpack_from("<HHHH", data, gif_frame(data) + 1)
    except (IndexError, struct.error):
        return (0, 0)
    return (max(width, left + across), max(height, top + down))


def gif_frame(data: bytes) -> int:
    """Where the descriptor of the first frame starts.

    Raises IndexError if there is none, ImageError if it is not among the first blocks.
    """
    flags, blocks = data[10], 0
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while data[at] != 0x2C:
        if data[at] == 0x3B:
            raise IndexError
        if data[at] == 0x21:
            at += 2
            while data[at] and blocks <= _MOST_BLOCKS:
                at += data[at] + 1
                blocks += 1
        blocks += 1
        if blocks > _MOST_BLOCKS:
            raise ImageError("unreadable GIF: too many blocks before its picture")
        at += 1
    return at


def jxl_size(data: bytes) -> tuple[int, int]:
    """The width and height of a JPEG XL picture. Raises ImageError if they can't be found."""
    try:
        return _jxl_size(_jxl_codestream(data))
    except (StopIteration, RuntimeError, struct.error):
        raise ImageError("unreadable JPEG XL: its header gives no size") from None


def _jxl_codestream(data: bytes) -> bytes:
    """The start of the codestream, bare or in the first box of a container that holds some."""
    if data[:2] == b"\xff\x0a":
        return data[2:18]
    at = 0
    while True:
        size, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        if kind == b"jxlp":
            # A part has a number before it.
            body += 4
        if kind in (b"jxlc", b"jxlp"):
            return data[body + 2 : body + 18]
        if size < 8:
            raise StopIteration
        at += size


def _jxl_size(codestream: bytes) -> tuple[int, int]:
    bits = (byte >> place & 1 for byte in codestream for place in range(8))

    def number(count: int) -> int:
        return sum(next(bits) << place for place in range(count))

    def edge(small: int) -> int:
        if small:
            return 8 * (number(5) + 1)
        return number((9, 13, 18, 30)[number(2)]) + 1

    small = number(1)
    height = edge(small)
    ratio = number(3)
    if not ratio:
        return edge(small), height
    across, down = _JXL_RATIOS[ratio - 1]
    return height * across // down, height


def orientation(exif: bytes) -> int:
    """The orientation 1 to 8 of an EXIF block; 1 where it is absent or damaged.

    Pillow's parser reads every tag and warns about each broken one; this reads the one we need.
    TIFF files keep it elsewhere, and their reader applies it.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, directory)
        for entry in range(count):
            at = directory + 2 + 12 * entry
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, at)
            if tag == 0x0112 and kind == 3:
                return int(value)
    except struct.error:
        pass
    return 1


def jpeg_markers(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The segments of a JPEG: each one's marker, where it starts, and where its body ends.

    What stands between a scan and the next marker belongs to no segment. The last segment may
    end beyond the data.
    """
    at, end = 2, len(data)
    while (found := _MARKER.search(data, at)) is not None:
        at = found.start()
        marker = data[at + 1]
        if marker == 0xD9:
            yield marker, at, at + 2
            return
        if at + 4 > end:
            yield marker, at, end + 1
            return
        after = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at, after
        at = after
