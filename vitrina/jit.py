"""Compilation of numeric kernels with numba, cached on disk where that is safe.

Cached code consists of pickled files, which can execute code when loaded. The cache is `kernels`
in Vitrina's cache folder, or `$NUMBA_CACHE_DIR`. It is used only if the user owns that folder and
nobody else may write to it. Otherwise each process compiles again; if the folder's mode is the
reason, one warning is logged.
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

# `nnan` lets the compiler vectorize a row's minimum and maximum, 16 numbers at a time. Code that
# accepts outside numbers must check for NaN first.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"nsz", "arcp", "contract", "reassoc", "nnan"},
    "error_model": "numpy",
}
Kernel = TypeVar("Kernel", bound=Callable[..., None])


def compiled(kernel: Kernel) -> Kernel:
    """Compile a kernel on its first call, for the argument types, and cache it on disk if possible.

    A kernel runs on one thread and releases the GIL.
    """
    folder = _kernel_cache()
    if folder is not None:
        kept = _caching(kernel, folder / _stamp(kernel))
        if kept is not None:
            return kept
    return cast("Kernel", numba.njit(**_OPTIONS)(kernel))


def inlined(kernel: Kernel) -> Kernel:
    """Compile a kernel that is inlined into its callers."""
    return cast("Kernel", numba.njit(inline="always", **_OPTIONS)(kernel))


def _caching(kernel: Kernel, folder: Path) -> Kernel | None:
    """Compile a kernel with its cache in `folder`; None if numba would cache it elsewhere."""
    config: Any = numba.config
    before = config.CACHE_DIR
    # Restored below: a program that imports Vitrina may have kernels of its own.
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
def _kernel_cache() -> Path | None:
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
    """Return a digest of the numba version and of the other `vitrina` modules that a kernel uses.

    numba itself tracks changes only in the kernel's own module.
    """
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
