"""Settings for fetching photos from the web, separate from the code that imports urllib3."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vitrina.cache import cache_folder
from vitrina.errors import ImageSourceError

WEB = "web"
"""Location name for the web; the catalogue's references are then http(s) URLs."""
ALLOW_PRIVATE = "VITRINA_ALLOW_PRIVATE"
"""Environment variable that allows private addresses for every command if it is 1."""


@dataclass(frozen=True)
class Fetching:
    """Limits of fetching, and the cache folder of fetched photos.

    Attributes:
        workers: number of photos fetched at once; never more than four from one host.
        max_bytes: maximum bytes of a photo, both as sent and as unpacked.
        timeout: total seconds for one photo, from first connection to last byte, with redirects
            and retries; DNS lookups have only the system's limit.
        tries: number of attempts for a fault that may be temporary.
        allow_private: whether to fetch from addresses that are not public. An untrusted catalogue
            could then make this machine read from its own network. None uses the environment,
            where it is off unless `ALLOW_PRIVATE` is 1. Never saved in a store.
        cache: directory for fetched photos; None for the user's cache folder. Never saved in a
            store.
    """

    workers: int = 16
    max_bytes: int = 20 * 1024 * 1024
    timeout: float = 60.0
    tries: int = 3
    allow_private: bool | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        """Make `cache` absolute. Raises ImageSourceError for a limit that is not positive."""
        for name in ("workers", "max_bytes", "tries", "timeout"):
            value = getattr(self, name)
            kinds = (int, float) if name == "timeout" else (int,)
            if type(value) not in kinds or not value > 0:
                raise ImageSourceError(
                    f"photos from the web: {name} must be a number above 0, not {value!r}"
                )
        if self.cache is not None:
            object.__setattr__(self, "cache", str(Path(self.cache).expanduser().absolute()))

    @property
    def private_allowed(self) -> bool:
        """True if photos may be fetched from addresses that are not public."""
        if self.allow_private is None:
            return os.environ.get(ALLOW_PRIVATE) == "1"
        return self.allow_private

    @property
    def cache_folder(self) -> Path:
        """Cache folder of fetched photos."""
        return cache_folder("photos") if self.cache is None else Path(self.cache) / "photos"


DEFAULT_FETCHING = Fetching()
