"""CPUs and memory that the operating system lets this process use, by affinity and cgroups.

A container sees all of its host's CPUs and memory; what it may use of them stands in control
groups (Linux cgroups, versions 1 and 2). Groups are nested, and each may set a limit of its own, so
the smallest on the way up counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
THREADS = "OMP_NUM_THREADS"
"""Where a user says how many threads to compute with; it is never overruled."""
_THREAD_POOLS = (THREADS, "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def available_cpus() -> int:
    """How many CPUs this process may use: those it may run on, or fewer where a group's share of
    their time is less; 1 at least."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        cpus = os.cpu_count() or 1
    return max(1, min([cpus, *(int(quota) for quota in _cpu_quotas())]))


def available_memory(machine: int) -> int:
    """Bytes of memory that this process may use, of a machine that has so many."""
    return min([machine, *_memory_limits()])


def computing_threads() -> int:
    """Threads to compute with: as `OMP_NUM_THREADS` says, or else one for each available CPU."""
    given = os.environ.get(THREADS, "").split(",")[0].strip()
    return int(given) if given.isdigit() and int(given) > 0 else available_cpus()


def limit_thread_pools() -> None:
    """Where this process may use fewer CPUs than the machine has, have the libraries that are
    loaded from here on (OpenMP, BLAS) compute with no more threads than that, unless the
    environment says how many."""
    threads = computing_threads()
    if threads < (os.cpu_count() or 1):
        for name in _THREAD_POOLS:
            os.environ.setdefault(name, str(threads))


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
            # A quota of -1 is none.
            if quota.isdigit() and period.isdigit() and int(period) > 0:
                yield int(quota) / int(period)


def _memory_limits() -> Iterator[int]:
    files = [folder / name for folder in _groups("", "") for name in ("memory.max", "memory.high")]
    files += [folder / "memory.limit_in_bytes" for folder in _groups("memory", "memory")]
    for file in files:
        limit = _text(file).strip()
        # "max" is none; version 1 has a huge number for it.
        if limit.isdigit() and int(limit) > 0:
            yield int(limit)


def _groups(controller: str, mounted: str) -> Iterator[Path]:
    """The folders of this process's group and of all above it, wherever they may lie.

    controller: of version 1; "" for version 2. mounted: its folder's name. A container sees its own
    group as the root, or else its path on the host, of which some part need not exist here.
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
    """Bytes of this machine's memory, or of what this process may take of it."""
    return available_memory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
