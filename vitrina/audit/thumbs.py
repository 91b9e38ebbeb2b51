"""Photos made small for a page."""

from __future__ import annotations

import io

from PIL import Image

from vitrina.data.decode import decoded_photo
from vitrina.errors import ImageError

QUALITY = 70


def thumbnail(photo: bytes, pixels: int) -> bytes | None:
    """A photo as a WebP no longer than `pixels` on either edge; None for one that can't be read.

    A photo that is small already keeps its size.
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
