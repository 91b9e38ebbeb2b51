"""Parsing of image file headers before a library decodes the file."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from vitrina.errors import ImageError

_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_MOST_BLOCKS = 500_000
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)
"""A JPEG marker with a length after it, or the end-of-image marker."""


def gif_canvas(data: bytes) -> tuple[int, int]:
    """Return the width and height of a GIF's screen, enlarged to hold the first frame.

    (0, 0) if the file ends before that frame.
    """
    try:
        width, height = struct.unpack_from("<HH", data, 6)
        left, top, across, down = struct.unpack_from("<HHHH", data, gif_frame(data) + 1)
    except (IndexError, struct.error):
        return (0, 0)
    return (max(width, left + across), max(height, top + down))


def gif_frame(data: bytes) -> int:
    """Return the offset of a GIF's first frame descriptor.

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
    """Return the width and height of a JPEG XL picture. Raises ImageError if there are none."""
    try:
        return _jxl_size(_jxl_codestream(data))
    except (StopIteration, RuntimeError, struct.error):
        raise ImageError("unreadable JPEG XL: its header gives no size") from None


def _jxl_codestream(data: bytes) -> bytes:
    """Return the first bytes of the codestream, bare or in the first such box of a container."""
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
            # A partial codestream has an index before it.
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
    """Return the orientation of an EXIF block, 1 to 8 if valid; 1 if it is absent or damaged.

    Pillow's parser reads every tag and warns about each broken one; this function reads only one.
    TIFF files keep the orientation elsewhere, and their reader applies it.
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
    """Yield the segments of a JPEG: marker, start offset, and end offset of the body.

    Bytes between a scan header and the next marker belong to no segment. The last segment may end
    beyond the data.
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
