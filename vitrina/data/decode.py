"""Bytes of one photo to an RGB picture, or to the reason why that can't be done.

Sellers upload whatever they have, so hostile and broken bytes are the normal case here. Which
library reads them, `image_forms.py` says; what is wrong beside the pixels, as a missing end or
broken metadata, `image_repair.py` mends.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from vitrina.data.image_forms import GIF, JXL, WEBP, Form, recognise
from vitrina.data.image_headers import gif_canvas, jxl_size, orientation
from vitrina.data.image_repair import Repair
from vitrina.errors import ImageError

MAX_PIXELS = 178_000_000
"""A picture larger than this is refused; decoded, it would take about 0.7 GB."""

MAX_GIF_PIXELS = 89_000_000
"""Lower for GIF and JPEG XL, whose readers warn above it while they are still at the header."""

MAX_ASPECT = 100
"""Long edge over short edge. Encoders scale the short edge up to their input, so a 1x50000
strip would become 224x11200000 before it is cropped."""

MAX_SCANS = 500
"""A JPEG of more scans is refused: every one of them goes over the whole picture."""

NEARLY_WHOLE = 0.9
"""The share of its pixels that a truncated picture must have to be used."""

_BAND = 16
"""Lines that the blocks of a lossy picture have, which appear or are missing together."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """picture: of mode RGB, upright. mended: what is wrong with its file, "" for a sound one."""

    picture: Image.Image
    mended: str = ""


def decode(data: bytes, at_least: int | None = None) -> Image.Image:
    """Turn an image file into an RGB picture; see `decode_photo`."""
    return decode_photo(data, at_least).picture


def decode_photo(data: bytes, at_least: int | None = None) -> Decoded:
    """Turn an image file into an RGB picture, upright, the first frame of an animation.

    Transparent parts become white, as on a shop's page; colour profiles are not applied. As in a
    browser, a file may be faulty beside its pixels, or lack up to a tenth of them at its end.

    Parameters
    ----------
    data : the whole file: JPEG, PNG, WebP, GIF, AVIF, TIFF or BMP; HEIC and JPEG XL where the
        packages for them are installed.
    at_least : the encoder's input edge in pixels. A larger JPEG is decoded at 1/2, 1/4 or 1/8
        of its size, the smallest whose both edges are still this long; None decodes all of it.

    Returns
    -------
    A picture of mode RGB that keeps no hold on `data`, and what was mended. Safe to call from many
    threads.

    Raises
    ------
    ImageError
        With a short reason, whatever the bytes; no other exception comes from bad data.
    """
    form, start = recognise(data)
    mended = ""
    if start:
        data, mended = data[start:], f"{start} bytes stand before the {form.name}"
    try:
        picture, turn = _pixels(form, data, at_least)
    except ImageError:
        raise
    # Pillow's readers let almost anything through on broken bytes: OSError, SyntaxError,
    # ValueError, struct.error, zlib.error, OverflowError, MemoryError and more.
    except Exception as err:
        picture, turn, what = _repaired(form, data, at_least, err)
        mended = f"{mended}; {what}" if mended else what
    way = _TURNS.get(turn)
    return Decoded(picture if way is None else picture.transpose(way), mended)


def _pixels(form: Form, data: bytes, at_least: int | None) -> tuple[Image.Image, int]:
    """The picture as it is stored, and its orientation."""
    image = _open(form, data, at_least)
    image.load()
    # JPEG XL turns its pixels itself, unless it is a JPEG packed anew.
    turned = form is JXL and not getattr(image, "jpeg", False)
    turn = 1 if turned else orientation(image.info.get("exif") or b"")
    return _to_rgb(image), turn


def _repaired(
    form: Form, data: bytes, at_least: int | None, err: Exception
) -> tuple[Image.Image, int, str]:
    """The picture of a file that can't be read as it is. Raises ImageError if none can be had."""
    reason = _reason(form, data, err)
    repairs = form.repair(data, _words(err)) if form.repair else iter(())
    while True:
        try:
            repair = next(repairs, None)
            if repair is None:
                break
            picture, turn = _pixels(form, repair.data, at_least)
            share = _share(form, repair, picture, at_least)
        except ImageError:
            raise
        except Exception:
            continue
        if share >= NEARLY_WHOLE:
            part = f" with {math.ceil(100 * (1 - share))}% of its pixels" if share < 1 else ""
            return picture, turn, f"{form.name}, {repair.what}{part}"
        break
    raise ImageError(reason) from err


def _share(form: Form, repair: Repair, picture: Image.Image, at_least: int | None) -> float:
    """How much of a repaired picture was in its file: all before the first pixel that differs
    where the file is completed in another way."""
    if repair.other is None:
        return repair.share
    if repair.fine and at_least is not None:
        at_least = None
        picture = _pixels(form, repair.data, None)[0]
    one = np.asarray(picture)
    other = np.asarray(_pixels(form, repair.other, at_least)[0])
    differs = (one != other).any(axis=2)
    lines = np.flatnonzero(differs.any(axis=1))
    if not len(lines):
        return 1.0
    height, width = differs.shape
    first = int(lines[0])
    stored = form.open()(io.BytesIO(repair.data)).size[1]
    band = differs[first : first + max(1, _BAND * height // stored)]
    column = int(np.flatnonzero(band.any(axis=0))[0])
    return float((first * width + len(band) * column) / (height * width))


def _open(form: Form, data: bytes, at_least: int | None) -> ImageFile:
    """Read the header, refuse what is too large, and set the size to decode at."""
    if form is GIF:
        _refuse_large(gif_canvas(data), MAX_GIF_PIXELS)
    reader = form.open()
    if form is JXL:
        # Its reader decodes at once.
        _refuse_narrow(*jxl_size(data))
        _refuse_large(jxl_size(data), MAX_GIF_PIXELS)
    file = io.BytesIO(data)
    image = reader(file)
    width, height = image.size
    _refuse_narrow(width, height)
    decoded = (width, height)
    if isinstance(image, JpegImageFile):
        whole = not _in_one_pass(image, data, file.tell())
        if whole and (scans := data.count(b"\xff\xda")) > MAX_SCANS:
            raise ImageError(f"too many scans: {scans}")
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


def _refuse_narrow(width: int, height: int) -> None:
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"too narrow: {width}x{height} pixels")


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


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bits(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
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


def _reason(form: Form, data: bytes, err: Exception) -> str:
    text = _words(err)
    if isinstance(err, Image.DecompressionBombError):
        return "too large: more pixels than Pillow's own limit"
    if "truncated" in text.lower() or _is_cut(form, data):
        return f"truncated: {form.name}, {len(data)} bytes"
    if "not identified" in text:
        text = "its header gives no size"
    return f"unreadable {form.name}: {text}"


def _words(err: Exception) -> str:
    return (str(err) or type(err).__name__).splitlines()[0][:120]


def _is_cut(form: Form, data: bytes) -> bool:
    if form is WEBP:
        return len(data) < int.from_bytes(data[4:8], "little")
    return form.ends not in data[-1024:]
