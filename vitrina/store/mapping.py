"""Memory-mapped files without an open file descriptor for each.

A store of ten million products has thousands of shards. `mmap.mmap` and Arrow keep a descriptor
open for every mapping, and the usual limit is 1,024.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from functools import cache
from pathlib import Path
from typing import Any

_LIVE: set[int] = set()
"""Addresses of the files that are mapped."""


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_longlong,
    ]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


def files_mapped() -> int:
    """Number of files that this process has mapped with `map_file`."""
    return len(_LIVE)


def _unmap(address: int, size: int) -> None:
    # First, since another thread may map a file there at once.
    _LIVE.discard(address)
    _libc().munmap(address, size)


def map_file(path: Path) -> memoryview:
    """Map a file read-only, for as long as the view, or a view of it, is alive.

    The content stays readable if the file is deleted meanwhile. Raises OSError, also for an
    empty file.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        address = _libc().mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
        if address == ctypes.c_void_p(-1).value:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)
    content = (ctypes.c_ubyte * size).from_address(address)
    _LIVE.add(address)
    weakref.finalize(content, _unmap, address, size)
    return memoryview(content).cast("B").toreadonly()
