"""Full-disk errors: one OSError with the path in it, whatever exception a library raises."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk: no space, an exceeded quota, a file size limit."""


def full_disk(err: BaseException) -> OSError | None:
    """Return the full-disk OSError behind an exception, or None for any other exception.

    safetensors, FAISS and pyarrow raise exceptions of their own that contain the system's message.
    """
    if isinstance(err, OSError) and err.errno in FULL:
        return err
    text = str(err)
    for number in FULL:
        if os.strerror(number) in text:
            return OSError(number, os.strerror(number))
    return None


@contextmanager
def filling(place: str | Path) -> Iterator[None]:
    """Raise OSError with `place` as its file name if the disk fills up inside the block."""
    try:
        yield
    except Exception as err:
        full = full_disk(err)
        if full is None or full.filename:
            raise
        raise OSError(full.errno, os.strerror(full.errno or 0), str(place)) from err


@contextmanager
def nameless_file(folder: Path | None = None, size: int = 0) -> Iterator[IO[bytes]]:
    """Open an unlinked temporary file, whose space is freed when its last user closes it.

    A mapped array is such a user. folder: None for the system's temporary folder. size: bytes to
    allocate up front, since a write to a mapped page without disk space would kill the process.
    Raises OSError with the folder's name.
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


def describe_fault(err: OSError) -> str:
    """Format an error as one line: the path, the system's reason and what to do."""
    reason = err.strerror or str(err)
    line = f"{err.filename}: {reason}" if err.filename else reason
    if err.errno in FULL and err.filename:
        line += "; what is committed is kept: free some space and run it again"
    return line
