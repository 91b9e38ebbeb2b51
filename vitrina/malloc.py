"""Settings of the C library's allocator: keep freed memory during work, return it afterwards."""

from __future__ import annotations

import ctypes
from functools import cache

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_KEPT_BYTES = 1 << 30


@cache
def keep_freed() -> None:
    """Have the C library (glibc) keep what is freed for the next allocation.

    By default it maps each large array anew and unmaps it again, and the kernel fills all its
    pages with zeros each time: a third of the time of a small model's layers. `trim` ends
    what would pile up.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    set_option(_MMAP_THRESHOLD, _KEPT_BYTES)
    set_option(_TRIM_THRESHOLD, _KEPT_BYTES)


def trim() -> None:
    """Return what was freed to the operating system, where the C library can (glibc).

    An encoder's work areas come and go in sizes that differ from batch to batch; glibc keeps
    the freed ones, scattered over its arenas, and a long run would creep upwards.
    """
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    malloc_trim(0)
