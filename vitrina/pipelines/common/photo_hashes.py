"""Photos of a catalogue's products, with hashes of their contents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vitrina.data.product import Product
from vitrina.data.sources import ColumnImages, ImageSource
from vitrina.errors import ImageError
from vitrina.parallel import map_ahead
from vitrina.store.products import content_hash


@dataclass(frozen=True, slots=True)
class Photographed:
    """A product's photos.

    references: their names in the source. hash: of their contents, None if none can be read. stamp:
    a hash of their files' metadata, None where unknown. reason: why none can be read, "" if one
    can. tried: True if reading failed in this run. missing: why none was found, "" if one was or
    the catalogue names none.
    """

    references: tuple[str, ...] = ()
    hash: str | None = None
    stamp: str | None = None
    reason: str = ""
    tried: bool = False
    missing: str = ""

    @property
    def unread(self) -> bool:
        """True if photos were found and not read yet."""
        return bool(self.references) and self.hash is None and not self.reason


NO_PHOTO = Photographed()


class PhotoHasher:
    """Finds and hashes photos; a photo with an unchanged stamp is not read again."""

    def __init__(self, source: ImageSource, *, rehash: bool = False) -> None:
        """anew: read every photo again from its source, not from a cached copy."""
        self._source, self._anew = source, rehash

    def hash(
        self, products: Sequence[Product], known: Sequence[Photographed]
    ) -> Iterator[Photographed]:
        """Find and hash the photos of each product, in order. known: earlier results."""
        if self._source.workers == 1:
            # A column of bytes is read together with its rows, photo by photo.
            return map(self._read, map(self._find, products, known))
        # Finding needs only names. It runs for all products first, so reading has no gaps.
        found = list(map(self._find, products, known))
        unread = (photo for photo in found if photo.unread)
        read = map_ahead(self._read, unread, self._source.workers)
        return (next(read) if photo.unread else photo for photo in found)

    def _find(self, product: Product, known: Photographed) -> Photographed:
        references = self._source.references(product)
        if not references:
            # A column of bytes may name photos that `product.images` lacks.
            named = product.images or isinstance(self._source, ColumnImages)
            missing = self._source.not_found(product) if named else ""
            return replace(NO_PHOTO, missing=missing) if missing else NO_PHOTO
        stamps = [self._source.stamp(reference) for reference in references]
        stamp = None
        if None not in stamps:
            parts = (f"{name}\0{sign}" for name, sign in zip(references, stamps, strict=True))
            stamp = content_hash("\n".join(parts).encode("utf-8", "surrogatepass"))
        if stamp is not None and stamp == known.stamp and (known.hash or known.reason):
            return Photographed(references, known.hash, stamp, known.reason)
        return Photographed(references, None, stamp)

    def _read(self, photo: Photographed) -> Photographed:
        if not photo.unread:
            return photo
        hashes: dict[str, str] = {}
        reason = ""
        for reference in photo.references:
            try:
                if self._anew:
                    self._source.forget(reference)
                hashes[reference] = content_hash(self._source.read(reference))
            except ImageError as err:
                reason = str(err)
        if not hashes:
            return replace(photo, reason=reason, tried=True)
        whole = "".join(hashes.values())
        joint = whole if len(hashes) == 1 else content_hash(whole.encode())
        # If one of several is unreadable, a stamp would prevent later attempts to read it.
        return Photographed(tuple(hashes), joint, None if reason else photo.stamp)
