"""Repair of image files with faults outside their pixels, as browsers do silently.

Each function takes a file that could not be decoded and yields versions that can, if nearly all
pixels are present. Data is decoded here only to count pixels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from vitrina.data.image_headers import gif_frame, jpeg_markers

CUT = "its end is missing"
_BARE = "read without its metadata: "

_FILLER = bytes((at * 97 + 41) % 251 for at in range(4096))
"""Filler that no encoder would write and that contains no byte that starts a marker."""
_MOST_INFLATED = 1 << 29
_MOST_LZW = 4 << 20
_PIECE = 1024
"""Compressed bytes inflated at once; a fault loses the whole piece that contains it."""

_SOF_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
_SOF_PROGRESSIVE = frozenset({0xC2, 0xCA})
_SOS, _EOI, _COMMENT, _ADOBE = 0xDA, 0xD9, 0xFE, 0xEE
_ADOBE_LENGTH = 16

_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(frozen=True, slots=True)
class ImageRepair:
    """A repaired file.

    Attributes:
        data: the file's bytes.
        what: what was wrong with it.
        share: share of its pixels that the file holds, if known, else 1.
        other: the file with other filler for the missing pixels, so that the two pictures differ
            from there on; None if nothing is missing or `share` is known.
        fine: whether they differ only in fine detail, which a reduced picture doesn't show.
    """

    data: bytes
    what: str
    share: float = 1.0
    other: bytes | None = None
    fine: bool = False


def repair_jpeg(data: bytes, reason: str) -> Iterator[ImageRepair]:
    """Remove metadata, or add the missing end of a JPEG."""
    segments = list(jpeg_markers(data))
    if not any(marker == _SOS for marker, *_ in segments):
        return
    bare = _without_metadata(data, segments)
    if segments[-1][0] == _EOI:
        yield ImageRepair(bare, _BARE + reason)
        return
    marker, start, after = segments[-1]
    if after > len(data) or marker not in (_SOS,):
        # The file ends inside a header, or between a header and its scan.
        data = data[:start]
        segments.pop()
    data = data.removesuffix(b"\xff")
    if not _has_all_scans(data, segments):
        return
    scans = sum(marker == _SOS for marker, *_ in segments)
    for part in (data, _without_metadata(data, segments)):
        other = part + _FILLER + b"\xff\xd9"
        yield ImageRepair(part + b"\xff\xd9", CUT, other=other, fine=scans > 1)


def repair_png(data: bytes, reason: str) -> Iterator[ImageRepair]:
    """Keep only the chunks that define the pixels, and fill the missing last lines of a cut PNG."""
    kept: dict[bytes, bytes] = {}
    pixels = bytearray()
    ended = False
    for kind, body, sound in _png_chunks(data):
        if kind == b"IDAT":
            pixels += body
        elif kind in (b"IHDR", b"PLTE") or (kind in (b"tRNS", b"eXIf") and sound):
            kept.setdefault(kind, body if sound else b"")
        ended = kind == b"IEND"
    header = kept.get(b"IHDR", b"")
    if len(header) != 13 or not pixels or kept.get(b"PLTE") == b"":
        return
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if colour not in _CHANNELS or not width * height:
        return
    if len(kept.get(b"tRNS", b"")) != {0: 2, 2: 6}.get(colour, len(kept.get(b"tRNS", b""))):
        kept.pop(b"tRNS", None)
    bits = depth * _CHANNELS[colour]
    line = 1 + (width * bits + 7) // 8
    size = _interlaced_size(width, height, bits) if interlaced else line * height
    if size > _MOST_INFLATED:
        return
    whole, there = _recompressed(bytes(pixels), size, line)
    if there < size and interlaced:
        # Each pass covers the whole picture, so there are no missing last lines.
        return
    what = _BARE + reason if ended and there == size else CUT
    chunks = [(kind, kept[kind]) for kind in (b"IHDR", b"PLTE", b"tRNS", b"eXIf") if kept.get(kind)]
    chunks += [(b"IDAT", whole), (b"IEND", b"")]
    yield ImageRepair(_PNG + b"".join(_png_chunk(*chunk) for chunk in chunks), what, there / size)


def repair_gif(data: bytes, reason: str) -> Iterator[ImageRepair]:  # noqa: ARG001
    """End a GIF after its first frame, and fill the missing last lines of a cut one."""
    try:
        frame = gif_frame(data)
        width, height, flags = struct.unpack_from("<HHB", data, frame + 5)
        at = frame + 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        code_bits = data[at]
    except (IndexError, struct.error):
        return
    at += 1
    blocks: list[bytes] = []
    while at < len(data) and data[at]:
        blocks.append(data[at + 1 : at + 1 + data[at]])
        at += data[at] + 1
    if at < len(data):
        yield ImageRepair(data[: at + 1] + b";", CUT)
        return
    codes = b"".join(blocks)
    if not 1 < code_bits < 9 or len(codes) > _MOST_LZW or not width * height:
        return
    there = _lzw_pixels(codes, code_bits)
    # Code 0 gives one pixel and has at most twelve bits; the last block is not full yet.
    filler = bytes(at - len(data)) + (b"\xff" + bytes(255)) * (
        (width * height - there) * 3 // 2 // 255 + 2
    )
    yield ImageRepair(data + filler + b"\0;", CUT, there / (width * height))


def repair_webp(data: bytes, reason: str) -> Iterator[ImageRepair]:
    """Remove cut chunks and chunks other than the picture's, and fill up a cut WebP picture."""
    chunks: list[bytes] = []
    at, pictures = 12, 0
    cut = len(data) < 8 + int.from_bytes(data[4:8], "little")
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        after = at + 8 + size + size % 2
        picture = kind in (b"VP8 ", b"VP8L", b"ANMF")
        if after - size % 2 > len(data):
            missing = after - len(data)
            if picture and not pictures and missing < size / 2:
                part = b"".join([*chunks, data[at:]])
                yield ImageRepair(
                    _riff(part + bytes(missing)),
                    CUT,
                    other=_riff(part + (_FILLER * (missing // len(_FILLER) + 1))[:missing]),
                )
            break
        if picture or kind in (b"VP8X", b"ALPH", b"ANIM"):
            chunks.append(data[at:after].ljust(after - at, b"\0"))
            pictures += picture
        at = after
    if pictures:
        yield ImageRepair(_riff(_unflagged(b"".join(chunks))), CUT if cut else _BARE + reason)


def _without_metadata(data: bytes, segments: list[tuple[int, int, int]]) -> bytes:
    """Return a JPEG without comments and application segments.

    A complete Adobe segment stays, since it defines the colour transform.
    """
    parts, at = [], 0
    for marker, start, after in segments:
        if marker == _SOS:
            break
        kept = marker == _ADOBE and after - start >= _ADOBE_LENGTH
        if (0xE0 <= marker <= 0xEF and not kept) or marker == _COMMENT:
            parts.append(data[at:start])
            at = after
    return b"".join([*parts, data[at:]])


def _has_all_scans(data: bytes, segments: list[tuple[int, int, int]]) -> bool:
    """Return True if a JPEG contains its last scan, at least in part."""
    components, progressive = 0, False
    # Number of low bits that each coefficient of a component lacks.
    lacking: dict[int, list[int]] = {}
    for marker, start, _ in segments:
        body = data[start + 4 : start + 40]
        if marker in _SOF_SEQUENTIAL | _SOF_PROGRESSIVE:
            components, progressive = body[5], marker in _SOF_PROGRESSIVE
        elif marker == _SOS:
            count = body[0]
            first, last, bits = body[1 + 2 * count : 4 + 2 * count]
            if not progressive:
                first, last, bits = 0, 63, 0
            for component in body[1 : 1 + 2 * count : 2]:
                for place in range(first, min(last, 63) + 1):
                    lacking.setdefault(component, [16] * 64)[place] = bits & 15
    return len(lacking) == components and not any(map(any, lacking.values()))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield the kind and body of each chunk up to IEND, and whether its checksum is right."""
    at = len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        sound = data[at + 8 + length : at + 12 + length] == struct.pack(
            ">I", zlib.crc32(kind + body)
        )
        if len(body) < length and kind != b"IDAT":
            return
        yield kind, body, sound
        if kind == b"IEND":
            return
        at += 12 + length


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _interlaced_size(width: int, height: int, bits: int) -> int:
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    size = 0
    for left, top, across, down in (*passes, (0, 1, 1, 2)):
        columns, lines = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and lines > 0:
            size += lines * (1 + (columns * bits + 7) // 8)
    return size


def _recompressed(pixels: bytes, size: int, line: int) -> tuple[bytes, int]:
    """Recompress the readable part of compressed pixels, and return it with its unpacked size.

    Missing lines repeat the line above them. size, line: unpacked bytes of the picture and a line.
    """
    inflate, deflate = zlib.decompressobj(), zlib.compressobj(1)
    out, there = bytearray(), 0
    for at in range(0, len(pixels), _PIECE):
        try:
            part = inflate.decompress(pixels[at : at + _PIECE])[: size - there]
        except zlib.error:
            break
        there += len(part)
        out += deflate.compress(part)
    if left := (size - there) % line:
        out += deflate.compress(bytes(left))
    above = b"\2" + bytes(line - 1)
    for _ in range((size - there) // line):
        out += deflate.compress(above)
    return bytes(out + deflate.flush()), there


def _lzw_pixels(codes: bytes, code_bits: int) -> int:
    """Return the number of pixels in LZW codes, up to the first code that is cut or invalid."""
    clear = 1 << code_bits
    lengths = [1] * clear + [0, 0]
    bits, have, width, before, pixels = 0, 0, code_bits + 1, 0, 0
    for byte in codes:
        bits |= byte << have
        have += 8
        while have >= width:
            code = bits & (1 << width) - 1
            bits >>= width
            have -= width
            if code == clear:
                del lengths[clear + 2 :]
                width, before = code_bits + 1, 0
                continue
            if code == clear + 1 or code > len(lengths) or (code == len(lengths) and not before):
                return pixels
            if before and len(lengths) < 4096:
                lengths.append(before + 1)
            before = lengths[code]
            pixels += before
            if len(lengths) == 1 << width and width < 12:
                width += 1
    return pixels


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _unflagged(chunks: bytes) -> bytes:
    """Clear the header flags for colour profile, EXIF and XMP, whose chunks were removed."""
    if chunks[:4] != b"VP8X":
        return chunks
    return chunks[:8] + bytes((chunks[8] & 0b00010010,)) + chunks[9:]
