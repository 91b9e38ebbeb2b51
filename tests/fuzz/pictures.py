"""Files of pictures taken apart and put together again, with lengths and checksums that fit."""

from __future__ import annotations

import struct
import zlib
from random import Random

from fuzz.mutate import INTERESTING, mutated

Part = tuple[bytes, bytes]
"""A kind and a body."""

EDGES = (0, 1, 2, 16, 255, 256, 4096, 8192, 13_300, 16_384, 32_767, 32_768, 65_500, 65_535)


def jpeg_parts(data: bytes) -> list[Part]:
    """The segments of a JPEG by their markers; a scan's pixels belong to its header."""
    parts, at = [], 2
    while at + 4 <= len(data):
        kind, size = data[at : at + 2], int.from_bytes(data[at + 2 : at + 4], "big")
        stop = at + 2 + size
        if kind == b"\xff\xda":
            while stop + 1 < len(data) and not (
                data[stop] == 0xFF and data[stop + 1] not in (0, *range(0xD0, 0xD8))
            ):
                stop += 1
        parts.append((kind, data[at + 4 : stop]))
        at = stop
        if data[at : at + 2] == b"\xff\xd9":
            break
    return parts


def jpeg_of(parts: list[Part]) -> bytes:
    whole = [b"\xff\xd8"]
    for kind, body in parts:
        size = len(body) + 2
        if kind == b"\xff\xda":
            # Its length is that of its header alone.
            size = min(len(body), 4 + 2 * body[0] if body else 0) + 2
        whole += [kind, struct.pack(">H", min(size, 65_535)), body]
    return b"".join([*whole, b"\xff\xd9"])


def png_parts(data: bytes) -> list[Part]:
    parts, at = [], 8
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return parts


def png_of(parts: list[Part]) -> bytes:
    whole = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in parts:
        whole += [struct.pack(">I", len(body)), kind, body]
        whole.append(struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(whole)


def webp_parts(data: bytes) -> list[Part]:
    parts, at = [], 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        parts.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return parts


def webp_of(parts: list[Part]) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(inside)) + inside + b"\0" * (len(inside) % 2)
        for kind, inside in parts
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def box_parts(data: bytes) -> list[Part]:
    """The outermost boxes of AVIF, HEIC and JPEG XL."""
    parts, at = [], 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big") or len(data) - at
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += max(size, 8)
    return parts


def box_of(parts: list[Part]) -> bytes:
    return b"".join(struct.pack(">I", len(body) + 8) + kind + body for kind, body in parts)


TAKEN_APART = {
    "jpeg": (jpeg_parts, jpeg_of),
    "png": (png_parts, png_of),
    "webp": (webp_parts, webp_of),
    "avif": (box_parts, box_of),
    "heic": (box_parts, box_of),
}


def rebuilt(form: str, data: bytes, draw: Random, others: list[bytes]) -> bytes:
    """A picture with parts changed, repeated, moved or taken from another."""
    take, join = TAKEN_APART[form]
    parts = take(data)
    for _ in range(draw.choice((1, 1, 2, 3))):
        if not parts:
            break
        at = draw.randrange(len(parts))
        kind, body = parts[at]
        way = draw.randrange(7)
        if way <= 1:
            parts[at] = kind, mutated(body, draw, [], [])
        elif way == 2:
            times = draw.choice((1, 2, 50, 600, 20_000))
            parts[at:at] = [parts[at]] * max(1, min(times, 3_000_000 // (len(body) + 12)))
        elif way == 3:
            del parts[at]
        elif way == 4:
            parts.insert(draw.randrange(len(parts) + 1), draw.choice(take(draw.choice(others))))
        elif way == 5:
            other = draw.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        else:
            parts[at] = draw.choice(parts)[0], body
    return join(parts)


def resized(form: str, data: bytes, draw: Random) -> bytes:
    """A picture whose header says another size; its pixels stay."""
    width, height = draw.choice(EDGES), draw.choice(EDGES)
    changed = bytearray(data)
    if form == "jpeg":
        parts = []
        for kind, body in jpeg_parts(data):
            if kind[1] in (0xC0, 0xC1, 0xC2) and len(body) > 5:
                body = body[:1] + struct.pack(">HH", height, width) + body[5:]
                if draw.random() < 0.2 and len(body) > 7:
                    body = body[:7] + bytes((draw.randrange(256),)) + body[8:]
            parts.append((kind, body))
        return jpeg_of(parts)
    if form == "png":
        parts = png_parts(data)
        scale = draw.choice((1, 1, 65_536))
        head = struct.pack(">II", (width * scale) % 2**32, height)
        rest = parts[0][1][8:]
        if draw.random() < 0.3:
            rest = bytes((draw.choice((1, 2, 4, 8, 16, 3)), draw.randrange(8), 0, 0))
            rest += bytes((draw.randrange(2),))
        parts[0] = b"IHDR", head + rest
        return png_of(parts)
    if form == "gif":
        changed[6:10] = struct.pack("<HH", width, height)
        at = data.find(b"\x2c", 13)
        if at > 0 and draw.random() < 0.5:
            changed[at + 5 : at + 9] = struct.pack("<HH", width, height)
        return bytes(changed)
    if form == "bmp":
        high = draw.choice((height, -height, 2**31 - 1, -(2**31)))
        changed[18:26] = struct.pack("<ii", width, high)
        changed[28:30] = struct.pack("<H", draw.choice((1, 4, 8, 16, 24, 32, 64)))
        changed[30:34] = struct.pack("<I", draw.choice((0, 0, 1, 2, 3, 4, 5)))
        return bytes(changed)
    if form == "webp":
        parts = webp_parts(data)
        big = struct.pack("<I", draw.choice((width, 2**24 - 1)))[:3]
        head = bytes((draw.randrange(64), 0, 0, 0)) + big + struct.pack("<I", height)[:3]
        parts = [(kind, body) for kind, body in parts if kind != b"VP8X"]
        if draw.random() < 0.5 and parts and len(parts[0][1]) > 10:
            kind, body = parts[0]
            if kind == b"VP8 ":
                body = body[:6] + struct.pack("<HH", width & 0x3FFF, height & 0x3FFF) + body[10:]
            else:
                body = body[:1] + draw.randbytes(4) + body[5:]
            parts[0] = kind, body
        else:
            parts.insert(0, (b"VP8X", head))
        return webp_of(parts)
    if form in ("avif", "heic"):
        at = data.find(b"ispe")
        if at > 0:
            changed[at + 8 : at + 16] = struct.pack(
                ">II", draw.choice((width, 2**31, 2**32 - 1)), height
            )
        return bytes(changed)
    if form == "tiff":
        return _with_odd_tag(data, draw)
    at = 2 if data[:2] == b"\xff\x0a" else 44
    changed[at : at + 6] = draw.randbytes(6)
    return bytes(changed)


def _with_odd_tag(data: bytes, draw: Random) -> bytes:
    """A TIFF with one to three entries of its first directory changed."""
    order = "<" if data[:2] == b"II" else ">"
    changed = bytearray(data)
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    if start + 2 > len(data):
        return data
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = start + 2 + 12 * draw.randrange(max(1, count))
        if at + 12 > len(data):
            continue
        what = draw.randrange(4)
        if what == 0:
            struct.pack_into(f"{order}I", changed, at + 8, draw.choice(INTERESTING) % 2**32)
        elif what == 1:
            struct.pack_into(f"{order}I", changed, at + 8, draw.choice(EDGES))
        elif what == 2:
            struct.pack_into(f"{order}I", changed, at + 4, draw.choice(INTERESTING) % 2**32)
        else:
            tags = (256, 257, 258, 259, 262, 277, 273, 279, 322, 323, 34675, 33723, 700, 34665, 330)
            struct.pack_into(f"{order}HH", changed, at, draw.choice(tags), draw.randrange(14))
    return bytes(changed)


def many_scans(data: bytes, draw: Random) -> bytes:
    """A progressive JPEG whose scans are repeated, over a picture of a size that is allowed."""
    parts = jpeg_parts(data)
    scans = [part for part in parts if part[0] == b"\xff\xda"]
    if not scans:
        return data
    last = max(at for at, part in enumerate(parts) if part[0] == b"\xff\xda")
    one = draw.choice(scans)
    if draw.random() < 0.7:
        # An empty scan: its header, and next to nothing.
        one = one[0], one[1][: 4 + 2 * one[1][0]] + b"\0"
    times = draw.choice((20, 100, 490, 510, 3000, 20_000))
    times = max(1, min(times, 4_000_000 // (len(one[1]) + 4)))
    parts[last + 1 : last + 1] = [one] * times
    edge = draw.choice((64, 1000, 4000, 9000, 13_300))
    parts = [
        (kind, body[:1] + struct.pack(">HH", edge, edge) + body[5:])
        if kind[1] in (0xC0, 0xC1, 0xC2)
        else (kind, body)
        for kind, body in parts
    ]
    return jpeg_of(parts)


def inflating(data: bytes, draw: Random, megabytes: dict[int, bytes]) -> bytes:
    """A PNG with a chunk that unpacks to many megabytes, or with very many chunks.

    megabytes: zlib streams of so many megabytes.
    """
    parts = png_parts(data)
    packed = megabytes[draw.choice(list(megabytes))]
    part = draw.choice(
        (
            (b"zTXt", b"Comment\0\0" + packed),
            (b"iTXt", b"Comment\0\1\0\0\0" + packed),
            (b"iCCP", b"icc\0\0" + packed),
            (b"tEXt", b"Comment\0" + b"x" * 50),
            (b"eXIf", b"MM\0*\0\0\0\x08" + b"\0\x01" * 200),
            (b"acTL", struct.pack(">II", 2**31 - 1, 0)),
            (b"IDAT", packed),
        )
    )
    times = draw.choice((1, 1, 3, 20, 30_000))
    times = max(1, min(times, 3_000_000 // (len(part[1]) + 12)))
    at = draw.choice((1, len(parts) - 1))
    parts[at:at] = [part] * times
    return png_of(parts)
