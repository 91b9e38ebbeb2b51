"""From photo references to image vectors: read, decode and prepare beside the model."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL.Image import Image

from vitrina.data.decode import decode
from vitrina.embedder.base import ImageEncoder, normalise
from vitrina.errors import ImageError
from vitrina.types import Floats, Mask, Vectors

BLOCK = 64
"""Products whose prepared photos are held at once: what bounds memory, whatever the shard."""
AHEAD = 1
"""Blocks that are read and decoded while the model works on an earlier one."""

OVERSAMPLING = 2
"""Encoded photos are decoded to this many times the encoder's edge at least: a JPEG reduced to the
very edge loses detail that the model's own resize would have kept."""

Read = Callable[[str], bytes]
"""Fetches one photo; raises ImageError."""
Report = Callable[[int], None]
"""Told how many products were done since it was told last."""


@dataclass(frozen=True)
class Failure:
    """Why a photo can't be used, and at which stage that came out."""

    stage: str
    reason: str


@dataclass(frozen=True)
class Encoded:
    """vectors: (n, dim) float32, zero where it failed. ok: (n,) bool. errors: by position."""

    vectors: Vectors
    ok: Mask
    errors: dict[int, Failure]


def encode_photos(
    encoder: ImageEncoder,
    products: Sequence[Sequence[str]],
    read: Read,
    report: Report | None = None,
) -> Encoded:
    """Encode each product's photos into the normalised mean of their vectors.

    products: references to the photos of each, at least one. read: called from this thread
    only, in order, since an archive or a column is fastest so.
    A product with several photos fails only if none of them can be used.
    """
    vectors = np.zeros((len(products), encoder.card.dim), dtype=np.float32)
    ok = np.zeros(len(products), dtype=bool)
    errors: dict[int, Failure] = {}
    for start, block in _prepared(encoder, products, read):
        owners: list[int] = []
        ready: list[Floats] = []
        for at, photos in enumerate(block, start):
            good = [photo for photo in photos if not isinstance(photo, Failure)]
            owners.extend([at] * len(good))
            ready.extend(good)
            if not good:
                errors[at] = next(photo for photo in photos if isinstance(photo, Failure))
        if ready:
            np.add.at(vectors, owners, encoder.encode(ready))
            ok[owners] = True
        if report:
            report(len(block))
    return Encoded(normalise(vectors), ok, errors)


def prepare_photo(encoder: ImageEncoder, data: bytes) -> Floats:
    """Decode a photo, no larger than the encoder has use for, and prepare it; thread-safe.

    Raises ImageError with the reason if it can't be used.
    """
    return encoder.prepare(decode(data, OVERSAMPLING * encoder.edge))


def decode_photos(
    products: Iterable[Sequence[str]], read: Read, batch: int = 512
) -> Iterator[list[Image]]:
    """Decode each product's first usable photo, a batch at a time; others are passed over.

    For fitting, where a broken photo has nothing to teach and is reported later.
    """
    images: list[Image] = []
    for references in products:
        for reference in references:
            try:
                images.append(decode(read(reference)))
            except ImageError:
                continue
            break
        if len(images) == batch:
            yield images
            images = []
    if images:
        yield images


def _prepared(
    encoder: ImageEncoder, products: Sequence[Sequence[str]], read: Read
) -> Iterator[tuple[int, list[list[Floats | Failure]]]]:
    def prepare(data: bytes) -> Floats | Failure:
        try:
            return prepare_photo(encoder, data)
        except ImageError as err:
            return Failure("decode", str(err))

    def fetch(pool: ThreadPoolExecutor, reference: str) -> Future[Floats | Failure]:
        try:
            return pool.submit(prepare, read(reference))
        except ImageError as err:
            failed: Future[Floats | Failure] = Future()
            failed.set_result(Failure("read", str(err)))
            return failed

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = iter(range(0, len(products), BLOCK))
        waiting: deque[tuple[int, list[list[Future[Floats | Failure]]]]] = deque()
        while True:
            for start in islice(starts, AHEAD + 1 - len(waiting)):
                block = products[start : start + BLOCK]
                futures = [[fetch(pool, reference) for reference in one] for one in block]
                waiting.append((start, futures))
            if not waiting:
                return
            start, futures = waiting.popleft()
            yield start, [[future.result() for future in one] for one in futures]
