"""A disk that takes no more: one exception for what libraries raise, with the place in it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space, a quota, a limit on the size of files."""


def full_disk(err: BaseException) -> OSError | None:
    """An exception as the OSError that it is of: safetensors, FAISS and pyarrow raise exceptions of
    their own with the system's message in them. None for anything else."""
    if isinstance(err, OSError) and err.errno in FULL:
        return err
    text = str(err)
    for number in FULL:
        if os.strerror(number) in text:
            return OSError(number, os.strerror(number))
    return None


@contextmanager
def filling(place: str | Path) -> Iterator[None]:
    """Raise OSError with `place` as its file name where the disk takes no more."""
    try:
        yield
    except Exception as err:
        full = full_disk(err)
        if full is None or full.filename:
            raise
        raise OSError(full.errno, full.strerror, str(place)) from err


def told(err: OSError) -> str:
    """What the system refused, where, and the way out, in one line."""
    reason = err.strerror or str(err)
    line = f"{err.filename}: {reason}" if err.filename else reason
    if err.errno in FULL and err.filename:
        line += "; what is committed is kept: free some space and run it again"
    return line
