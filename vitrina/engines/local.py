"""The engine in this process: one order is encoded while the one before is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vitrina.embedder.base import ImageEncoder, TextEncoder
from vitrina.embedder.photos import Read
from vitrina.engines.base import Computed, PlannedOrder, compute_order, from_result
from vitrina.parallel import Progress, one_ahead
from vitrina.stage_timer import Stages
from vitrina.store.staging import Staging


class LocalEngine:
    """Computes orders in this process. Nothing is written to disk; results that other workers left
    in the staging folder are used."""

    def __init__(
        self,
        encoder: TextEncoder | ImageEncoder | None,
        read: Read | None,
        stages: Stages,
        staging: Staging,
        space: str,
    ) -> None:
        """encoder: None if no order has anything to encode. read: fetches a photo. space: name of
        the space."""
        self._encoder, self._read, self._stages = encoder, read, stages
        self._staging, self._space = staging, space

    def run(self, orders: Iterable[PlannedOrder], progress: Progress) -> Iterator[Computed]:
        """Yield the orders in the plan's sequence."""
        return one_ahead(self.compute, orders, progress)

    def compute(self, planned: PlannedOrder, progress: Progress) -> Computed:
        """Compute one order."""
        products, contents = len(planned.positions), len(planned.new)
        if planned.make is None:
            # All of it is there already, and the encoder may not even be loaded.
            progress(products)
            return planned, None
        with self._stages.timed("read"):
            order = planned.make()
        if self._staging.results:
            there = self._staging.result(order.key, contents, order.terms)
            if there is not None:
                progress(products)
                return planned, from_result(there)
        assert self._encoder is not None

        def report(done: int) -> None:
            progress(round(done * products / contents))

        return planned, compute_order(self._encoder, order, self._read, report, self._stages)

    def committed(self, orders: Iterable[PlannedOrder]) -> None:
        """Do nothing: results of others are deleted at the end."""

    def finish(self) -> None:
        """Delete what others left in the staging folder for the space."""
        self._staging.sweep(self._space)
