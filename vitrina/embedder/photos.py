"""Photo encoding: read, decode and prepare photos in parallel with the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
from PIL.Image import Image

from vitrina.data.decode import decoded_photo
from vitrina.data.decode_budget import MemoryBudget
from vitrina.data.image_limits import MAX_PIXELS
from vitrina.embedder.base import ImageEncoder, Prepared, normalise
from vitrina.errors import ImageError
from vitrina.limits import worker_threads
from vitrina.parallel import map_ahead
from vitrina.stage_timer import Stages
from vitrina.types import Mask, Vectors

OVERSAMPLING = 2
"""Photos are decoded to at least this many times the encoder's edge: a JPEG reduced to the edge
itself loses detail that the model's own resize keeps."""

READ_AHEAD = 192 << 20
"""Maximum bytes of photo files in memory and not decoded yet, plus or minus one block."""

GROUPED_PIXELS = 1 << 20
"""Pixels decoded before any picture is used; the last picture may exceed this."""

Read = Callable[[str], bytes]
"""Fetches one photo; raises ImageError."""
Report = Callable[[int], None]
"""Takes the number of products done since its last call."""


@dataclass(frozen=True)
class Failure:
    """The reason a photo can't be used, and the stage that failed: read or decode."""

    stage: str
    reason: str


@dataclass(frozen=True)
class Encoded:
    """Encoded products. vectors: (n, dim) float32, zero where it failed. ok: (n,) bool. errors: by
    position. mended: defects of photos used nevertheless, by position."""

    vectors: Vectors
    ok: Mask
    errors: dict[int, Failure]
    mended: dict[int, str] = field(default_factory=dict)


def encode_photos(
    encoder: ImageEncoder,
    products: Sequence[Sequence[str]],
    read: Read,
    report: Report | None = None,
    stages: Stages | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Encoded:
    """Encode each product's photos into the normalised mean of their vectors.

    products: photo references of each, at least one. read: called from this thread only, in order,
    which is fastest for an archive or a column. stages: timer of reading, decoding and encoding.
    max_pixels: larger photos are refused. A product with several photos fails only if none of them
    can be used.
    """
    stages = stages or Stages()
    vectors = np.zeros((len(products), encoder.card.dim), dtype=np.float32)
    ok = np.zeros(len(products), dtype=bool)
    errors: dict[int, Failure] = {}
    mended: dict[int, str] = {}
    decoders = worker_threads()
    with encoder.together() as encoders:
        side_by_side = encoders > 1
        threads = max(decoders, encoders)
        stages.workers.update(decode=threads, encode=threads if side_by_side else 1)

        ahead = MemoryBudget(READ_AHEAD)

        def work(block: _Block) -> _Block:
            try:
                with stages.timed("decode"):
                    block.prepare(encoder, max_pixels)
            finally:
                ahead.release(block.size)
            if side_by_side:
                # In the decoding thread, so that no core waits for another.
                block.encode(encoder, stages)
            return block

        blocks = _blocks(products, read, encoder.batch, stages, ahead)
        for block in map_ahead(work, blocks, threads):
            if not side_by_side:
                block.encode(encoder, stages)
            if block.vectors is not None:
                np.add.at(vectors, block.owners, block.vectors)
                ok[block.owners] = True
            errors |= block.errors
            mended |= block.mended
            if report:
                report(block.products)
    return Encoded(normalise(vectors), ok, errors, mended)


@dataclass
class _Block:
    """Consecutive products in processing: from bytes to prepared photos to vectors.

    photos: product position and content (or failure) of each photo. size: bytes of these. ready,
    vectors: of usable photos, whose product positions are `owners`. errors: of products without a
    usable photo. mended: defects of usable photos, by product.
    """

    products: int
    photos: list[tuple[int, bytes | Failure]]
    size: int
    owners: list[int] = field(default_factory=list)
    ready: list[Prepared] = field(default_factory=list)
    vectors: Vectors | None = None
    errors: dict[int, Failure] = field(default_factory=dict)
    mended: dict[int, str] = field(default_factory=dict)

    def prepare(self, encoder: ImageEncoder, max_pixels: int) -> None:
        failures: dict[int, Failure] = {}
        for at, data in self.photos:
            try:
                if isinstance(data, Failure):
                    failures.setdefault(at, data)
                    continue
                photo = prepare_photo(encoder, data, max_pixels)
                self.ready.append(photo.ready)
                self.owners.append(at)
                if photo.mended:
                    self.mended.setdefault(at, photo.mended)
            except ImageError as err:
                failures.setdefault(at, Failure("decode", str(err)))
        self.photos = []
        usable = set(self.owners)
        self.errors = {at: one for at, one in failures.items() if at not in usable}

    def encode(self, encoder: ImageEncoder, stages: Stages) -> None:
        if self.ready:
            with stages.timed("encode"):
                self.vectors = encoder.encode(self.ready)
        self.ready = []


def _blocks(
    products: Sequence[Sequence[str]], read: Read, most: int, stages: Stages, ahead: MemoryBudget
) -> Iterator[_Block]:
    """Read blocks of `most` products, or fewer if their files are large."""
    start = 0
    while start < len(products):
        photos: list[tuple[int, bytes | Failure]] = []
        size, at = 0, start
        with stages.timed("read"):
            while at < min(start + most, len(products)) and size < READ_AHEAD:
                found = [(at, _fetched(reference, read)) for reference in products[at]]
                size += sum(len(data) for _, data in found if isinstance(data, bytes))
                photos += found
                at += 1
        ahead.acquire(size)
        yield _Block(at - start, photos, size)
        start = at


def _fetched(reference: str, read: Read) -> bytes | Failure:
    try:
        return read(reference)
    except ImageError as err:
        return Failure("read", str(err))


@dataclass(frozen=True)
class PreparedPhoto:
    """ready: the encoder's input. mended: defect of the file, "" for none."""

    ready: Prepared
    mended: str


def prepare_photo(
    encoder: ImageEncoder, data: bytes, max_pixels: int = MAX_PIXELS
) -> PreparedPhoto:
    """Decode a photo at the size that the encoder needs, and prepare it; thread-safe.

    Raises ImageError with the reason if it can't be used.
    """
    with decoded_photo(data, OVERSAMPLING * encoder.edge, max_pixels) as decoded:
        return PreparedPhoto(encoder.prepare(decoded.picture), decoded.mended)


def decode_photos(
    products: Iterable[Sequence[str]],
    read: Read,
    batch: int = 512,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Iterable[Image]]:
    """Decode each product's first usable photo, in batches; products without one are skipped.

    For fitting; broken photos are reported later. A batch decodes its photos lazily, so that few
    are in memory together; consume it before the next one.
    """
    images = _in_groups(products, read, max_pixels)
    while (first := next(images, None)) is not None:
        yield chain((first,), islice(images, batch - 1))


def _in_groups(products: Iterable[Sequence[str]], read: Read, max_pixels: int) -> Iterator[Image]:
    """Decode pictures in order, small ones in groups: work on a picture in between would evict the
    decoder from the processor's caches."""
    group: list[Image] = []
    pixels = 0
    for references in products:
        with _first_usable(references, read, max_pixels) as picture:
            if picture is None:
                continue
            group.append(picture)
            pixels += picture.width * picture.height
            if pixels >= GROUPED_PIXELS:
                # Within the `with` block: a large picture's memory stays reserved until its end.
                yield from group
                group.clear()
                pixels = 0
    yield from group


@contextmanager
def _first_usable(references: Sequence[str], read: Read, max_pixels: int) -> Iterator[Image | None]:
    with ExitStack() as reserved:
        for reference in references:
            with suppress(ImageError):
                photo = decoded_photo(read(reference), max_pixels=max_pixels)
                picture = reserved.enter_context(photo).picture
                break
        else:
            picture = None
        yield picture
