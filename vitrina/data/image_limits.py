"""Limits on the cost of one photo, checked on its header: pixels, scans, chunks, tags, memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from vitrina.data.image_headers import gif_frame, jpeg_markers
from vitrina.errors import ImageError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MEGAPIXEL = 1_000_000
MAX_PIXELS = 50 * MEGAPIXEL
"""Default limit. A larger picture is refused, since decoding it takes 0.4 GB or more."""

MOST_MEGAPIXELS = 178
"""Highest limit that may be set. Pillow itself refuses more."""

MAX_GIF_PIXELS = 89_000_000
"""Limit for GIF and JPEG XL, whose readers already warn above it when they read the header."""

MAX_ASPECT = 100
"""Maximum ratio of long edge to short edge. Encoders scale the short edge up to their input, so a
1x50000 strip would become 224x11200000 before it is cropped."""

MAX_SCANS = 500
"""Maximum number of scans of a JPEG; each scan covers the whole picture."""
MAX_FULL_SCANS = 20
"""Maximum number of scans of a JPEG at the pixel limit; smaller ones may have more. Progressive
photos have about ten."""
_COUNTED_SCANS = 10_000

MAX_RLE = 5_000_000
"""Maximum sum of pixels and bytes of a run-length encoded BMP, decoded by a loop in Python."""

_MOST_SEGMENTS = 10_000
_SEGMENT_BYTES = 4
"""Bytes of the shortest segment: a marker and a length."""
_MOST_PADDING = 1 << 16
_MOST_CHUNKS = 100_000
_MOST_METADATA_CHUNKS = 1000
_LONG_EXTENSIONS = 1 << 16
_MOST_TAG_VALUES = 1_000_000
_TAG_SLACK = 1 << 20

_SOS = 0xDA
_PNG_FRAMES = frozenset({b"IDAT", b"fdAT", b"fcTL"})
_GRAPHIC_CONTROL = b"\x21\xf9\x04"
_TIFF_TYPES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value, by the type's number; all other types have one."""
_TIFF_BYTES = (1, 2, 7)
_BIG_TIFF = 43
_TILE = (322, 323)
_DIRECTORIES = (34665, 34853, 40965)

_BYTES_PER_PIXEL = {"TIFF": 10, "WebP": 16, "AVIF": 14, "HEIC": 12, "JPEG XL": 20}
"""Measured peak bytes per pixel of decoding and conversion to RGB; other formats take less."""
_USUAL_BYTES = 12
_WIDE_BYTES = 24
"""Bytes per pixel in modes that are scaled in floating point."""


def refuse_narrow(width: int, height: int) -> None:
    """Raise ImageError for a picture whose aspect ratio exceeds `MAX_ASPECT`."""
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"too narrow: {width}x{height} pixels")


def in_pixels(megapixels: int | None) -> int:
    """A limit on photos in pixels. megapixels: in million pixels; None for the default."""
    return MAX_PIXELS if megapixels is None else int(megapixels * MEGAPIXEL)


def refuse_large(
    size: tuple[int, int],
    limit: int,
    shown: tuple[int, int] | None = None,
    highest: int = MOST_MEGAPIXELS * MEGAPIXEL,
) -> None:
    """Raise ImageError for more pixels than the limit.

    shown: the size named in the message. highest: the highest limit that may be set.
    """
    if size[0] * size[1] > limit:
        width, height = shown or size
        way = ""
        if limit >= MEGAPIXEL and width * height <= highest:
            way = f", more than {limit // MEGAPIXEL} million; see --max-megapixels"
        raise ImageError(f"too large: {width}x{height} pixels{way}")


def refuse_scans(data: bytes, size: tuple[int, int], max_pixels: int) -> None:
    """Raise ImageError for a JPEG with too many scans, in number or in scans times pixels."""
    markers = (marker for marker, *_ in jpeg_markers(data))
    scans = sum(1 for _ in islice((m for m in markers if m == _SOS), _COUNTED_SCANS))
    if scans > MAX_SCANS:
        raise ImageError(f"too many scans: {scans}")
    pixels = size[0] * size[1]
    if pixels <= max_pixels and scans * pixels > MAX_FULL_SCANS * max_pixels:
        raise ImageError(f"too many scans: {scans} over {size[0]}x{size[1]} pixels")


def refuse_long_header(form: str, data: bytes) -> None:
    """Raise ImageError for a header with so many parts that reading them takes seconds."""
    if form == "JPEG":
        _refuse_segments(data)
    elif form == "PNG":
        _refuse_chunks(data)
    elif form == "TIFF":
        _refuse_tags(data)


def without_long_extensions(data: bytes) -> bytes:
    """Return a GIF without long extension blocks, such as comments, before its first frame.

    Pillow joins a comment block by block, in quadratic time.
    """
    try:
        frame = gif_frame(data)
    except IndexError:
        return data
    flags = data[10]
    start = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    if frame - start <= _LONG_EXTENSIONS:
        return data
    control = data.rfind(_GRAPHIC_CONTROL, start, frame)
    return data[:start] + (data[control : control + 8] if control >= 0 else b"") + data[frame:]


def refuse_long_runs(image: ImageFile, data: bytes) -> None:
    """Raise ImageError for a large run-length encoded BMP."""
    if any(tile[0] == "bmp_rle" for tile in image.tile):
        width, height = image.size
        if width * height + len(data) > MAX_RLE:
            raise ImageError(f"too large for a run-length encoded BMP: {width}x{height} pixels")


def decoding_bytes(form: str, mode: str, pixels: int, coefficients: int = 0) -> int:
    """Estimate the bytes needed to decode a picture to RGB, without the file itself.

    coefficients: the number that a JPEG of several scans keeps, of two bytes each.
    """
    each = _BYTES_PER_PIXEL.get(form, _USUAL_BYTES)
    if mode.startswith("I") or mode == "F":
        each = max(each, _WIDE_BYTES)
    return pixels * each + 2 * coefficients


def _refuse_segments(data: bytes) -> None:
    if len(data) <= min(_SEGMENT_BYTES * _MOST_SEGMENTS, _MOST_PADDING):
        return
    before, padding = 2, 0
    for number, (marker, start, after) in enumerate(jpeg_markers(data)):
        padding += start - before
        if number > _MOST_SEGMENTS or padding > _MOST_PADDING:
            raise ImageError("unreadable JPEG: too many segments before its picture")
        if marker == _SOS:
            return
        before = after


def _refuse_chunks(data: bytes) -> None:
    at, chunks, metadata = 8, 0, 0
    while at + 8 <= len(data):
        chunks += 1
        metadata += data[at + 4 : at + 8] not in _PNG_FRAMES
        if chunks > _MOST_CHUNKS or metadata > _MOST_METADATA_CHUNKS:
            raise ImageError("unreadable PNG: too many chunks")
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _refuse_tags(data: bytes) -> None:
    """Raise ImageError for costly TIFF tags: Pillow reads all values, repeats included."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2] == _BIG_TIFF
    try:
        (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
    except struct.error:
        return
    total, seen, directories = 0, set(), [at]
    tile = dict.fromkeys(_TILE, 1)
    while directories:
        at = directories.pop()
        if at in seen:
            continue
        seen.add(at)
        for tag, kind, values, field in _tags(data, at, order, big=big):
            size = values * _TIFF_TYPES.get(kind, 1)
            value = int.from_bytes(field[:size], "little" if order == "<" else "big")
            total += min(size, len(data)) if size > len(field) else 0
            if kind not in _TIFF_BYTES and values > _MOST_TAG_VALUES:
                raise ImageError(f"unreadable TIFF: {values} values of tag {tag}")
            if total > len(data) + _TAG_SLACK:
                raise ImageError("unreadable TIFF: its tags hold more than its file")
            if tag in _DIRECTORIES:
                directories.append(value)
            elif tag in tile:
                tile[tag] = value
    width, length = tile.values()
    refuse_large((width, length), MAX_PIXELS)


def _tags(data: bytes, at: int, order: str, *, big: bool) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield tag, type, number of values and field of each entry that a TIFF directory holds."""
    head, entry = ("Q", "HHQ8s") if big else ("H", "HHI4s")
    with suppress(struct.error):
        (count,) = struct.unpack_from(f"{order}{head}", data, at)
        at += struct.calcsize(f"={head}")
        for number in range(count):
            place = at + number * struct.calcsize(f"={entry}")
            yield struct.unpack_from(f"{order}{entry}", data, place)
