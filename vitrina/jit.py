"""Kernels over rows of numbers, compiled by numba for the machine that they run on.

Compiled code is kept in the cache as pickled files, which run when they are read. They lie in
`kernels` of Vitrina's cache folder, or in `$NUMBA_CACHE_DIR`, and are used only where that folder
belongs to the user and nobody else may write to it; elsewhere each process compiles anew, and
where the folder's mode is the reason, one warning tells so.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from vitrina.cache import cache_folder, is_open_to_others, is_private, make_private, private_folder

log = logging.getLogger(__name__)

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
    folder = _kept_in()
    if folder is not None:
        kept = _caching(kernel, folder / _stamp(kernel))
        if kept is not None:
            return kept
    return cast("Kernel", numba.njit(**_OPTIONS)(kernel))


def inlined(kernel: Kernel) -> Kernel:
    """Compile into what calls it."""
    return cast("Kernel", numba.njit(inline="always", **_OPTIONS)(kernel))


def _caching(kernel: Kernel, folder: Path) -> Kernel | None:
    """A kernel that keeps its code in a folder; None where numba would keep it elsewhere."""
    config: Any = numba.config
    before = config.CACHE_DIR
    # Only for these kernels: a program that imports Vitrina may have kernels of its own.
    config.CACHE_DIR = str(folder)
    try:
        made = numba.njit(cache=True, **_OPTIONS)(kernel)
    except (RuntimeError, OSError):
        return None
    finally:
        config.CACHE_DIR = before
    place = Path(made.stats.cache_path)
    return cast("Kernel", made) if place.is_relative_to(folder) else None


@cache
def _kept_in() -> Path | None:
    named = os.environ.get("NUMBA_CACHE_DIR")
    if not named:
        folder = cache_folder("kernels")
        _warn_if_open(folder.parent, folder)
        return private_folder("kernels")
    folder = Path(named).absolute()
    try:
        make_private(folder)
    except OSError:
        return None
    _warn_if_open(folder)
    return folder if is_private(folder) and os.access(folder, os.W_OK) else None


def _warn_if_open(*folders: Path) -> None:
    for folder in folders:
        if is_open_to_others(folder):
            log.warning(
                "kernels are compiled in each process: others may write to %s; chmod go-w %s",
                folder,
                folder,
            )
            return


def _stamp(kernel: Callable[..., None]) -> str:
    """A digest of the sources that go into a kernel from other modules: numba itself looks only
    at the kernel's own."""
    modules = {__name__}
    for name in kernel.__code__.co_names:
        used = kernel.__globals__.get(name)
        module = getattr(getattr(used, "_defn", used), "__module__", None)
        if isinstance(module, str) and module.startswith("vitrina."):
            modules.add(module)
    digest = hashlib.blake2b(numba.__version__.encode(), digest_size=8)
    for module in sorted(modules - {kernel.__module__}):
        digest.update(Path(str(sys.modules[module].__file__)).read_bytes())
    return digest.hexdigest()
