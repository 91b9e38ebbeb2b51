"""Decoding of one photo's bytes to an RGB picture, or to the reason why they can't be decoded.

Sellers upload whatever they have, so hostile and broken bytes are normal here. `image_forms.py`
selects the library that reads them. `image_repair.py` repairs faults outside the pixels, such as a
missing end or broken metadata.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from vitrina.data.decode_budget import decode_budget
from vitrina.data.image_forms import GIF, JXL, WEBP, ImageFormat, recognise
from vitrina.data.image_headers import gif_canvas, jxl_size, orientation
from vitrina.data.image_limits import (
    MAX_GIF_PIXELS,
    MAX_PIXELS,
    decoding_bytes,
    refuse_large,
    refuse_long_header,
    refuse_long_runs,
    refuse_narrow,
    refuse_scans,
    without_long_extensions,
)
from vitrina.data.image_repair import ImageRepair
from vitrina.errors import ImageError

NEARLY_WHOLE = 0.9
"""Minimum share of its pixels that a truncated picture must have to be used."""

_COMPARING = 3
"""Memory factor for comparing two completions of a truncated picture."""

_BAND = 16
"""Height in lines of a lossy picture's blocks, which are present or missing as a whole."""

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
    """Decoded photo. picture: mode RGB, upright. mended: repaired faults of the file, or ""."""

    picture: Image.Image
    mended: str = ""


def decode(data: bytes, at_least: int | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image file to an RGB picture; see `decoded_photo`."""
    with decoded_photo(data, at_least, max_pixels) as decoded:
        return decoded.picture


@contextmanager
def decoded_photo(
    data: bytes, at_least: int | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[Decoded]:
    """Decode an image file to an upright RGB picture; an animation gives its first frame.

    Transparent parts become white, as on a shop's page; colour profiles are not applied. As in a
    browser, a file may have faults outside its pixels, or lack up to a tenth of them at its end.

    The picture's memory counts against this process's budget while the block runs. The block must
    not decode another photo.

    Parameters
    ----------
    data : the whole file: JPEG, PNG, WebP, GIF, AVIF, TIFF or BMP; HEIC and JPEG XL if the packages
        for them are installed.
    at_least : the encoder's input edge in pixels. A larger JPEG is decoded at 1/2, 1/4 or 1/8
        of its size, the smallest whose both edges are at least this long; None decodes all of it.
    max_pixels : a picture with more pixels after decoding is refused.

    Yields
    ------
    A picture of mode RGB that holds no reference to `data`, and its repaired faults. Thread-safe.

    Raises
    ------
    ImageError
        With a short reason; bad data raises no other exception.
    """
    with ExitStack() as reserved:
        yield _Decoder(at_least, max_pixels, reserved).decode(data)


@dataclass(frozen=True, slots=True)
class _Decoder:
    """Decoder of one photo.

    at_least, max_pixels: as in `decoded_photo`. reserved: holds the picture's memory reservation.
    """

    at_least: int | None
    max_pixels: int
    reserved: ExitStack

    def decode(self, data: bytes) -> Decoded:
        form, start = recognise(data)
        mended = ""
        if start:
            data, mended = data[start:], f"{start} bytes before the {form.name}"
        refuse_long_header(form.name, data)
        if form is GIF:
            data = without_long_extensions(data)
        try:
            picture, turn = self._pixels(form, data)
        except ImageError:
            raise
        # Pillow's readers raise almost anything on broken bytes: OSError, SyntaxError, ValueError,
        # struct.error, zlib.error, OverflowError, MemoryError and more.
        except Exception as err:
            picture, turn, what = self._repaired(form, data, err)
            mended = f"{mended}; {what}" if mended else what
        way = _TURNS.get(turn)
        return Decoded(picture if way is None else picture.transpose(way), mended)

    def _pixels(self, form: ImageFormat, data: bytes, times: int = 1) -> tuple[Image.Image, int]:
        """Return the picture as stored and its EXIF orientation. times: reservation factor."""
        self.reserved.close()
        _refuse_by_header(form, data, self.max_pixels)
        if form is JXL:
            # Its reader decodes the picture when it opens the file.
            width, height = jxl_size(data)
            self._reserve(times * decoding_bytes(form.name, "RGBA", width * height))
        header = _open(form, data, self.at_least, self.max_pixels)
        if form is not JXL:
            self._reserve(times * header.bytes)
        return _load(form, header.image)

    def _reserve(self, size: int) -> None:
        self.reserved.enter_context(decode_budget().reserve(size))

    def _repaired(
        self, form: ImageFormat, data: bytes, err: Exception
    ) -> tuple[Image.Image, int, str]:
        """Decode a broken file through its repairs: picture, orientation, and what was wrong.

        Raises ImageError if no repair gives enough of the picture.
        """
        reason = _reason(form, data, err)
        repairs = form.repair(data, _words(err)) if form.repair else iter(())
        while True:
            try:
                repair = next(repairs, None)
                if repair is None:
                    break
                times = 1 if repair.other is None else _COMPARING
                picture, turn = self._pixels(form, repair.data, times)
                share = self._share(form, repair, picture)
            except ImageError:
                raise
            except Exception:
                continue
            if share >= NEARLY_WHOLE:
                part = f" with {math.ceil(100 * (1 - share))}% of its pixels" if share < 1 else ""
                return picture, turn, f"{form.name}, {repair.what}{part}"
            break
        raise ImageError(reason) from err

    def _share(self, form: ImageFormat, repair: ImageRepair, picture: Image.Image) -> float:
        """Return the share of a repaired picture that was in its file.

        That is all before the first pixel that differs between two completions of the file.
        """
        if repair.other is None:
            return repair.share
        at_least = self.at_least
        if repair.fine and at_least is not None:
            at_least = None
            # Decoded at full size, since it was reduced before.
            picture = _Decoder(None, self.max_pixels, self.reserved)._pixels(
                form, repair.data, _COMPARING
            )[0]
        header = _open(form, repair.other, at_least, self.max_pixels)
        one, other = np.asarray(picture), np.asarray(_load(form, header.image)[0])
        differs = np.zeros((picture.height, picture.width), dtype=bool)
        for channel in range(one.shape[2]):
            differs |= one[:, :, channel] != other[:, :, channel]
        lines = np.flatnonzero(differs.any(axis=1))
        if not len(lines):
            return 1.0
        height, width = picture.height, picture.width
        first = int(lines[0])
        stored = form.open()(io.BytesIO(repair.data)).size[1]
        band = differs[first : first + max(1, _BAND * height // stored)]
        column = int(np.flatnonzero(band.any(axis=0))[0])
        return float((first * width + len(band) * column) / (height * width))


@dataclass(frozen=True, slots=True)
class _Header:
    """Opened photo. image: not decoded yet. bytes: estimated memory to decode it."""

    image: ImageFile
    bytes: int


def _refuse_by_header(form: ImageFormat, data: bytes, max_pixels: int) -> None:
    """Raise ImageError for a file that must not reach its reader."""
    form.open()
    if form in (GIF, JXL):
        size = gif_canvas(data) if form is GIF else jxl_size(data)
        if form is JXL:
            refuse_narrow(*size)
        refuse_large(size, min(MAX_GIF_PIXELS, max_pixels), highest=MAX_GIF_PIXELS)


def _open(form: ImageFormat, data: bytes, at_least: int | None, max_pixels: int) -> _Header:
    """Read the header, refuse a picture that is too large, and set the size to decode at."""
    file = io.BytesIO(data)
    image = form.open()(file)
    width, height = image.size
    refuse_narrow(width, height)
    decoded = (width, height)
    coefficients = 0
    if isinstance(image, JpegImageFile):
        whole = not _in_one_pass(image, data, file.tell())
        if whole:
            refuse_scans(data, (width, height), max_pixels)
            coefficients = width * height * image.layers
        if at_least:
            # `draft` divides by the largest of 1, 2, 4, 8 that is at most edge // at_least for
            # both edges and rounds up, so neither edge ends below `at_least`.
            image.draft(None, (at_least, at_least))
            decoded = decoded if whole else image.size
    refuse_large(decoded, max_pixels, shown=(width, height))
    refuse_long_runs(image, data)
    pixels = decoded[0] * decoded[1]
    return _Header(image, decoding_bytes(form.name, image.mode, pixels, coefficients))


def _load(form: ImageFormat, image: ImageFile) -> tuple[Image.Image, int]:
    """Decode an opened picture to RGB as stored, and return it with its EXIF orientation."""
    if isinstance(image, TiffImageFile):
        # With a buffer in place, the reader skips its size check, which would emit a warning.
        stored = (image.tag_v2[256], image.tag_v2[257])
        image.im = Image.new(image.mode, stored).im
    image.load()
    # The JPEG XL reader applies the orientation itself, unless the file is a recompressed JPEG.
    turned = form is JXL and not getattr(image, "jpeg", False)
    turn = 1 if turned else orientation(image.info.get("exif") or b"")
    return _to_rgb(image), turn


def _in_one_pass(image: JpegImageFile, data: bytes, after_scan_header: int) -> bool:
    """Return True if the JPEG's first scan contains all of its components.

    Otherwise libjpeg holds the full-size coefficients, however small the result is.
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
    """Scale a grey picture of 16 or 32 bits to 8 bits; Pillow would clip it to white instead.

    16-bit pictures have a known range. 32-bit ones take the smallest usual range that holds their
    values (0 to 1 for floats, 0 to 255, 0 to 65535), else the range of the values.
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


def _reason(form: ImageFormat, data: bytes, err: Exception) -> str:
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


def _is_cut(form: ImageFormat, data: bytes) -> bool:
    if form is WEBP:
        return len(data) < int.from_bytes(data[4:8], "little")
    return form.ends not in data[-1024:]
