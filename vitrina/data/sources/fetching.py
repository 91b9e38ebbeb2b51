"""How photos are fetched from the web: the settings, apart from the code that needs urllib3."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vitrina.cache import cache_folder
from vitrina.errors import ImageSourceError

WEB = "web"
"""The location that stands for the web: the catalogue's references are http(s) URLs."""
ALLOW_PRIVATE = "VITRINA_ALLOW_PRIVATE"
"""The environment variable by which a user allows private addresses for every command: 1."""


@dataclass(frozen=True)
class Fetching:
    """Limits and manners of fetching, and where fetched photos are kept.

    Attributes:
        workers: photos fetched at once; of one host, never more than four.
        max_bytes: a larger photo is refused, as sent and as unpacked.
        timeout: seconds for one photo in all, from first connection to last byte, with
            redirects and repeated tries; only looking up a name is left to the system's limit.
        tries: how often a photo is asked for where the fault may pass.
        allow_private: whether addresses that are not public may be asked. A catalogue from
            outside could otherwise make this machine read its own network. None for what
            the user's environment says, which is no unless `ALLOW_PRIVATE` is 1. No store
            remembers it.
        cache: a directory for fetched photos; None for the user's own. No store remembers it.
    """

    workers: int = 16
    max_bytes: int = 20 * 1024 * 1024
    timeout: float = 60.0
    tries: int = 3
    allow_private: bool | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        """Make `cache` absolute. Raises ImageSourceError for no sense."""
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
        """Whether addresses that are not public may be asked."""
        if self.allow_private is None:
            return os.environ.get(ALLOW_PRIVATE) == "1"
        return self.allow_private

    @property
    def cache_folder(self) -> Path:
        """Where fetched photos are kept."""
        return cache_folder("photos") if self.cache is None else Path(self.cache) / "photos"


DEFAULT_FETCHING = Fetching()
