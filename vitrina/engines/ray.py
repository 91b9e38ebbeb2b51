"""Workers as actors of a Ray cluster: that of `RAY_ADDRESS`, or one of this machine alone.

Ray schedules the actors and tells when one died; it repeats nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from vitrina.engines.dispatch import TRIES, Outcome
from vitrina.errors import EngineError
from vitrina.limits import VITRINA_THREADS, available_cpus
from vitrina.optional import needed_for
from vitrina.store import layout
from vitrina.store.orders import Order

ADDRESS = "RAY_ADDRESS"
"""Environment variable with the address of a cluster."""
THREADS = 4
"""Threads of a worker without a GPU: each worker holds the model in memory."""
AHEAD = 2
"""Orders of one worker at a time: it starts the second while the first one's result travels."""
PATIENCE = 300.0
"""Seconds without a worker that is ready, on a cluster too small for one, before the run ends."""
_PAUSE = 5.0
"""Seconds between two looks at a cluster where nothing happens."""

log = logging.getLogger(__name__)


def imported_ray() -> Any:
    """Import Ray. Raises MissingPackageError if it is not installed."""
    with needed_for("the engine ray"):
        import ray
    return ray


@dataclass(frozen=True)
class WorkerResources:
    """Resources of each worker on its machine."""

    threads: int
    gpus: int

    @classmethod
    def of(cls, nodes: Sequence[dict[str, float]], *, on_gpu: bool) -> tuple[WorkerResources, int]:
        """The share, and the number of workers that fit. nodes: resources of each machine."""
        given = os.environ.get(VITRINA_THREADS, "")
        threads, gpus = int(given) if given.isdigit() else 0, int(on_gpu)
        able = [node for node in nodes if node.get("CPU", 0) >= 1 and node.get("GPU", 0) >= gpus]
        if not threads:
            each = [int(node["CPU"] // max(1, gpus * int(node.get("GPU", 0)))) for node in able]
            threads = max(1, min(each, default=THREADS))
            threads = threads if on_gpu else min(THREADS, threads)
        fitting = [
            min(int(node["CPU"] // threads), int(node["GPU"]) if gpus else int(node["CPU"]))
            for node in able
        ]
        return cls(threads, gpus), sum(fitting)


@dataclass(eq=False)
class _Actor:
    """An actor. loading: what `load` returns; None once it is ready. tasks: references of results,
    with the orders' numbers, in the sequence in which it computes them. failures: of it and of its
    predecessors since the last result. is_reserved: for the one order that it has."""

    handle: Any
    loading: Any
    failures: int
    tasks: deque[tuple[Any, int]] = field(default_factory=deque)
    is_reserved: bool = False

    @property
    def room(self) -> int:
        """The number of orders that it can take now."""
        return 0 if self.is_reserved and self.tasks else AHEAD - len(self.tasks)


class RayWorkers:
    """Actors that compute orders; each is ready once it has loaded the encoder."""

    def __init__(
        self, actor: type, loading: Sequence[Any], *, wanted: int | None, on_gpu: bool
    ) -> None:
        """actor: a class with the methods `load` and `compute`, made from the number of threads and
        whether it has a GPU. loading: arguments of `load`. wanted: number of workers; None for as
        many as fit. on_gpu: whether each gets a GPU."""
        self._class, self._loading, self._wanted = actor, loading, wanted
        self._on_gpu = on_gpu
        self._actors: list[_Actor] = []
        self._ray: Any = None
        self._owns_cluster = False
        self._last = "none was started"
        self._ready_at = 0.0

    def start(self) -> None:
        """Connect to the cluster or start one, and start the actors."""
        self._ray = ray = imported_ray()
        if not ray.is_initialized():
            self._owns_cluster = True
            with _signals_kept():
                _connect(ray)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._resources, fitting = WorkerResources.of(nodes, on_gpu=self._on_gpu)
        count = self._wanted or fitting
        if not count:
            raise EngineError(
                f"no machine of the Ray cluster has {self._needs}; give --workers if they come "
                "later, or use --engine local"
            )
        log.info("%d workers on Ray, each with %s", count, self._needs)
        self._ready_at = time.monotonic()
        self._actors = [self._new() for _ in range(count)]

    @property
    def count(self) -> int:
        """The number of actors, whether they are ready or not."""
        return len(self._actors)

    def has_place(self, *, alone: bool) -> bool:
        """Whether a ready actor can take an order now. alone: one that has no other."""
        least = AHEAD if alone else 1
        return any(actor.room >= least for actor in self._ready)

    def hand_out(self, number: int, order: Order, *, alone: bool) -> None:
        """Give an order to the ready actor with the fewest. alone: it gets no other one until it
        has returned this one."""
        actor = max(self._ready, key=lambda actor: actor.room)
        actor.is_reserved = alone
        content = order.to_bytes()
        name = layout.order(number, order.key, hashlib.sha256(content).hexdigest())
        actor.tasks.append((actor.handle.compute.remote(name, content), number))

    def outcomes(self, *, wait: bool) -> Sequence[Outcome]:
        """Take what actors returned, and replace those that died or failed."""
        while True:
            happened = self._wait(_PAUSE if wait else 0.0)
            found = [one for actor in happened for one in self._collect(actor)]
            if found or happened or not wait:
                return found
            if not self._actors:
                raise EngineError(f"no worker is left; the last one: {self._last}")
            self._check_patience()

    def stop(self) -> None:
        """End all actors, and the cluster if it was started here."""
        if self._ray is None:
            return
        for actor in self._actors:
            self._kill(actor)
        self._actors.clear()
        if self._owns_cluster:
            self._ray.shutdown()

    @property
    def _ready(self) -> list[_Actor]:
        return [actor for actor in self._actors if actor.loading is None]

    @property
    def _needs(self) -> str:
        cpus = f"{self._resources.threads} CPUs"
        return f"{cpus} and a GPU" if self._resources.gpus else cpus

    def _new(self, failures: int = 0) -> _Actor:
        resources = self._resources
        options = {"num_cpus": resources.threads, "num_gpus": resources.gpus}
        # What Ray repeated would not be counted here.
        kind = self._ray.remote(max_restarts=0, max_task_retries=0, **options)(self._class)
        handle = kind.remote(resources.threads, bool(resources.gpus))
        return _Actor(handle, handle.load.remote(*self._loading), failures)

    def _wait(self, seconds: float) -> list[_Actor]:
        """Actors of which something is there, after at most some seconds."""
        owners = {
            reference: actor
            for actor in self._actors
            for reference in [actor.loading, *(one for one, _ in actor.tasks)]
            if reference is not None
        }
        if not owners:
            return []
        done, _ = self._ray.wait([*owners], num_returns=1, timeout=seconds)
        if done:
            done, _ = self._ray.wait([*owners], num_returns=len(owners), timeout=0)
        return list(dict.fromkeys(owners[reference] for reference in done))

    def _collect(self, actor: _Actor) -> Iterator[Outcome]:
        """Take what an actor returned."""
        if actor.loading is not None:
            self._finish_loading(actor)
            return
        while actor.tasks and self._is_there(actor.tasks[0][0]):
            reference, number = actor.tasks.popleft()
            try:
                name, content = self._ray.get(reference)
            except self._ray.exceptions.RayError as err:
                # It may be what is wrong with the process: another one tries the order.
                reason = _reason(err)
                self._replace(actor, reason)
                yield Outcome(number, reason=reason)
                yield from (Outcome(one) for _, one in actor.tasks)
                return
            actor.failures = 0
            yield Outcome(number, name, content)

    def _finish_loading(self, actor: _Actor) -> None:
        try:
            refusal = self._ray.get(actor.loading)
        except self._ray.exceptions.RayError as err:
            self._replace(actor, _reason(err))
            return
        actor.loading = None
        self._ready_at = time.monotonic()
        if refusal:
            # Another one would be put on the same machine, and be refused as well.
            if refusal != self._last:
                log.warning("a worker is refused: %s", refusal)
            self._remove(actor, refusal)

    def _replace(self, actor: _Actor, reason: str) -> None:
        log.info("a worker ended: %s", reason)
        self._remove(actor, reason)
        if actor.failures + 1 < TRIES:
            self._actors.append(self._new(actor.failures + 1))

    def _remove(self, actor: _Actor, reason: str) -> None:
        self._last = reason
        self._actors.remove(actor)
        self._kill(actor)

    def _kill(self, actor: _Actor) -> None:
        # A cluster that is gone has no actors.
        with suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(actor.handle)

    def _is_there(self, reference: Any) -> bool:
        return bool(self._ray.wait([reference], timeout=0)[0])

    def _check_patience(self) -> None:
        """Raise EngineError if no actor has been ready for long, and the cluster has no room."""
        now = time.monotonic()
        if self._ready:
            self._ready_at = now
        elif now - self._ready_at > PATIENCE:
            there = self._ray.cluster_resources()
            resources = self._resources
            if there.get("CPU", 0) < resources.threads or there.get("GPU", 0) < resources.gpus:
                raise EngineError(
                    f"no worker is left: the Ray cluster has no machine with {self._needs}"
                )


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep this program's handler of SIGTERM, which Ray replaces."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(ValueError):  # Not the main thread, where Ray replaces none either.
            signal.signal(signal.SIGTERM, handler)


def _connect(ray: Any) -> None:
    """Connect to the cluster of the environment, or start one on this machine."""
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    address = os.environ.get(ADDRESS)
    # A cluster of one run reports to nobody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if address:
            ray.init(address, **quiet)
        else:
            ray.init("local", num_cpus=available_cpus(), include_dashboard=False, **quiet)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as err:
        where = f"at {address} ({ADDRESS})" if address else "on this machine"
        raise EngineError(f"Ray does not run {where}: {_reason(err)}") from err


def _reason(err: Exception) -> str:
    """An error of Ray in one line. That of a call ends with the error there."""
    cause = getattr(err, "cause", None) or err
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    if not lines:
        return type(cause).__name__
    return lines[0] if cause is err else f"{type(cause).__name__}: {lines[0]}"
