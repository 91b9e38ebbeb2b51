"""CPU and memory limits of this process, from CPU affinity and cgroups.

A container sees all CPUs and memory of its host; its limits are set by control groups (Linux
cgroups, versions 1 and 2). Groups are nested and each may set a limit, so the smallest limit from
the process's group up to the root applies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
VITRINA_THREADS = "VITRINA_THREADS"
"""Environment variable behind `--threads`: the number of threads for all work."""
_OMP_THREADS = "OMP_NUM_THREADS"
_POOL_SIZES = (_OMP_THREADS, "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
_WAITING = {
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "10000",
    "KMP_BLOCKTIME": "0",
    "OPENBLAS_THREAD_TIMEOUT": "18",
}
"""Threads that wait for each other soon sleep. By default they spin for many milliseconds, and when
other work runs on the same cores, they take the core that the awaited thread needs. A tenth of a
millisecond of spinning (10,000 rounds of GCC's OpenMP, 2^18 clock ticks of OpenBLAS) still pays:
waking a thread takes as long, and a training step has dozens of parallel regions."""


def available_cpus() -> int:
    """Return the number of CPUs this process may use, by affinity and cgroup quotas; at least 1."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        cpus = os.cpu_count() or 1
    return max(1, min([cpus, *(int(quota) for quota in _cpu_quotas())]))


def available_memory(machine: int) -> int:
    """Return the bytes of memory this process may use. machine: the machine's memory in bytes."""
    return min([machine, *_memory_limits()])


def worker_threads() -> int:
    """Return the number of threads for work without OpenMP: `VITRINA_THREADS`, else one per
    available CPU."""
    return _number(VITRINA_THREADS) or available_cpus()


def computing_threads() -> int:
    """Return the number of computing threads: `VITRINA_THREADS`, else `OMP_NUM_THREADS`, else one
    per available CPU."""
    return _number(VITRINA_THREADS) or _number(_OMP_THREADS) or available_cpus()


def use_threads(threads: int) -> None:
    """Set `VITRINA_THREADS` for this process and its children, then `limit_thread_pools`."""
    os.environ[VITRINA_THREADS] = str(threads)
    limit_thread_pools()


def limit_thread_pools() -> None:
    """Let threads of OpenMP and BLAS wait asleep, and limit their number to `computing_threads`.

    Sets environment variables, so it affects only libraries loaded later: `import vitrina` calls
    it. A variable that is set keeps its value, except that `VITRINA_THREADS` overrides numbers of
    threads. Without it these are set only if the machine has more CPUs than this process may use,
    which the libraries do not know.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in _WAITING.items():
            os.environ.setdefault(name, value)
    given = _number(VITRINA_THREADS)
    if given:
        os.environ.update(dict.fromkeys(_POOL_SIZES, str(given)))
    elif (threads := computing_threads()) < (os.cpu_count() or 1):
        for name in _POOL_SIZES:
            os.environ.setdefault(name, str(threads))


def _number(variable: str) -> int:
    """A number of threads from the environment; 0 for none."""
    text = os.environ.get(variable, "").split(",")[0].strip()
    return int(text) if text.isdigit() else 0


def _cpu_quotas() -> Iterator[float]:
    for folder in _groups("", ""):
        words = _text(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit() and int(words[1]) > 0:
            yield int(words[0]) / int(words[1])
    for mounted in ("cpu", "cpu,cpuacct", "cpuacct,cpu"):
        for folder in _groups("cpu", mounted):
            quota, period = (
                _text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
            )
            # A quota of -1 means no limit.
            if quota.isdigit() and period.isdigit() and int(period) > 0:
                yield int(quota) / int(period)


def _memory_limits() -> Iterator[int]:
    files = [folder / name for folder in _groups("", "") for name in ("memory.max", "memory.high")]
    files += [folder / "memory.limit_in_bytes" for folder in _groups("memory", "memory")]
    for file in files:
        limit = _text(file).strip()
        # "max" means no limit; version 1 writes a huge number instead.
        if limit.isdigit() and int(limit) > 0:
            yield int(limit)


def _groups(controller: str, mounted: str) -> Iterator[Path]:
    """Yield the cgroup folders of this process, from its own group up to the root.

    controller: a version 1 controller, or "" for version 2. mounted: the name of its mount folder.
    A container sees its own group either as the root or by its path on the host, so some of the
    yielded folders may not exist.
    """
    root = CGROUPS / mounted
    for line in _text(OWN_GROUPS).splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        mine = number == "0" if not controller else controller in names.split(",")
        if mine:
            parts = [part for part in path.split("/") if part not in ("", ".", "..")]
            for count in range(len(parts), 0, -1):
                yield root.joinpath(*parts[:count])
    yield root


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def total_memory() -> int:
    """Return the machine's memory in bytes, or the cgroup limit if that is smaller."""
    return available_memory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
