"""Whether two photos show the same, though their bytes differ."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.fft import dctn

from vitrina.data.decode import decoded_photo
from vitrina.errors import ImageError

SIDE = 32
LOW = 8
SAME = 6
"""Bits of 63 in which the hashes of one photo may differ after scaling and recompression."""


def photo_hash(photo: bytes) -> int | None:
    """The perceptual hash of a photo, 63 bits; None for one that can't be read.

    The signs of its lowest frequencies about their median, but for the mean (Zauner,
    "Implementation and benchmarking of perceptual image hash functions", 2010).
    """
    try:
        with decoded_photo(photo, SIDE) as decoded:
            grey = decoded.picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    except ImageError:
        return None
    low = dctn(np.asarray(grey, dtype=np.float64), norm="ortho")[:LOW, :LOW].ravel()[1:]
    if np.abs(low).max() < 1:
        # An even surface: noise would decide.
        return None
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def same_photo(one: int | None, other: int | None) -> bool:
    """Whether two hashes are of one photo."""
    return one is not None and other is not None and (one ^ other).bit_count() <= SAME
