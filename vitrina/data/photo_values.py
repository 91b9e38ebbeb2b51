"""Photos among the values of a column of Python objects: bytes, images, names."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

_BYTES = (bytes, bytearray, memoryview)


def photos_in(value: Any) -> list[Any]:
    """Return the photos that one value holds: itself, or the items of a list."""
    if isinstance(value, (list, tuple)):
        return [item for one in value for item in photos_in(one)]
    return [] if is_nothing(value) else [value]


def is_nothing(value: Any) -> bool:
    """Return True for a missing value."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def is_photo(value: Any) -> bool:
    """Return True if a value holds a photo itself: bytes, an image, pixels, or a list with one."""
    if isinstance(value, (list, tuple)):
        return any(map(is_photo, value))
    if isinstance(value, Mapping):
        return "bytes" in value
    return isinstance(value, _BYTES) or _is_image(value) or _is_pixels(value)


def name_of(item: Any) -> str | None:
    """Return the name of a photo that is only named, by a text, a path or a record; else None."""
    if isinstance(item, Mapping):
        return None if item.get("bytes") is not None else str(item.get("path") or "") or None
    return str(item) if isinstance(item, (str, PurePath)) else None


def encoded(item: Any) -> bytes | None:
    """Return a photo's file: bytes as they are, an image or (h, w, 3) uint8 pixels as PNG.

    None for a value that is no photo. Raises OSError or ValueError for an image that can't be
    written.
    """
    if isinstance(item, Mapping):
        item = item.get("bytes")
    if isinstance(item, _BYTES):
        return bytes(item)
    if _is_pixels(item):
        from PIL import Image

        item = Image.fromarray(item)
    if not _is_image(item):
        return None
    buffer = io.BytesIO()
    # PNG has no other modes; conversion to RGB keeps what an encoder sees.
    picture = item if item.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else None
    (picture or item.convert("RGB")).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _is_image(value: Any) -> bool:
    return type(value).__module__.startswith("PIL.") and hasattr(value, "save")


def _is_pixels(value: Any) -> bool:
    return (
        type(value).__module__ == "numpy"
        and getattr(value, "dtype", None) == "uint8"
        and getattr(value, "ndim", 0) in (2, 3)
    )
