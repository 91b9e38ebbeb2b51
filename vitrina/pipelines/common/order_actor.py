"""The Ray actor that computes orders. Its arguments and replies are numbers, text and bytes.

Imports of torch and numpy wait until the number of threads is set.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

from vitrina._version import __version__
from vitrina.errors import VitrinaError
from vitrina.limits import use_threads

if TYPE_CHECKING:
    from vitrina.pipelines.common.order_worker import OrderWorker


class OrderActor:
    """Computes orders in a process of its own, with the encoder loaded once."""

    def __init__(self, threads: int, has_gpu: bool) -> None:
        use_threads(threads)
        if not has_gpu:
            # Ray leaves GPUs visible to actors that asked for none.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._worker: OrderWorker | None = None

    def load(
        self, version: str, place: str, terms: bytes, images: str | None, allow_private: bool
    ) -> str:
        """Load the encoder of a space and open the photos; return why this machine can't serve,
        or "".

        version: of Vitrina, in the process that commits. place: of the store. terms: of its orders,
        as JSON. images: the photos' place.
        """
        if version != __version__:
            return (
                f"the orders are made by Vitrina {version}, and this is {__version__}; install "
                "one version everywhere"
            )
        from vitrina.pipelines.common.order_worker import OrderWorker, WorkerSettings
        from vitrina.store.orders import OrderTerms
        from vitrina.store.store import OpenStore
        from vitrina.typed_json import parse_json

        try:
            given = parse_json(terms, OrderTerms, "the terms of the orders", "run this again")
            settings = WorkerSettings(
                images=images, max_pixels=given.max_pixels, allow_private=allow_private
            )
            self._worker = OrderWorker(OpenStore.open(place), settings)
            self._worker.prepare(given)
        except VitrinaError as err:
            return str(err)
        return ""

    def compute(self, name: str, content: bytes) -> tuple[str, bytes]:
        """Compute an order; returns its result's name and content. name, content: of the order, as
        in the staging folder.

        Raises StoreError for an order that is damaged or foreign.
        """
        from vitrina.store import layout
        from vitrina.store.orders import read_order

        assert self._worker is not None
        result = self._worker.compute(read_order(content, name, "an order"))
        computed = result.to_bytes()
        return layout.order_result(result.key, sha256(computed).hexdigest()), computed
