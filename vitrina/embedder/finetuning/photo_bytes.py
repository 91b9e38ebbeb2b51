"""A catalogue's photos near at hand: read from their source once, kept on disk for every pass."""

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
"""Bytes up to which a photo is kept as it came; a larger one is shrunk to what training uses."""
MOST_KEPT = 4_000_000
"""Pixels up to which a small file is kept as it came."""
QUALITY = 92
DECODERS = 4


@dataclass(frozen=True, eq=False)
class PhotoBytes:
    """n photos as files, one after another. flat: uint8. starts: (n + 1,) int64."""

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
        """Keep each product's first photo that can be used, in a file without a name.

        products: references to the photos of each, in the order in which the source is best read.
        edge: the shortest edge, in pixels, that is made use of. max_pixels: photos of more are
        passed over.
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
        """The file of one photo."""
        return self.flat[self.starts[row] : self.starts[row + 1]].tobytes()

    @property
    def there(self) -> Mask:
        """(n,) bool: products with a photo that can be used."""
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
                # A small file of many pixels would be decoded in full by every epoch.
                if len(content) <= SMALL and image.width * image.height <= MOST_KEPT:
                    return content
                # Twice the edge is what reduced decoding may leave.
                image.thumbnail(
                    (8 * edge, 2 * edge) if image.width > image.height else (2 * edge, 8 * edge)
                )
        except ImageError:
            continue
        out = io.BytesIO()
        image.save(out, "JPEG", quality=QUALITY)
        return out.getvalue()
    return b""
