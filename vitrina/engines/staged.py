"""The engine of other schedulers: orders are published in the store, and results adopted.

Any number of `vitrina work` processes compute the orders. This process encodes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator

from vitrina.embedder.photos import Encoded
from vitrina.engines.base import Computed, PlannedOrder, from_result
from vitrina.parallel import Progress
from vitrina.store.orders import OrderTerms
from vitrina.store.staging import Staging

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two listings of the staging folder: a pause is half as long again as the last."""

log = logging.getLogger(__name__)


class StagedEngine:
    """Publishes all orders of a space, then yields them as their results arrive."""

    def __init__(self, staging: Staging, space: str, place: str, *, wait: bool) -> None:
        """space: name of the space. place: of the store. wait: for results that are not there."""
        self._staging, self._space, self._place, self._wait = staging, space, place, wait
        self._keys: dict[PlannedOrder, str] = {}

    def run(self, orders: Iterable[PlannedOrder], progress: Progress) -> Iterator[Computed]:
        """Publish the orders, and yield them in the plan's sequence.

        Without `wait` it ends before the first order that has no result yet.
        """
        planned, terms = [], None
        number = self._staging.next_number
        for one in orders:
            planned.append(one)
            if one.make is not None:
                order = one.make()
                self._staging.publish(order, number)
                self._keys[one], terms = order.key, order.terms
                number += 1
        self._staging.sweep(self._space, keep=[*self._keys.values()])
        self._staging.refresh()
        for one in planned:
            encoded = None
            if terms is not None and one in self._keys:
                encoded = self._result(one, terms)
                if encoded is None:
                    return
            progress(len(one.positions))
            yield one, encoded

    def _result(self, planned: PlannedOrder, terms: OrderTerms) -> Encoded | None:
        """The result of an order, waited for; None if none is there and `wait` is off."""
        key, pause = self._keys[planned], FIRST_PAUSE
        while True:
            found = self._staging.result(key, len(planned.new), terms)
            if found is not None:
                return from_result(found)
            if not self._wait:
                return None
            if pause == FIRST_PAUSE:
                log.info("waiting for results: `vitrina work %s` computes them", self._place)
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, 1.5 * pause)
            self._staging.refresh()

    def committed(self, orders: Iterable[PlannedOrder]) -> None:
        """Delete some orders and their results."""
        self._staging.discard([self._keys[one] for one in orders if one in self._keys])

    def finish(self) -> None:
        """Delete orders of earlier plans of the space, and results that came twice."""
        self._staging.refresh()
        self._staging.sweep(self._space)
