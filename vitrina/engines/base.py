"""The protocol of engines, and the computation of one order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from vitrina.embedder.base import ImageEncoder, TextEncoder
from vitrina.embedder.photos import Encoded, Failure, Read, encode_photos
from vitrina.parallel import Progress
from vitrina.stage_timer import Stages
from vitrina.store.orders import Order, OrderResult, OrderTerms
from vitrina.store.plan import SHARD_ROWS
from vitrina.types import Codes, Modality


@dataclass(frozen=True, eq=False)
class PlannedOrder:
    """A shard of the plan, and what of it is to be encoded.

    positions: of its products. content: one product for each distinct content. inverse: index into
    `content` of each product. new: contents to encode. make: returns the order with its texts or
    photo references; None if there is nothing to encode.
    """

    positions: Codes
    content: Codes
    inverse: Codes
    new: Codes
    make: Callable[[], Order] | None = None


Computed = tuple[PlannedOrder, Encoded | None]
"""A planned order with its new contents, encoded; None if it has none."""


class OrderEngine(Protocol):
    """Computes orders. Whoever computes commits nothing."""

    def run(self, orders: Iterable[PlannedOrder], progress: Progress) -> Iterator[Computed]:
        """Yield the orders in the plan's sequence. progress: counts products.

        An engine that does not wait may end before the last one.
        """

    def committed(self, orders: Iterable[PlannedOrder]) -> None:
        """Take note that the vectors of some orders are committed."""

    def finish(self) -> None:
        """Clean up after all orders were committed."""


def compute_order(
    encoder: TextEncoder | ImageEncoder,
    order: Order,
    read: Read | None,
    progress: Progress,
    stages: Stages | None = None,
) -> Encoded:
    """Encode the contents of an order. read: fetches a photo. progress: counts contents."""
    if order.terms.modality is Modality.TEXT:
        stages = stages or Stages()
        vectors = np.empty((len(order.texts), encoder.card.dim), dtype=np.float32)
        for start in range(0, len(order.texts), SHARD_ROWS):
            texts = order.texts[start : start + SHARD_ROWS]
            with stages.timed("encode"):
                vectors[start : start + len(texts)] = cast("TextEncoder", encoder).encode(texts)
            progress(len(texts))
        return Encoded(vectors, np.ones(len(vectors), dtype=bool), {})
    assert read is not None
    return encode_photos(
        cast("ImageEncoder", encoder),
        order.photos,
        read,
        progress,
        stages,
        order.terms.max_pixels,
    )


def to_result(encoded: Encoded, key: str, terms: OrderTerms) -> OrderResult:
    """The result of an order, in the space's dtype."""
    failures = {at: (one.stage, one.reason) for at, one in encoded.errors.items()}
    return OrderResult(key, encoded.vectors.astype(terms.dtype.value), failures, encoded.mended)


def from_result(result: OrderResult) -> Encoded:
    """The inverse of `to_result`, for vectors that are stored in the space's dtype."""
    errors = {at: Failure(stage, reason) for at, (stage, reason) in result.failures.items()}
    vectors = result.vectors.astype(np.float32)
    return Encoded(vectors, result.ok, errors, dict(result.mended))
