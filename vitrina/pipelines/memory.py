"""Giving memory back to the system between shards."""

from __future__ import annotations

import ctypes


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
