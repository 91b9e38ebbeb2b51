"""Vitrina's folder on the local disk for what it fetched or computed; all of it may be deleted."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache_folder(kind: str) -> Path:
    """The folder for one kind of copies: below `$VITRINA_CACHE`, or the user's cache folder.

    What is missing of it is made, for the user alone; where that fails, whoever writes there meets
    the error. From the user's cache folder, which is Vitrina's alone, the others' right to write is
    taken: an older version or a umask of 002 may have given it. A folder that `$VITRINA_CACHE`
    names keeps its mode.
    """
    named = os.environ.get("VITRINA_CACHE")
    root = Path(named) if named else _default_root()
    folder = root / kind
    with suppress(OSError):
        make_private(folder)
        if not named:
            _close_to_others(root)
    return folder


def private_folder(kind: str) -> Path | None:
    """A folder of the cache that nobody but the user can have written to, for files that are
    trusted when they are read back; None where there is no such folder."""
    folder = cache_folder(kind)
    whole = is_private(folder.parent) and is_private(folder) and os.access(folder, os.W_OK)
    return folder if whole else None


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, with mode 0700. Raises OSError."""
    for part in [*reversed(folder.parents), folder]:
        if not part.exists():
            with suppress(FileExistsError):
                part.mkdir(mode=0o700)


def is_private(folder: Path) -> bool:
    """Whether a folder is the user's own and nobody else may write to it; False for a link."""
    return _is_open(folder) is False


def is_open_to_others(folder: Path) -> bool:
    """Whether others may write to a folder of the user's own; False for a link."""
    return _is_open(folder) is True


def _is_open(folder: Path) -> bool | None:
    """Whether others may write to a folder; None for one that is not there or not the user's."""
    try:
        return _others_may_write(folder.lstat())
    except OSError:
        return None


def _others_may_write(seen: os.stat_result) -> bool | None:
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
        return None
    return bool(seen.st_mode & _WRITABLE_BY_OTHERS)


def _close_to_others(folder: Path) -> None:
    """Take the others' right to write to a folder of the user's own. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        seen = os.fstat(opened)
        if _others_may_write(seen):
            os.fchmod(opened, stat.S_IMODE(seen.st_mode) & ~_WRITABLE_BY_OTHERS)
    finally:
        os.close(opened)


def _default_root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vitrina"
