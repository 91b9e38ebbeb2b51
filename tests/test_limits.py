"""CPUs and memory that a process may use: affinity, cgroups of both versions, nested groups."""

import os
import subprocess
import sys

import pytest

from support.cli import vitrina
from vitrina import limits
from vitrina.limits import total_memory

GIB = 1 << 30


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """An empty tree of control groups; what is returned is to say where this process stands."""
    root = tmp_path / "cgroup"
    root.mkdir()
    monkeypatch.setattr(limits, "CGROUPS", root)
    monkeypatch.setattr(limits, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    for name in ("OMP_NUM_THREADS", "VITRINA_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "own"


def put(groups, own, files):
    groups.write_text(own)
    for name, content in files.items():
        path = limits.CGROUPS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


V2 = "0::/kubepods/pod1/me\n"
V1 = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc/def\n1:name=systemd:/docker/abc\n"


@pytest.mark.parametrize(
    ("own", "files", "memory"),
    [
        ("", {}, 64 * GIB),
        # A container that sees its own group as the root.
        ("0::/\n", {"memory.max": f"{GIB}\n"}, GIB),
        ("0::/\n", {"memory.max": "max\n"}, 64 * GIB),
        # Nested groups: the smallest on the way up counts, whichever it is.
        (V2, {"kubepods/pod1/me/memory.max": "max\n", "kubepods/memory.max": f"{GIB}\n"}, GIB),
        (
            V2,
            {"kubepods/pod1/me/memory.max": f"{GIB}\n", "kubepods/memory.max": f"{2 * GIB}\n"},
            GIB,
        ),
        (V2, {"kubepods/pod1/me/memory.high": f"{GIB}\n"}, GIB),
        # Somebody else's group limits nothing.
        (V2, {"kubepods/pod2/memory.max": f"{GIB}\n"}, 64 * GIB),
        # Version 1, by path and as the root, and its number for no limit.
        (V1, {"memory/docker/abc/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        (V1, {"memory/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 64 * GIB),
        (V1, {"memory/docker/abc/def/memory.limit_in_bytes": "no number\n"}, 64 * GIB),
    ],
)
def test_memory_is_the_smallest_limit_on_the_way_up(groups, monkeypatch, own, files, memory):
    put(groups, own, files)
    assert limits.available_memory(64 * GIB) == memory
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert total_memory() == memory


@pytest.mark.parametrize(
    ("own", "files", "cpus"),
    [
        ("", {}, 16),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        # Half a CPU is one thread; two and a half are two.
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2),
        (
            V2,
            {
                "kubepods/pod1/me/cpu.max": "max 100000\n",
                "kubepods/pod1/cpu.max": "300000 100000\n",
            },
            3,
        ),
        (
            V1,
            {
                "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "400000\n",
                "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        ("", {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ("", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ("", {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "0\n"}, 16),
        # More than there are.
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 16),
    ],
)
def test_cpus_are_those_of_the_group(groups, own, files, cpus):
    put(groups, own, files)
    assert limits.available_cpus() == limits.computing_threads() == cpus


def test_cpus_are_those_it_may_run_on(groups, monkeypatch):
    put(groups, "", {})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert limits.available_cpus() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert limits.available_cpus() == 7


@pytest.mark.parametrize(("given", "threads"), [("5", 5), ("5,2", 5), ("", 2), ("x", 2), ("0", 2)])
def test_a_user_says_how_many_threads(groups, monkeypatch, given, threads):
    put(groups, "0::/\n", {"cpu.max": "200000 100000\n"})
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert limits.computing_threads() == threads


def test_libraries_that_are_loaded_later_keep_to_it(groups, monkeypatch):
    put(groups, "0::/\n", {"cpu.max": "200000 100000\n"})
    monkeypatch.setattr(os, "environ", {"MKL_NUM_THREADS": "7"})
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    limits.limit_thread_pools()
    found = [os.environ[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")]
    assert found == ["2", "2", "7"]


def test_threads_asked_for_override_all_numbers(groups, monkeypatch):
    put(groups, "0::/\n", {"cpu.max": "200000 100000\n"})
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "7"})
    limits.use_threads(3)
    assert limits.computing_threads() == limits.worker_threads() == 3
    assert {name: text for name, text in os.environ.items() if "THREADS" in name} == {
        f"{name}_NUM_THREADS": "3" for name in ("OMP", "OPENBLAS", "MKL", "RAYON")
    } | {"VITRINA_THREADS": "3"}


def test_openmp_does_not_set_threads_that_do_not_use_it(groups, monkeypatch):
    put(groups, "0::/\n", {"cpu.max": "400000 100000\n"})
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "1"})
    assert (limits.computing_threads(), limits.worker_threads()) == (1, 4)


@pytest.mark.parametrize(
    ("given", "spins", "timeout"),
    [
        ({}, "10000", "18"),
        ({"GOMP_SPINCOUNT": "5"}, "5", "18"),
        # Who chooses how OpenMP waits has chosen.
        ({"OMP_WAIT_POLICY": "active"}, None, None),
    ],
)
def test_waiting_threads_sleep_unless_told_otherwise(groups, monkeypatch, given, spins, timeout):
    put(groups, "", {})
    monkeypatch.setattr(os, "environ", dict(given))
    limits.limit_thread_pools()
    assert os.environ["OMP_WAIT_POLICY"] == given.get("OMP_WAIT_POLICY", "passive")
    assert os.environ.get("GOMP_SPINCOUNT") == spins
    assert os.environ.get("OPENBLAS_THREAD_TIMEOUT") == timeout


def run_python(code, **env):
    kept = {key: one for key, one in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_importing_the_package_comes_first():
    code = (
        "import os, sys, vitrina; assert 'numpy' not in sys.modules; "
        "print(os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT'])"
    )
    assert run_python(code) == ["passive", "10000"]
    assert run_python(code, OMP_WAIT_POLICY="active", GOMP_SPINCOUNT="7") == ["active", "7"]


def test_threads_are_an_option_of_every_command(monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for number in ("0", "x"):
        assert vitrina("--threads", number, "cache", "photos") == 2
        assert "--threads" in capsys.readouterr().err
    assert vitrina("--threads", "3", "cache", "photos") == 0
    assert limits.computing_threads() == 3


def test_torch_and_faiss_keep_to_it(monkeypatch):
    import faiss
    import torch

    from vitrina.index.engine import Engine
    from vitrina.threads import limit_torch

    threads, before = torch.get_num_threads(), faiss.omp_get_max_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    try:
        torch.set_num_threads(4)
        faiss.omp_set_num_threads(4)
        assert limit_torch() == torch.get_num_threads() == 2
        Engine(faiss.IndexFlatIP(4), "Flat")
        assert faiss.omp_get_max_threads() == 2
        # Fewer than that were asked for by somebody.
        torch.set_num_threads(1)
        assert limit_torch() == 1
    finally:
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(before)
