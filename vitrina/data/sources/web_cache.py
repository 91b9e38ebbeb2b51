"""Disk cache of fetched photos, deduplicated by content.

`content/` holds the photos, named by their hash. `urls/` holds a small file for each URL, named by
the URL's hash, with the hash of its photo. All files are written under a temporary name and
renamed, so several processes may share the folder. Photos are never removed; delete the folder to
fetch everything again.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from vitrina.errors import ImageSourceError

_HASH = re.compile(r"[0-9a-f]{32}")
_WAY_OUT = "make room or name another folder in VITRINA_CACHE"


class PhotoCache:
    """Cache of photos by URL, in a folder that may not exist yet."""

    def __init__(self, folder: Path) -> None:
        """Create the folder. Raises ImageSourceError if it can't be created."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise ImageSourceError(
                f"{folder}: photos can't be kept there: {err.strerror}; {_WAY_OUT}"
            ) from err

    def hash_of(self, url: str) -> str | None:
        """Return the content hash of the URL's photo; None if it is not cached."""
        try:
            text = self._path("urls", _hash(_utf8(url))).read_text("ascii").strip()
        except (OSError, ValueError):
            return None
        return text if _HASH.fullmatch(text) else None

    def get(self, url: str) -> bytes | None:
        """Return the URL's photo; None if it is missing or damaged."""
        name = self.hash_of(url)
        if name is None:
            return None
        try:
            data = self._path("content", name).read_bytes()
        except OSError:
            return None
        return data if _hash(data) == name else None

    def put(self, url: str, data: bytes) -> None:
        """Store a photo. Raises ImageSourceError if it can't be written."""
        name = _hash(data)
        # The content is written first, so that a URL never refers to missing content.
        _write(self._path("content", name), data)
        _write(self._path("urls", _hash(_utf8(url))), name.encode())

    def forget(self, url: str) -> None:
        """Remove the URL's entry; the content stays."""
        with suppress(OSError):
            self._path("urls", _hash(_utf8(url))).unlink(missing_ok=True)

    def _path(self, kind: str, name: str) -> Path:
        return self._folder / kind / name[:2] / name


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as err:
        with suppress(OSError):
            temporary.unlink()
        raise ImageSourceError(f"{path}: can't be written: {err.strerror}; {_WAY_OUT}") from err


def _hash(data: bytes) -> str:
    # Equal to the store's content hash, so that the two can be compared.
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _utf8(url: str) -> bytes:
    return url.encode("utf-8", "surrogatepass")
