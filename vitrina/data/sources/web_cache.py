"""Fetched photos on the disk: each content once, and beside it which URL gave it.

Two folders: `content/` has the photos, named by their hash; `urls/` has for each URL a small
file, named by the URL's hash, with the hash of its photo. All files are written under a
temporary name and renamed, so that any number of processes may share the folder. Nothing is
ever removed: delete the folder to fetch everything anew.
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
    """Photos by URL, in a folder that may not exist yet."""

    def __init__(self, folder: Path) -> None:
        """Make the folder. Raises ImageSourceError if that can't be."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise ImageSourceError(
                f"{folder}: photos can't be kept there: {err.strerror}; {_WAY_OUT}"
            ) from err

    def hash_of(self, url: str) -> str | None:
        """The content hash of the URL's photo; None if it was never fetched."""
        try:
            text = self._path("urls", _hash(_utf8(url))).read_text("ascii").strip()
        except (OSError, ValueError):
            return None
        return text if _HASH.fullmatch(text) else None

    def get(self, url: str) -> bytes | None:
        """The URL's photo; None if it is not there, or not whole any more."""
        name = self.hash_of(url)
        if name is None:
            return None
        try:
            data = self._path("content", name).read_bytes()
        except OSError:
            return None
        return data if _hash(data) == name else None

    def put(self, url: str, data: bytes) -> None:
        """Keep a photo. Raises ImageSourceError if it can't be written."""
        name = _hash(data)
        # The content first: a URL never points to what isn't there.
        _write(self._path("content", name), data)
        _write(self._path("urls", _hash(_utf8(url))), name.encode())

    def forget(self, url: str) -> None:
        """Forget which photo the URL gave."""
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
    # The same as the store's content hash, so that the two can be compared.
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _utf8(url: str) -> bytes:
    return url.encode("utf-8", "surrogatepass")
