"""Bytes of one photo to an RGB picture, or to the reason why that can't be done.

Sellers upload whatever they have, so hostile and broken bytes are the normal case here. Each
form's reader is called directly instead of through `PIL.Image.open`: that keeps out the forms
no shop publishes (some of which start other programs), and it leaves the size check to us.
Pillow's own check answers a large photo with a Python warning, and warnings can't be silenced
for one thread alone.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from vitrina.errors import ImageError

MAX_PIXELS = 178_000_000
"""A picture larger than this is refused; decoded, it would take about 0.7 GB."""

MAX_GIF_PIXELS = 89_000_000
"""Lower for GIF, whose reader warns above it while it is still looking at the header."""

MAX_ASPECT = 100
"""Long edge over short edge. Encoders scale the short edge up to their input, so a 1x50000
strip would become 224x11200000 before it is cropped."""


class _Jpeg(JpegImageFile):
    """A JPEG whose resolution is not looked up in EXIF.

    Nobody here needs it, and that lookup warns about each damaged EXIF block, which cheap
    photo editors leave behind in photos that are otherwise fine. A multi-picture file (MPO)
    reads as its first picture.
    """

    def _read_dpi_from_exif(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Form:
    """A kind of image file: how it begins, what reads it, how a whole one ends ("" if unclear)."""

    name: str
    begins: re.Pattern[bytes]
    reader: type[ImageFile]
    ends: bytes = b""


_FORMS = (
    _Form("JPEG", re.compile(rb"\xff\xd8\xff"), _Jpeg, b"\xff\xd9"),
    _Form("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile, b"IEND\xaeB`\x82"),
    _Form("WebP", re.compile(rb"RIFF.{4}WEBPVP8", re.DOTALL), WebPImageFile),
    _Form("GIF", re.compile(rb"GIF8[79]a"), GifImageFile),
    _Form("AVIF", re.compile(rb".{4}ftyp.{0,40}?avi[fs]", re.DOTALL), AvifImageFile),
    _Form("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImageFile),
    _Form("BMP", re.compile(rb"BM"), BmpImageFile),
)

_STRANGERS = (
    (re.compile(rb"\s*(<\?xml|<!--|<svg)", re.IGNORECASE), "an SVG or XML document"),
    (re.compile(rb"\s*<(!doctype|html|head|body)", re.IGNORECASE), "an HTML page"),
    (re.compile(rb".{4}ftyp", re.DOTALL), "HEIC or video"),
    (re.compile(rb"%PDF"), "a PDF document"),
)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, at_least: int | None = None) -> Image.Image:
    """Turn an image file into an RGB picture, upright, the first frame of an animation.

    Transparent parts become white, as on a shop's page; colour profiles are not applied.

    Parameters
    ----------
    data : the whole file: JPEG, PNG, WebP, GIF, AVIF, TIFF or BMP.
    at_least : the encoder's input edge in pixels. A larger JPEG is decoded at 1/2, 1/4 or 1/8
        of its size, the smallest whose both edges are still this long; None decodes all of it.

    Returns
    -------
    A picture of mode RGB that keeps no hold on `data`. Safe to call from many threads.

    Raises
    ------
    ImageError
        With a short reason, whatever the bytes; no other exception comes from bad data.
    """
    form = _recognise(data)
    try:
        image = _open(form, data, at_least)
        image.load()
        turn = _TURNS.get(_orientation(image.info.get("exif", b"")))
        picture = _to_rgb(image)
        return picture if turn is None else picture.transpose(turn)
    except ImageError:
        raise
    # Pillow's readers let almost anything through on broken bytes: OSError, SyntaxError,
    # ValueError, struct.error, zlib.error, OverflowError, MemoryError and more.
    except Exception as err:
        raise ImageError(_reason(form, data, err)) from err


def _recognise(data: bytes) -> _Form:
    if not data:
        raise ImageError("empty file")
    for form in _FORMS:
        if form.begins.match(data):
            return form
    for pattern, what in _STRANGERS:
        if pattern.match(data):
            raise ImageError(f"not an image: {what}")
    raise ImageError("not an image")


def _open(form: _Form, data: bytes, at_least: int | None) -> ImageFile:
    """Read the header, refuse what is too large, and set the size to decode at."""
    if form.reader is GifImageFile:
        _refuse_large(_gif_canvas(data), MAX_GIF_PIXELS)
    file = io.BytesIO(data)
    image = form.reader(file)
    width, height = image.size
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"too narrow: {width}x{height} pixels")
    decoded = (width, height)
    if isinstance(image, JpegImageFile):
        whole = not _in_one_pass(image, data, file.tell())
        if at_least:
            # `draft` divides by the largest of 1, 2, 4, 8 that is at most edge // at_least for
            # both edges and rounds up, so neither edge ends below `at_least`.
            image.draft(None, (at_least, at_least))
            decoded = decoded if whole else image.size
    _refuse_large(decoded, MAX_PIXELS, shown=(width, height))
    if isinstance(image, TiffImageFile):
        # The reader checks the size, with a warning, only where it has no buffer yet.
        stored = (image.tag_v2[256], image.tag_v2[257])
        image.im = Image.new(image.mode, stored).im
    return image


def _refuse_large(size: tuple[int, int], limit: int, shown: tuple[int, int] | None = None) -> None:
    if size[0] * size[1] > limit:
        width, height = shown or size
        raise ImageError(f"too large: {width}x{height} pixels")


def _in_one_pass(image: JpegImageFile, data: bytes, after_scan_header: int) -> bool:
    """Whether all of the JPEG's components come in its first scan.

    Otherwise libjpeg holds the coefficients of the full size, however small the result is.
    """
    parts = image.layers
    start = after_scan_header - 8 - 2 * parts
    header = bytes((0xFF, 0xDA, 0, 6 + 2 * parts, parts))
    return "progressive" not in image.info and data[start : start + 5] == header


def _gif_canvas(data: bytes) -> tuple[int, int]:
    """The screen stretched to hold the first frame, (0, 0) where the file ends before it."""
    try:
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        while data[at] != 0x2C:
            if data[at] == 0x3B:
                return (0, 0)
            if data[at] == 0x21:
                at += 2
                while data[at]:
                    at += data[at] + 1
            at += 1
        left, top, across, down = struct.unpack_from("<HHHH", data, at + 1)
    except (IndexError, struct.error):
        return (0, 0)
    return (max(width, left + across), max(height, top + down))


def _orientation(exif: bytes) -> int:
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


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bits(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    picture = Image.new("RGB", layer.size, "white")
    picture.paste(layer, mask=layer)
    return picture


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale a grey picture of 16 or 32 bits, which Pillow would clip to white instead.

    16 bits have a known range. 32 bits have none, so the smallest usual one that holds the
    values is taken (0 to 1 for floats, 0 to 255, 0 to 65535), else the values' own.
    """
    values = np.asarray(image)
    clear = image.info.get("transparency")
    hidden = values == clear if isinstance(clear, int) else None
    low, high = 0.0, 65535.0
    if not image.mode.startswith("I;16"):
        values = values.astype(np.float32)
        finite = values[np.isfinite(values)]
        least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        fitting = [top for top in ranges if least >= 0 and most <= top]
        low, high = (0.0, fitting[0]) if fitting else (least, most)
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    # Halved before the subtraction, which could overflow, and doubled after it.
    half, scale = np.float32(0.5), np.float32(510 / max(high - low, 1e-30))
    grey = ((values * half - half * np.float32(low)) * scale + half).astype(np.uint8)
    if hidden is not None:
        grey[hidden] = 255
    return Image.fromarray(grey)


def _reason(form: _Form, data: bytes, err: Exception) -> str:
    text = str(err) or type(err).__name__
    if isinstance(err, Image.DecompressionBombError):
        return "too large: more pixels than Pillow's own limit"
    if "truncated" in text.lower() or _is_cut(form, data):
        return f"truncated: {form.name}, {len(data)} bytes"
    if "not identified" in text:
        text = "its header gives no size"
    return f"unreadable {form.name}: {text}"


def _is_cut(form: _Form, data: bytes) -> bool:
    if form.reader is WebPImageFile:
        return len(data) < int.from_bytes(data[4:8], "little")
    return form.ends not in data[-1024:]
