"""Kernels over rows of numbers, compiled by numba for the machine that they run on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

# Without NaN, the least and the most of a row are found 16 numbers at a time. Whoever lets numbers
# in from outside looks for NaN before.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"nsz", "arcp", "contract", "reassoc", "nnan"},
    "error_model": "numpy",
}
Kernel = TypeVar("Kernel", bound=Callable[..., None])


def compiled(kernel: Kernel) -> Kernel:
    """Compile at the first call, for the types it is called with, and keep that on the disk.

    A kernel runs on one thread and lets go of the interpreter.
    """
    try:
        return cast("Kernel", numba.njit(cache=True, **_OPTIONS)(kernel))
    except RuntimeError:
        # Neither this directory nor the user's cache can be written: compile in each process.
        return cast("Kernel", numba.njit(**_OPTIONS)(kernel))


def inlined(kernel: Kernel) -> Kernel:
    """Compile into what calls it."""
    return cast("Kernel", numba.njit(inline="always", **_OPTIONS)(kernel))
