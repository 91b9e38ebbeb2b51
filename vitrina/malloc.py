"""Settings of the C library's allocator: keep freed memory during work, return it afterwards."""

from __future__ import annotations

import ctypes
from functools import cache

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_KEPT_BYTES = 1 << 30


@cache
def keep_freed() -> None:
    """Make glibc keep freed memory for later allocations; does nothing without `mallopt`.

    By default glibc maps and unmaps each large array, and the kernel zeroes its pages each time:
    a third of the time of a small model's layers. `trim` returns the memory that accumulates.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    set_option(_MMAP_THRESHOLD, _KEPT_BYTES)
    set_option(_TRIM_THRESHOLD, _KEPT_BYTES)


def trim() -> None:
    """Return freed memory to the operating system; does nothing without `malloc_trim` (glibc).

    An encoder's buffers differ in size from batch to batch. glibc keeps the freed ones scattered
    over its arenas, so memory would grow slowly over a long run.
    """
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    malloc_trim(0)
