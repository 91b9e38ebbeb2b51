"""Local cache folder for fetched and computed files; all of it may be deleted."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache_folder(kind: str) -> Path:
    """Return the folder for one kind of file, below `$VITRINA_CACHE` or the user's cache folder.

    Missing folders are created with mode 0700. A failure here is ignored; the later write raises
    it. The default cache folder loses write permission for group and others, which an older
    version or a umask of 002 may have set. A folder named by `$VITRINA_CACHE` keeps its mode.
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
    """Return a cache folder that only the user can write to, or None if there is none.

    Files in it can be trusted when they are read back.
    """
    folder = cache_folder(kind)
    whole = is_private(folder.parent) and is_private(folder) and os.access(folder, os.W_OK)
    return folder if whole else None


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents with mode 0700. Raises OSError."""
    for part in [*reversed(folder.parents), folder]:
        if not part.exists():
            with suppress(FileExistsError):
                part.mkdir(mode=0o700)


def is_private(folder: Path) -> bool:
    """Return True if the user owns the folder and nobody else may write to it; False for a link."""
    return _is_open(folder) is False


def is_open_to_others(folder: Path) -> bool:
    """Return True if the user owns the folder and others may write to it; False for a link."""
    return _is_open(folder) is True


def _is_open(folder: Path) -> bool | None:
    """Return True if others may write to the folder; None if it is missing or not the user's."""
    try:
        return _others_may_write(folder.lstat())
    except OSError:
        return None


def _others_may_write(seen: os.stat_result) -> bool | None:
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
        return None
    return bool(seen.st_mode & _WRITABLE_BY_OTHERS)


def _close_to_others(folder: Path) -> None:
    """Remove group and other write permission from a folder of the user's. Raises OSError."""
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
