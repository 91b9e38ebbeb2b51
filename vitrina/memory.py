"""What freed memory is to do: stay at hand during work, go back to the system after it."""

from __future__ import annotations

import ctypes
import os
from functools import cache

from vitrina.limits import available_memory

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
AT_HAND = 1 << 30


@cache
def keep_at_hand() -> None:
    """Have the C library (glibc) keep what is freed for the next allocation.

    By default it maps each large array anew and unmaps it again, and the kernel fills all its
    pages with zeros each time: a third of the time of a small model's layers. `give_back` ends
    what would pile up.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    set_option(_MMAP_THRESHOLD, AT_HAND)
    set_option(_TRIM_THRESHOLD, AT_HAND)


def give_back() -> None:
    """Return what was freed to the operating system, where the C library can (glibc).

    An encoder's work areas come and go in sizes that differ from batch to batch; glibc keeps
    the freed ones, scattered over its arenas, and a long run would creep upwards.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)


def total_memory() -> int:
    """Bytes of this machine's memory, or of what this process may take of it."""
    return available_memory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
