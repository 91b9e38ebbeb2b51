"""Thumbnails of photos for a page."""

from __future__ import annotations

import io

from PIL import Image

from vitrina.data.decode import decoded_photo
from vitrina.errors import ImageError

QUALITY = 70


def thumbnail(photo: bytes, pixels: int) -> bytes | None:
    """A photo as a WebP of at most `pixels` on either edge; None for an unreadable one.

    A smaller photo keeps its size.
    """
    try:
        with decoded_photo(photo, pixels) as decoded:
            image = decoded.picture
            image.thumbnail((pixels, pixels), Image.Resampling.BOX)
    except ImageError:
        return None
    sink = io.BytesIO()
    image.save(sink, "WEBP", quality=QUALITY, method=2)
    return sink.getvalue()
