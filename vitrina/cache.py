"""Local cache folder for fetched and computed files; all of it may be deleted.

Everything that Vitrina writes outside of stores and outputs lies in this folder.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import platformdirs

from vitrina.errors import CacheError

VARIABLE = "VITRINA_CACHE"
TAG = "CACHEDIR.TAG"
"""A file that marks a folder as a cache, for backups too (https://bford.info/cachedir/)."""
_TAGGED = "Signature: 8a477f597d28d172789f06886806bc55\n# The cache of Vitrina: `vitrina cache`\n"


class CacheKind(StrEnum):
    """Kinds of cached files; each has a folder of its name."""

    COMPUTE = "compute"
    FINGERPRINTS = "fingerprints"
    KERNELS = "kernels"
    PHOTOS = "photos"
    STORES = "stores"
    TRAINING = "training"
    VERIFIED = "verified"


PURPOSES = {
    CacheKind.COMPUTE: "the fastest numeric format of each model on this machine",
    CacheKind.FINGERPRINTS: "fingerprints of model files",
    CacheKind.KERNELS: "compiled numeric code",
    CacheKind.PHOTOS: "photos fetched from the web",
    CacheKind.STORES: "files of stores on s3://",
    CacheKind.TRAINING: "checkpoints of unfinished trainings",
    CacheKind.VERIFIED: "store files whose checksums were verified",
}


@dataclass(frozen=True)
class CacheUse:
    """Files of one kind in the cache. bytes: their sizes, summed."""

    kind: CacheKind
    path: Path
    files: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible dict."""
        return {
            "kind": self.kind.value,
            "purpose": PURPOSES[self.kind],
            "path": str(self.path),
            "files": self.files,
            "bytes": self.bytes,
        }


_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache_folder(kind: str) -> Path:
    """Return the folder for one kind of file, below `$VITRINA_CACHE` or the user's cache folder.

    Missing folders are created with mode 0700. A failure here is ignored; the later write raises
    it. The default cache folder loses write permission for group and others, which an older
    version or a umask of 002 may have set. A folder named by `$VITRINA_CACHE` keeps its mode.
    """
    root = cache_root()
    folder = root / CacheKind(kind)
    with suppress(OSError):
        if not root.exists() or not any(root.iterdir()):
            make_private(root)
            (root / TAG).write_text(_TAGGED, encoding="ascii")
        make_private(folder)
        if not os.environ.get(VARIABLE):
            _close_to_others(root)
    return folder


def cache_root() -> Path:
    """Return `$VITRINA_CACHE`, or `vitrina` in the user's cache folder; it may not exist yet."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else platformdirs.user_cache_path("vitrina", appauthor=False)


def cache_usage(kinds: Iterable[CacheKind] = tuple(CacheKind)) -> list[CacheUse]:
    """Measure the cached files of some kinds. Links are not followed."""
    return [_use(kind, cache_root() / kind) for kind in kinds]


def clear_cache(kinds: Iterable[CacheKind] = tuple(CacheKind)) -> list[CacheUse]:
    """Delete the cached files of some kinds, and return what was deleted.

    Raises CacheError, before anything is deleted, if the root is a folder of other files where
    Vitrina only made its own beside them, or a kind's folder is a link or another user's.
    """
    root, found = cache_root(), [use for use in cache_usage(kinds) if use.path.exists()]
    if found and os.environ.get(VARIABLE) and not _is_tagged(root):
        raise CacheError(
            f"{root} may hold files that are not Vitrina's: it has no {TAG}, which Vitrina writes "
            f"into a new cache; delete {', '.join(use.path.name for use in found)} there yourself, "
            "or choose an empty folder as $VITRINA_CACHE"
        )
    for use in found:
        if use.path.is_symlink() or not use.path.is_dir():
            raise CacheError(f"{use.path} is not a folder that Vitrina made; delete it yourself")
        if use.path.lstat().st_uid != os.geteuid():
            raise CacheError(f"{use.path} belongs to another user, who may clear it")
    for use in found:
        try:
            shutil.rmtree(use.path)
        except OSError as err:
            raise CacheError(f"{use.path} can't be deleted: {err}") from err
    return found


def _is_tagged(root: Path) -> bool:
    try:
        return (root / TAG).read_text(encoding="ascii").startswith(_TAGGED.splitlines()[0])
    except (OSError, ValueError):
        return False


def _use(kind: CacheKind, folder: Path) -> CacheUse:
    sizes = [*_sizes(folder)] if not folder.is_symlink() else []
    return CacheUse(kind, folder, len(sizes), sum(sizes))


def _sizes(folder: Path) -> Iterator[int]:
    for where, _, names in os.walk(folder):
        for name in names:
            # A running job may delete its files meanwhile.
            with suppress(OSError):
                yield (Path(where) / name).lstat().st_size


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
