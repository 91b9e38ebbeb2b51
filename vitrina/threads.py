"""Torch thread settings: no more threads than available CPUs, and one core per batch.

On a CPU, batches run side by side on one core each instead of every layer on all cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from vitrina.limits import computing_threads

GPU_CALLERS = 4
SMALL_WORK = 1 << 24
"""Multiply-adds of one training step, forwards, below which it runs on one thread. Such a step
takes a millisecond or two (a 32-row batch of an MLP over 312 numbers: 5 million): two threads win
at most a quarter of it, and lose several times that beside other work."""


def limit_torch() -> int:
    """Limit torch to `computing_threads` threads and return its thread count.

    Torch itself ignores a container's CPU quota.
    """
    wanted = computing_threads()
    if torch.get_num_threads() > wanted:
        torch.set_num_threads(wanted)
    return torch.get_num_threads()


def workers(device: torch.device) -> int:
    """Return the number of threads that run batches through a model side by side.

    On a CPU each batch stays on one core, in its caches, without a thread barrier after every
    layer. On a GPU one thread prepares and copies its batch while another's is computed.
    """
    return limit_torch() if device.type == "cpu" else GPU_CALLERS


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Set torch to one thread inside the block and restore the previous number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_for(work: int) -> AbstractContextManager[None]:
    """Return `one_thread_each` for small work, or a context that does nothing.

    work: multiply-adds of one step, forwards; see `SMALL_WORK`. Float sums depend on the number of
    threads, so the choice depends on sizes alone, never on the load of the machine.
    """
    return one_thread_each() if work < SMALL_WORK else nullcontext()


def side_by_side(callers: int) -> AbstractContextManager[None]:
    """Return `one_thread_each` for several callers, or a context that does nothing for one."""
    return one_thread_each() if callers > 1 else nullcontext()
