"""The engine ray: what workers compute has the bytes of one process, whoever dies meanwhile."""

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pytest

from support.embedding import (
    BROKEN,
    RED,
    STUBS,
    all_files,
    catalogue_of,
    data_files,
    goods,
    run,
    use_stubs,
)
from support.ray_actors import DEATHS, DRIVER
from vitrina.engines import dispatch
from vitrina.engines.base import PlannedOrder
from vitrina.engines.dispatch import WINDOW, DispatchEngine, Outcome
from vitrina.engines.ray import WorkerResources
from vitrina.errors import EngineError, MissingPackageError, OptionError
from vitrina.parallel import no_progress
from vitrina.pipelines.common import order_actor, order_worker
from vitrina.pipelines.embed import engine_choice
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.stage_timer import Stages
from vitrina.store import layout
from vitrina.store.local import LocalFiles
from vitrina.store.orders import Order, OrderResult, OrderTerms
from vitrina.store.staging import Staging
from vitrina.types import EngineKind, Modality

TERMS = OrderTerms("text-words", Modality.TEXT, "a1" * 32, "", "float16", 4, 0, "0.2.0")
RAY = replace(STUBS, engine="ray")


def order_of(number):
    """An order of two products of one content."""
    at = np.arange(2) + 2 * number
    hashes = np.frombuffer(bytes([number]) * 32, dtype="V16")
    return Order(TERMS, at, pa.array(at), hashes, at, np.array([0]), [f"т{number}"])


def planned(count, made):
    """A plan; every fifth order has nothing to encode. made: numbers of those taken from it."""
    for number in range(count):
        made.append(number)
        make = None if number % 5 == 4 else partial(order_of, number)
        at = np.arange(2) + 2 * number
        yield PlannedOrder(at, at[:1], np.zeros(2, np.int64), np.array([0]), make)


def result_of(order):
    vector = np.zeros((1, 4), np.float16)
    vector[0, int(order.texts[0][1:]) % 4] = 1
    return OrderResult(order.key, vector)


def outcome_of(number, order, content=None):
    whole = result_of(order).to_bytes()
    name = layout.order_result(order.key, hashlib.sha256(whole).hexdigest())
    return Outcome(number, name, whole if content is None else content)


class Reversed:
    """Workers of two orders each that return the last one first.

    spoil: takes an order's number and try; returns an outcome in place of its result, or None.
    held: an order that is returned last.
    """

    count = 2

    def __init__(self, spoil=lambda *_: None, held=None):
        self.spoil, self.held = spoil, held
        self.running, self.given, self.done = [], [], []
        self.started = self.ready = self.stopped = False

    def start(self):
        self.started = True

    def has_place(self, *, alone):
        return self.ready and len(self.running) < (1 if alone else 2 * self.count)

    def hand_out(self, number, order, *, alone):
        assert self.has_place(alone=alone)
        assert alone == (number in self.given)
        self.given.append(number)
        self.running.append((number, order))

    def outcomes(self, *, wait):
        if not self.ready:
            self.ready = True
            return []
        assert self.running or not wait, "the engine waits for nothing"
        if not (self.running and wait):
            return []
        at = max(range(len(self.running)), key=lambda at: (self.running[at][0] != self.held, at))
        number, order = self.running.pop(at)
        self.done.append(number)
        return [self.spoil(number, self.given.count(number)) or outcome_of(number, order)]

    def stop(self):
        self.stopped = True


@pytest.fixture
def dispatched(tmp_path):
    """Computes a plan of 20 orders by some workers: numbers of the plan, and their vectors."""

    def run(workers, made=None):
        made = [] if made is None else made
        engine = DispatchEngine(workers, Stages(), Staging(LocalFiles(tmp_path)), "text-words")
        return [
            (int(one.positions[0]) // 2, encoded and int(encoded.vectors[0].argmax()))
            for one, encoded in engine.run(planned(20, made), no_progress)
        ]

    return run


EXPECTED = [(number, None if number % 5 == 4 else number % 4) for number in range(20)]
ENCODED = [number for number in range(20) if number % 5 != 4]


def test_results_come_in_the_plans_sequence(dispatched):
    workers = Reversed()
    assert dispatched(workers) == EXPECTED
    assert sorted(workers.given) == ENCODED
    assert workers.stopped


def test_the_order_of_a_dead_worker_is_handed_out_again(dispatched):
    # Five times: deaths that are not the order's fault are not counted.
    workers = Reversed(lambda number, tries: Outcome(number) if number == 3 and tries < 6 else None)
    assert dispatched(workers) == EXPECTED
    assert workers.given.count(3) == 6
    assert sorted(set(workers.given)) == ENCODED


@pytest.mark.parametrize("tries", [1, 2])
def test_an_order_may_fail_twice(dispatched, tries):
    def spoil(number, there):
        return Outcome(number, reason="out of memory") if number == 3 and there <= tries else None

    workers = Reversed(spoil)
    assert dispatched(workers) == EXPECTED
    assert workers.given.count(3) == tries + 1


def test_an_order_that_fails_on_three_workers_is_named(dispatched):
    workers = Reversed(
        lambda number, _: Outcome(number, reason="out of memory") if number == 3 else None
    )
    with pytest.raises(EngineError) as err:
        dispatched(workers)
    assert str(err.value) == (
        "order 3 of the space text-words (products 6 to 7) failed on 3 workers, at last because "
        "out of memory; what is committed is kept"
    )
    assert workers.given.count(3) == 3
    assert workers.stopped


def test_a_damaged_result_is_computed_again(dispatched, caplog):
    def spoil(number, tries):
        return outcome_of(3, order_of(3), b"PAR1") if (number, tries) == (3, 1) else None

    assert dispatched(Reversed(spoil)) == EXPECTED
    assert "order 3 of the space text-words" in caplog.text
    assert "it has not the checksum in its name" in caplog.text


def test_a_result_of_another_order_is_computed_again(dispatched):
    def spoil(number, tries):
        return outcome_of(3, order_of(5)) if (number, tries) == (3, 1) else None

    assert dispatched(Reversed(spoil)) == EXPECTED


def test_a_slow_order_holds_the_window(tmp_path):
    workers, made = Reversed(held=1), []
    engine = DispatchEngine(workers, Stages(), Staging(LocalFiles(tmp_path)), "text-words")
    orders = engine.run(planned(100, made), no_progress)
    next(orders)
    next(orders)
    # The second one came last: as many after it as fit were computed, and no more.
    assert made == list(range(1 + WINDOW * workers.count))
    orders.close()
    assert workers.stopped


def test_results_that_wait_are_limited_by_their_bytes(dispatched, monkeypatch):
    monkeypatch.setattr(dispatch, "RESULT_BYTES", 0)
    workers = Reversed(held=0)
    assert dispatched(workers) == EXPECTED
    # Four were handed out before the first result came, and no more until order 0 was there.
    assert workers.done[:4] == [3, 2, 1, 0]


def test_results_in_staging_need_no_workers(tmp_path, dispatched):
    staging = Staging(LocalFiles(tmp_path))
    for number in ENCODED:
        staging.put(result_of(order_of(number)))
    workers = Reversed()
    assert dispatched(workers) == EXPECTED
    assert not workers.started


# -- the actor, without Ray ------------------------------------------------------------------------


class InProcess(Reversed):
    """Workers that are an actor's object in this process."""

    def __init__(self, actor, loading, **_):
        super().__init__()
        self._actor, self._loading = actor(1, has_gpu=True), loading

    def start(self):
        assert self._actor.load(*self._loading) == ""

    def outcomes(self, *, wait):
        self.ready = True
        if not (self.running and wait):
            return []
        number, order = self.running.pop()
        content = order.to_bytes()
        name = layout.order(number, order.key, hashlib.sha256(content).hexdigest())
        return [Outcome(number, *self._actor.compute(name, content))]


@pytest.fixture
def stubs(monkeypatch, unsynced):  # noqa: ARG001
    stubs = use_stubs(monkeypatch.setattr)
    monkeypatch.setattr(order_worker, "load_encoder", lambda model, *_, **__: stubs[model.modality])
    monkeypatch.setattr(order_actor, "use_threads", lambda _: None)
    monkeypatch.setattr(engine_choice, "imported_ray", lambda: None)
    monkeypatch.setattr(engine_choice, "RayWorkers", InProcess)
    return stubs


# "чай" is in four orders of three rows; of the photos, some can't be read.
ROWS = [
    *((at, "чай", 1, RED) for at in range(8)),
    *((at, f"сок {at}", 2, BROKEN + bytes([at])) for at in range(8, 11)),
    *((at + 20, title, category, photo) for at, title, category, photo in goods(9)),
]


def test_actors_leave_the_bytes_of_one_process(tmp_path, stubs):
    catalogue = catalogue_of(tmp_path / "a", ROWS)
    run(tmp_path / "whole", catalogue)
    report = run(tmp_path / "shelf", catalogue, RAY)
    assert all_files(tmp_path / "shelf") == all_files(tmp_path / "whole")
    assert [(one.failed, one.waiting) for one in report.spaces] == [(0, 0), (3, 0)]
    assert stubs[Modality.TEXT].seen


def test_an_actor_that_does_not_fit_says_why(tmp_path, stubs, monkeypatch):
    catalogue = catalogue_of(tmp_path / "a", ROWS[:3])
    seen = []

    class Refused(InProcess):
        def start(self):
            version, *rest = self._loading
            seen.append(self._actor.load("9.9.9", *rest))
            card = stubs[Modality.TEXT].card
            stubs[Modality.TEXT].card = replace(card, fingerprint="c3" * 32)
            seen.append(self._actor.load(version, *rest))
            stubs[Modality.TEXT].card = card
            super().start()

    monkeypatch.setattr(engine_choice, "RayWorkers", Refused)
    run(tmp_path / "shelf", catalogue, replace(RAY, image="none"))
    assert "made by Vitrina 9.9.9, and this is" in seen[0]
    assert "a1a1a1" in seen[1]
    assert "c3c3c3" in seen[1]


def test_ray_is_named_by_its_extra_before_the_catalogue_is_read(tmp_path, monkeypatch):
    use_stubs(monkeypatch.setattr)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"the engine ray needs ray.*'vitrina\[ray\]'"):
        run(tmp_path / "shelf", catalogue_of(tmp_path / "a", ROWS[:2]), RAY)
    assert not list((tmp_path / "shelf").glob("products/*"))


def test_options_of_the_engine():
    assert EmbedOptions(engine="ray", workers=2).engine is EngineKind.RAY
    with pytest.raises(OptionError, match="workers is for the engine ray, not local"):
        EmbedOptions(workers=2)
    with pytest.raises(OptionError, match="mixed_machines is for the engine local"):
        EmbedOptions(engine="ray", mixed_machines=True)


@pytest.mark.parametrize(
    ("nodes", "on_gpu", "threads", "share"),
    [
        ([{"CPU": 16.0}, {"CPU": 8.0}], False, None, (4, 6)),
        ([{"CPU": 16.0}, {"CPU": 2.0}], False, None, (2, 9)),
        ([{"CPU": 0.0}, {"CPU": 1.0}], False, None, (1, 1)),
        ([{"CPU": 16.0, "GPU": 4.0}, {"CPU": 8.0}], True, None, (4, 4)),
        ([{"CPU": 16.0, "GPU": 4.0}, {"CPU": 8.0}], False, None, (4, 6)),
        ([{"CPU": 16.0}, {"CPU": 4.0}], False, "8", (8, 2)),
        ([{"CPU": 4.0}], False, "8", (8, 0)),
        ([{"CPU": 4.0}], True, None, (4, 0)),
        ([], False, None, (4, 0)),
    ],
)
def test_workers_fill_the_cluster(monkeypatch, nodes, on_gpu, threads, share):
    monkeypatch.delenv("VITRINA_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("VITRINA_THREADS", threads)
    found, count = WorkerResources.of(nodes, on_gpu=on_gpu)
    assert (found.threads, count) == share
    assert found.gpus == int(on_gpu)


# -- Ray itself ------------------------------------------------------------------------------------

with_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture
def embedding(sample, tmp_path):
    """Runs `vitrina embed` of the sample by `lexical`, in shards of 16 rows."""
    (tmp_path / "deaths").mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "VITRINA_CACHE": str(tmp_path / "cache"),
        "VITRINA_THREADS": "1",
        DEATHS: str(tmp_path / "deaths"),
    }
    environment.pop("RAY_ADDRESS", None)

    def start(store, *options, actor="OrderActor"):
        given = ("--text-model", "lexical", "--shard-rows", 16, "--max-failures", 1)
        words = ("embed", sample.train, "--store", store, *given, *options)
        return subprocess.run(
            [sys.executable, "-c", DRIVER, actor, *map(str, words)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    start.environment = environment
    return start


@pytest.mark.slow
@with_ray
def test_a_local_cluster_leaves_the_bytes_of_one_process(sample, tmp_path, embedding):
    photos = ("--images", sample.images, "--image-model", "thumbnail")
    for name, options in (("whole", ()), ("shelf", ("--engine", "ray"))):
        done = embedding(tmp_path / name, *photos, *options)
        assert done.returncode == 0, done.stderr
    assert data_files(tmp_path / "shelf") == data_files(tmp_path / "whole")
    assert len(data_files(tmp_path / "shelf")) > 16


@pytest.mark.slow
@with_ray
def test_actors_that_die_cost_nothing_but_time(tmp_path, embedding):
    done = embedding(tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    done = embedding(tmp_path / "shelf", "--engine", "ray", actor="OnceDying")
    assert done.returncode == 0, done.stderr
    deaths = sorted(path.name[0] for path in (tmp_path / "deaths").iterdir())
    assert deaths == ["1", "4"]
    assert data_files(tmp_path / "shelf") == data_files(tmp_path / "whole")


@pytest.mark.slow
@with_ray
def test_an_order_that_kills_three_actors_ends_the_run(tmp_path, embedding):
    done = embedding(tmp_path / "shelf", "--engine", "ray", actor="AlwaysDying")
    assert done.returncode == 1
    assert "order 2 of the space text-lexical" in done.stderr
    assert "failed on 3 workers" in done.stderr
    # An order before it may have been taken for the cause of the first death.
    assert len(list((tmp_path / "deaths").iterdir())) in (3, 4)


@pytest.mark.slow
@with_ray
def test_a_run_without_a_worker_that_fits_ends_with_the_reason(tmp_path, embedding):
    done = embedding(tmp_path / "shelf", "--engine", "ray", actor="OtherVersion")
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert "no worker is left; the last one: the orders are made by Vitrina 9.9.9, and " in line


TWO_NODES = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
print(cluster.address, second.node_id, flush=True)
sys.stdin.readline()
cluster.remove_node(second, allow_graceful=False)
print("removed", flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


@pytest.mark.slow
@with_ray
def test_a_node_that_is_removed_costs_nothing_but_time(tmp_path, embedding):
    assert embedding(tmp_path / "whole").returncode == 0
    deaths = tmp_path / "deaths"
    with subprocess.Popen(
        [sys.executable, "-c", TWO_NODES],
        env=embedding.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as cluster:
        address, second = cluster.stdout.readline().split()
        embedding.environment["RAY_ADDRESS"] = address
        with ThreadPoolExecutor(1) as pool:
            options = ("--engine", "ray")
            running = pool.submit(embedding, tmp_path / "shelf", *options, actor="OnTwoNodes")
            while not (deaths / second).exists() and not running.done():
                time.sleep(0.05)
            print(file=cluster.stdin, flush=True)
            assert cluster.stdout.readline() == "removed\n"
            done = running.result()
        print(file=cluster.stdin, flush=True)
    assert done.returncode == 0, done.stderr
    assert len(list(deaths.iterdir())) == 2
    assert data_files(tmp_path / "shelf") == data_files(tmp_path / "whole")
