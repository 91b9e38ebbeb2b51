"""Image file formats: their signatures and readers, and names for files that are no photo.

Readers are called directly instead of through `PIL.Image.open`. That excludes formats no shop
publishes, some of which start other programs, and leaves the size check to this package. Pillow's
own check emits a Python warning for a large photo, and warnings can't be silenced for one thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from vitrina.data.image_repair import ImageRepair, repair_gif, repair_jpeg, repair_png, repair_webp
from vitrina.errors import ImageError

_MOST_JUNK = 8192
_JUNK = re.compile(
    rb"[\t-\r\x20-\x7e\x00\xef\xbb\xbf\xff\xfe]{1,%d}?"
    rb"(?=\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF.{4}WEBPVP8)" % _MOST_JUNK,
    re.DOTALL,
)
"""Bytes allowed before a photo: blanks, byte order marks, text such as HTTP headers."""


class _Jpeg(JpegImageFile):
    """JPEG reader that does not look up the resolution in EXIF.

    The resolution is not needed, and the lookup warns about each damaged EXIF block, which cheap
    photo editors leave in otherwise valid photos. A multi-picture file (MPO) reads as its first
    picture.
    """

    def _read_dpi_from_exif(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """An image file format.

    Attributes:
        name: name for messages.
        begins: pattern of its first bytes.
        reader: Pillow's class that reads it, or module, class and extra of another package.
        ends: last bytes of a complete file; b"" if they are not fixed.
        repair: yields repaired versions of an unreadable file, the likeliest first.
    """

    name: str
    begins: re.Pattern[bytes]
    reader: type[ImageFile] | tuple[str, str, str]
    ends: bytes = b""
    repair: Callable[[bytes, str], Iterator[ImageRepair]] | None = None

    def open(self) -> type[ImageFile]:
        """Return the reader class. Raises ImageError if its package is not installed."""
        if not isinstance(self.reader, tuple):
            return self.reader
        module, name, extra = self.reader
        try:
            reader: type[ImageFile] = getattr(import_module(module), name)
        except ImportError as err:
            raise ImageError(f"{self.name}; pip install 'vitrina[{extra}]' reads it") from err
        return reader


JPEG = ImageFormat("JPEG", re.compile(rb"\xff\xd8\xff"), _Jpeg, b"\xff\xd9", repair_jpeg)
GIF = ImageFormat("GIF", re.compile(rb"GIF8[79]a"), GifImageFile, repair=repair_gif)
WEBP = ImageFormat(
    "WebP", re.compile(rb"RIFF.{4}WEBPVP8", re.DOTALL), WebPImageFile, repair=repair_webp
)
JXL = ImageFormat(
    "JPEG XL",
    re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
    ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile", "jxl"),
)
FORMS = (
    JPEG,
    ImageFormat(
        "PNG",
        re.compile(rb"\x89PNG\r\n\x1a\n"),
        PngImageFile,
        b"IEND\xaeB`\x82",
        repair_png,
    ),
    WEBP,
    GIF,
    ImageFormat("AVIF", re.compile(rb".{4}ftyp.{0,40}?avi[fs]", re.DOTALL), AvifImageFile),
    ImageFormat(
        "HEIC",
        re.compile(rb".{4}ftyp(?:he[iv][cfmsx]|mif[12]|msf1)", re.DOTALL),
        ("pillow_heif", "HeifImageFile", "heic"),
    ),
    JXL,
    ImageFormat("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImageFile),
    ImageFormat("BMP", re.compile(rb"BM"), BmpImageFile),
)

_STRANGERS = (
    (rb"\s*(<\?xml|<!--|<svg)", "an SVG or XML document"),
    (rb"\s*<(!doctype|html|head|body)", "an HTML page"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "JPEG 2000; save it as JPEG or PNG"),
    (rb"\0\0[\x01\x02]\0[^\0]\0", "an icon (ICO)"),
    (rb"8BPS", "a Photoshop document (PSD)"),
    (rb"II\xbc\x01", "JPEG XR; save it as JPEG or PNG"),
    (rb".{4}ftyp(?:crx )", "a camera's raw file"),
    (rb".{4}ftyp|.{4}moov|\x1a\x45\xdf\xa3|\0\0\x01[\xb3\xba]|FLV\x01|OggS", "a video"),
    (rb"RIFF.{4}AVI ", "a video"),
    (rb"ID3|RIFF.{4}WAVE", "a sound"),
    (rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b", "an archive"),
    (rb"%PDF", "a PDF document"),
    (rb"\xd0\xcf\x11\xe0", "an Office document"),
)
_STRANGER_PATTERNS = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), what) for pattern, what in _STRANGERS
)


def recognise(data: bytes) -> tuple[ImageFormat, int]:
    """Return a file's format and the offset at which it starts. Raises ImageError for none."""
    if not data:
        raise ImageError("empty file")
    form = _form_at(data, 0)
    if form is not None:
        return form, 0
    for pattern, what in _STRANGER_PATTERNS:
        if pattern.match(data):
            raise ImageError(f"not an image: {what}")
    junk = _JUNK.match(data)
    form = None if junk is None else _form_at(data, junk.end())
    if junk is None or form is None:
        raise ImageError("not an image")
    return form, junk.end()


def _form_at(data: bytes, start: int) -> ImageFormat | None:
    return next((form for form in FORMS if form.begins.match(data, start)), None)
