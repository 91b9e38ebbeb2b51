"""Perceptual hashes, to match photos of the same content but different bytes."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.fft import dctn

from vitrina.data.decode import decoded_photo
from vitrina.errors import ImageError

SIDE = 32
"""Pixels on each edge of the photo that is hashed."""
LOW = 8
"""Frequencies on each axis that enter the hash."""
SAME = 6
"""Upper limit of the bits, of 63, that differ after scaling and recompression of one photo."""


def photo_hash(photo: bytes) -> int | None:
    """The perceptual hash of a photo, 63 bits; None for an unreadable photo or an even surface.

    The bits are the signs of the lowest frequencies minus their median, without the mean (Zauner,
    "Implementation and benchmarking of perceptual image hash functions", 2010).
    """
    try:
        with decoded_photo(photo, SIDE) as decoded:
            grey = decoded.picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    except ImageError:
        return None
    low = dctn(np.asarray(grey, dtype=np.float64), norm="ortho")[:LOW, :LOW].ravel()[1:]
    if np.abs(low).max() < 1:
        # An even surface: the bits would be noise.
        return None
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def same_photo(one: int | None, other: int | None) -> bool:
    """True if two hashes are of one photo; None matches nothing."""
    return one is not None and other is not None and (one ^ other).bit_count() <= SAME
