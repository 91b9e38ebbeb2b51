"""Full disks: one exception, with the place in it, for all that libraries raise."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

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
        raise OSError(full.errno, os.strerror(full.errno or 0), str(place)) from err


@contextmanager
def nameless_file(folder: Path | None = None, size: int = 0) -> Iterator[IO[bytes]]:
    """A file that the system drops with its last user, such as an array that is mapped to it.

    folder: None for the system's own. size: bytes to allocate: a full disk must be found out here,
    since a write to a mapped page that has no room ends the process. Raises OSError with the
    folder's name.
    """
    with filling(folder or tempfile.gettempdir()), tempfile.TemporaryFile(dir=folder) as file:
        if size:
            _allocate(file.fileno(), size)
        yield file


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)


def told(err: OSError) -> str:
    """One line with the reason of the system, the place and the way out."""
    reason = err.strerror or str(err)
    line = f"{err.filename}: {reason}" if err.filename else reason
    if err.errno in FULL and err.filename:
        line += "; what is committed is kept: free some space and run it again"
    return line
