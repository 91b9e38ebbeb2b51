"""The numbers a model is run in are the fastest that keep its vectors, and stay what they were."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vitrina.embedder import precision
from vitrina.embedder.precision import (
    check_probes,
    choose,
    first_run,
    is_out_of_memory,
    training_dtype,
)
from vitrina.errors import EncoderError
from vitrina.threads import SMALL_WORK, one_thread_each, threads_for
from vitrina.types import Compute, Vectors

EXACT = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path))
    return tmp_path


CLOCK = SimpleNamespace(now=0.0)
"""In place of the real one, which a busy machine disturbs."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "time", SimpleNamespace(perf_counter=lambda: CLOCK.now))


class Way:
    """A way to run a model: how long it takes, and how far its vectors turn, in radians."""

    def __init__(self, seconds: float, turned: float = 0.0) -> None:
        self.seconds, self.turned, self.probed = seconds, turned, 0

    def probe(self) -> Vectors:
        self.probed += 1
        CLOCK.now += self.seconds
        angle = self.turned
        turn = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        return (EXACT @ np.array(turn)).astype(np.float32)


def chosen(ways: dict[Compute, Way], asked: Compute | None = None, name: str = "model") -> Compute:
    makers = {compute: (lambda way=way: way) for compute, way in ways.items()}
    compute, way = choose(makers, Way.probe, EXACT, asked, fingerprint=name)
    assert way is ways[compute]
    return compute


def test_the_fastest_is_taken() -> None:
    slow, quick = Way(0.03), Way(0.01)
    assert chosen({Compute.FLOAT32: slow, Compute.INT8: quick}) is Compute.INT8
    # bfloat16 may well be slower than float32: the instructions alone say nothing.
    assert chosen({Compute.FLOAT32: quick, Compute.BFLOAT16: slow}, name="b") is Compute.FLOAT32


def test_a_little_faster_is_not_worth_it() -> None:
    ways = {Compute.FLOAT32: Way(0.0205), Compute.INT8: Way(0.02)}
    assert chosen(ways) is Compute.FLOAT32


@pytest.mark.parametrize(
    ("compute", "near", "far"), [(Compute.BFLOAT16, 0.02, 0.05), (Compute.INT8, 0.1, 0.2)]
)
def test_vectors_that_turn_too_far_rule_a_way_out(
    compute: Compute, near: float, far: float
) -> None:
    slow = Way(0.03)
    assert chosen({Compute.FLOAT32: slow, compute: Way(0.0, near)}, name="near") is compute
    assert chosen({Compute.FLOAT32: slow, compute: Way(0.0, far)}, name="far") is Compute.FLOAT32
    with pytest.raises(EncoderError, match=f"in {compute} .* fall to cosine 0.9"):
        chosen({Compute.FLOAT32: slow, compute: Way(0.0, far)}, asked=compute)


def test_nan_is_never_near() -> None:
    with pytest.raises(EncoderError, match="not numbers"):
        chosen({Compute.FLOAT32: Way(0.0, np.nan)})


def test_what_is_asked_for_is_taken_unmeasured() -> None:
    slow, quick = Way(0.03), Way(0.0)
    assert chosen({Compute.FLOAT32: slow, Compute.INT8: quick}, Compute.FLOAT32) is Compute.FLOAT32
    assert (slow.probed, quick.probed) == (1, 0)
    with pytest.raises(EncoderError, match="can't be run in int8 on this machine, only in float32"):
        chosen({Compute.FLOAT32: slow}, Compute.INT8)


def test_a_choice_is_remembered_for_its_model_alone() -> None:
    first = {Compute.FLOAT32: Way(0.03), Compute.INT8: Way(0.0)}
    assert chosen(first) is Compute.INT8
    turned = {Compute.FLOAT32: Way(0.0), Compute.INT8: Way(0.03)}
    assert chosen(turned) is Compute.INT8
    assert turned[Compute.FLOAT32].probed == 0
    assert chosen(turned, name="another") is Compute.FLOAT32
    # Remembered, but no longer true to the model.
    assert chosen({Compute.FLOAT32: Way(0.0), Compute.INT8: Way(0.0, 1.0)}) is Compute.FLOAT32


def test_a_cache_that_cannot_be_written_costs_only_time(cache: Path) -> None:
    (cache / "compute").write_text("not a folder")
    assert chosen({Compute.FLOAT32: Way(0.0)}) is Compute.FLOAT32


def test_a_cpu_trains_transformers_in_bfloat16_where_that_is_quicker_by_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu, seconds = torch.device("cpu"), {torch.float32: 0.02, torch.bfloat16: 0.001}
    measured = []

    def multiply(one: torch.Tensor, _other: torch.Tensor) -> None:
        measured.append(one.dtype)
        CLOCK.now += seconds[one.dtype]

    monkeypatch.setattr(torch, "mm", multiply)
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: True)
    assert training_dtype(cpu) is torch.float32
    assert not measured
    assert training_dtype(cpu, transformer=True) is torch.bfloat16
    # Measured once: all later runs are alike.
    seconds[torch.bfloat16], count = 0.1, len(measured)
    assert training_dtype(cpu, transformer=True) is torch.bfloat16
    assert len(measured) == count
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "ANOTHER")
    assert training_dtype(cpu, transformer=True) is torch.float32
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "A THIRD")
    count = len(measured)
    assert training_dtype(cpu, transformer=True) is torch.float32
    assert len(measured) == count


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with one_thread_each():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with pytest.raises(KeyError), one_thread_each():
        raise KeyError
    assert torch.get_num_threads() == before


def test_small_work_runs_in_one_thread_whatever_the_machine_does() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with threads_for(SMALL_WORK - 1):
            assert torch.get_num_threads() == 1
        with threads_for(SMALL_WORK):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_running_out_of_memory_looks_like() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_machines_have_memos_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here = precision._memo("model", [Compute.FLOAT32])
    assert precision._memo("model", [Compute.FLOAT32, Compute.INT8]) != here
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "ANOTHER")
    assert precision._memo("model", [Compute.FLOAT32]) != here


def test_a_model_that_tells_nothing_apart_is_refused():
    unit = np.eye(3, dtype=np.float32)
    check_probes(unit, "m")
    alike = np.repeat(unit[:1], 8, axis=0)
    with pytest.raises(EncoderError, match=r"^m: unlike inputs get one and the same vector"):
        check_probes(alike, "m")
    alike[3, 2] = np.nan
    with pytest.raises(EncoderError, match=r"^m: its vectors are not numbers"):
        check_probes(alike, "m")


def test_a_model_that_can_not_be_run_is_refused_in_one_line():
    reason = r"^m: it can't be run \('>' not supported.*'str'"
    with pytest.raises(EncoderError, match=reason), first_run("m"):
        _ = "sdpa" > 0
    with pytest.raises(MemoryError), first_run("m"):
        raise MemoryError
