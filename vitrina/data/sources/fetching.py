"""How photos are fetched from the web: the settings, apart from the code that needs urllib3."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vitrina.cache import cache_folder
from vitrina.errors import ImageSourceError

WEB = "web"
"""The location that stands for the web: the catalogue's references are http(s) URLs."""


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
            outside could otherwise make this machine read its own network.
        cache: a directory for fetched photos; None for the user's own.
    """

    workers: int = 16
    max_bytes: int = 20 * 1024 * 1024
    timeout: float = 60.0
    tries: int = 3
    allow_private: bool = False
    cache: str | None = None

    def __post_init__(self) -> None:
        """Make `cache` absolute, for it is remembered. Raises ImageSourceError for no sense."""
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
    def cache_folder(self) -> Path:
        """Where fetched photos are kept."""
        return cache_folder("photos") if self.cache is None else Path(self.cache) / "photos"


DEFAULT_FETCHING = Fetching()
