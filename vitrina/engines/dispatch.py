"""An engine of workers that may die: orders are handed out, again if need be, and their results
come in the plan's sequence."""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vitrina.embedder.photos import Encoded
from vitrina.engines.base import Computed, PlannedOrder, from_result
from vitrina.errors import EngineError, StoreError
from vitrina.parallel import Progress
from vitrina.stage_timer import Stages
from vitrina.store.orders import Order, OrderResult, OrderTerms, read_result
from vitrina.store.staging import Staging

TRIES = 3
"""Workers that may fail on an order before the run ends."""
WINDOW = 4
"""Orders per worker, from the first that is not yielded, that may be handed out or computed."""
RESULT_BYTES = 1 << 30
"""Bytes of results that wait for an earlier one, from which no more orders are handed out."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The outcome of an order that was handed out.

    number: as given to `hand_out`. name, content: of its result; empty if there is none. reason:
    why there is none; "" if that is not the order's fault.
    """

    number: int
    name: str = ""
    content: bytes = b""
    reason: str = ""


class Workers(Protocol):
    """Processes that compute orders, on any machines. They commit nothing."""

    def start(self) -> None:
        """Start the workers. Raises EngineError."""

    @property
    def count(self) -> int:
        """The number of workers, whether they are ready or not."""
        ...

    def has_place(self, *, alone: bool) -> bool:
        """Whether a ready worker can take an order now. alone: as of `hand_out`."""
        ...

    def hand_out(self, number: int, order: Order, *, alone: bool) -> None:
        """Give an order to a ready worker.

        number: returned with its outcome. alone: to a worker that has no other one until then.
        """

    def outcomes(self, *, wait: bool) -> Sequence[Outcome]:
        """Outcomes of orders since the last call, and take note of workers that became ready or
        died.

        wait: for something to happen. A worker with a reason in an outcome gets no more orders.
        Raises EngineError if no worker is left.
        """
        ...

    def stop(self) -> None:
        """End all workers, whatever they do."""


@dataclass(frozen=True)
class _Expected:
    """Requirements on the result of an order that was handed out. name: for messages."""

    key: str
    rows: int
    terms: OrderTerms
    name: str


@dataclass(eq=False)
class _Task:
    planned: PlannedOrder
    expected: _Expected | None = None
    result: OrderResult | None = None
    is_done: bool = False
    was_lost: bool = False
    reasons: list[str] = field(default_factory=list)


class DispatchEngine:
    """Hands orders to workers. An order of a worker that died goes to another one."""

    def __init__(self, workers: Workers, stages: Stages, staging: Staging, space: str) -> None:
        """staging: results that other workers left there are used. space: name of the space."""
        self._workers, self._stages = workers, stages
        self._staging, self._space = staging, space
        self._window: deque[int] = deque()
        self._tasks: dict[int, _Task] = {}
        self._waiting: list[int] = []
        self._bytes = 0
        self._is_started = False

    def run(self, orders: Iterable[PlannedOrder], progress: Progress) -> Iterator[Computed]:
        """Yield the orders in the plan's sequence.

        Raises EngineError if three workers fail on one order, or no worker is left.
        """
        numbered = enumerate(orders)
        try:
            while True:
                self._fill(numbered)
                if not self._window:
                    return
                self._hand_out()
                is_done = self._tasks[self._window[0]].is_done
                if self._is_started:
                    # Before one is yielded, too: workers go on while it is written.
                    self._take(wait=not is_done)
                    self._hand_out()
                if is_done:
                    task = self._tasks.pop(self._window.popleft())
                    progress(len(task.planned.positions))
                    yield task.planned, self._encoded(task)
        finally:
            if self._is_started:
                self._workers.stop()

    def committed(self, orders: Iterable[PlannedOrder]) -> None:
        """Do nothing: results of others are deleted at the end."""

    def finish(self) -> None:
        """Delete what others left in the staging folder for the space."""
        self._staging.sweep(self._space)

    def _fill(self, numbered: Iterator[tuple[int, PlannedOrder]]) -> None:
        """Add orders to the window while it has room."""
        while len(self._window) < WINDOW * max(1, self._workers.count):
            number, planned = next(numbered, (-1, None))
            if planned is None:
                return
            self._window.append(number)
            self._tasks[number] = _Task(planned, is_done=planned.make is None)
            if planned.make is not None:
                heapq.heappush(self._waiting, number)

    def _hand_out(self) -> None:
        """Hand out orders, the plan's first ones first, while there are places."""
        while self._waiting:
            number = self._waiting[0]
            if self._bytes > RESULT_BYTES and number != self._window[0]:
                return
            task = self._tasks[number]
            assert task.planned.make is not None
            # Of two orders of a dead worker, either may be the cause.
            alone = task.was_lost
            if self._is_started and not self._workers.has_place(alone=alone):
                return
            # Made again for each try: texts of a large window are many.
            order = task.planned.make()
            if self._staging.results:
                there = self._staging.result(order.key, len(order.encoded), order.terms)
                if there is not None:
                    heapq.heappop(self._waiting)
                    self._finish(task, there)
                    continue
            if not self._is_started:
                self._is_started = True
                self._workers.start()
                return
            heapq.heappop(self._waiting)
            task.expected = self._expected(number, order)
            self._workers.hand_out(number, order, alone=alone)

    def _take(self, *, wait: bool) -> None:
        """Take the outcomes of orders; those without a result wait again."""
        with self._stages.timed("workers"):
            outcomes = self._workers.outcomes(wait=wait)
        for one in outcomes:
            task, reason = self._tasks[one.number], one.reason
            expected = task.expected
            assert expected is not None
            if one.content:
                try:
                    result = _read(one, expected)
                except StoreError as err:
                    reason = str(err)
                else:
                    self._finish(task, result)
                    continue
            task.was_lost = True
            if reason:
                task.reasons.append(reason)
                log.warning("%s, on try %d: %s", expected.name, len(task.reasons), reason)
            if len(task.reasons) >= TRIES:
                raise EngineError(
                    f"{expected.name} failed on {TRIES} workers, at last because "
                    f"{reason}; what is committed is kept"
                )
            heapq.heappush(self._waiting, one.number)

    def _finish(self, task: _Task, result: OrderResult) -> None:
        task.result, task.is_done = result, True
        self._bytes += result.vectors.nbytes

    def _encoded(self, task: _Task) -> Encoded | None:
        if task.result is None:
            return None
        self._bytes -= task.result.vectors.nbytes
        return from_result(task.result)

    def _expected(self, number: int, order: Order) -> _Expected:
        ids = order.ids
        name = f"order {number} of the space {self._space} (products {ids[0]} to {ids[-1]})"
        return _Expected(order.key, len(order.encoded), order.terms, name)


def _read(one: Outcome, expected: _Expected) -> OrderResult:
    """The result of an order. Raises StoreError if it is damaged or does not fit."""
    where = f"the result of {expected.name}"
    return read_result(one.content, one.name, where, expected.key, expected.rows, expected.terms)
