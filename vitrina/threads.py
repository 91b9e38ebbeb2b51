"""Torch on a CPU: as many threads as there are CPUs for this process, and batches side by side,
each on one core, instead of every layer on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from vitrina.limits import computing_threads

GPU_CALLERS = 4


def limit_torch() -> int:
    """Have torch compute with no more threads than there are CPUs for this process (which, in a
    container with a quota, it does not see by itself), and say with how many it does."""
    wanted = computing_threads()
    if torch.get_num_threads() > wanted:
        torch.set_num_threads(wanted)
    return torch.get_num_threads()


def workers(device: torch.device) -> int:
    """Threads that put batches through a model side by side.

    On a CPU each batch stays on one core, in its caches, and nobody waits for the slowest of
    several threads after every layer. On a GPU one's batch is put together and moved there while
    another's is computed.
    """
    return limit_torch() if device.type == "cpu" else GPU_CALLERS


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Have torch use one thread for each that calls it, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(callers: int) -> AbstractContextManager[None]:
    """`one_thread_each` where several call, and as it is where one does."""
    return one_thread_each() if callers > 1 else nullcontext()
