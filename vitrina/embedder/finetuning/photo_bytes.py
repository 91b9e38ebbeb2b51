"""Local copy of a catalogue's photos: read from their source once, kept on disk for all epochs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrina.data.decode import decoded_photo
from vitrina.data.image_limits import MAX_PIXELS
from vitrina.disk import nameless_file
from vitrina.embedder.photos import Read
from vitrina.errors import ImageError
from vitrina.parallel import map_ahead
from vitrina.types import Codes, Mask

SMALL = 1 << 15
"""Bytes up to which a photo is stored unchanged; larger ones are reduced to the training size."""
MOST_KEPT = 4_000_000
"""Pixels up to which a small file is stored unchanged."""
QUALITY = 92
DECODERS = 4


@dataclass(frozen=True, eq=False)
class PhotoBytes:
    """n photo files, concatenated; empty for a product without a usable photo. flat: uint8. starts:
    (n + 1,) int64, offsets in `flat`."""

    flat: npt.NDArray[np.uint8]
    starts: Codes

    @classmethod
    def write(
        cls,
        products: Iterable[Sequence[str]],
        read: Read,
        edge: int,
        decoders: int = DECODERS,
        max_pixels: int = MAX_PIXELS,
    ) -> PhotoBytes:
        """Store each product's first usable photo in an unnamed temporary file.

        products: photo references of each, in the best order for reading the source. edge: the
        shortest edge, in pixels, that training needs. max_pixels: larger photos are skipped.
        """
        starts = [0]
        with nameless_file() as file:
            found = map_ahead(
                lambda photos: _first_usable(photos, edge, max_pixels),
                _read(products, read),
                decoders,
            )
            for content in found:
                file.write(content)
                starts.append(starts[-1] + len(content))
            file.flush()
            if not starts[-1]:
                return cls(np.zeros(0, dtype=np.uint8), np.array(starts))
            flat = np.memmap(file, np.uint8, mode="r", shape=(starts[-1],))
            return cls(flat, np.array(starts))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> bytes:
        """The bytes of one photo file."""
        return self.flat[self.starts[row] : self.starts[row + 1]].tobytes()

    @property
    def there(self) -> Mask:
        """Products with a usable photo, (n,) bool."""
        return np.diff(self.starts) > 0


def _read(products: Iterable[Sequence[str]], read: Read) -> Iterator[list[bytes]]:
    for references in products:
        photos = []
        for reference in references:
            try:
                photos.append(read(reference))
            except ImageError:
                continue
        yield photos


def _first_usable(photos: Sequence[bytes], edge: int, max_pixels: int) -> bytes:
    for content in photos:
        try:
            with decoded_photo(content, edge, max_pixels) as decoded:
                image = decoded.picture
                # A small file with many pixels would be decoded in full in every epoch.
                if len(content) <= SMALL and image.width * image.height <= MOST_KEPT:
                    return content
                # Reduced decoding may leave up to twice the edge.
                image.thumbnail(
                    (8 * edge, 2 * edge) if image.width > image.height else (2 * edge, 8 * edge)
                )
        except ImageError:
            continue
        out = io.BytesIO()
        image.save(out, "JPEG", quality=QUALITY)
        return out.getvalue()
    return b""
