"""Photos by http(s) URL, fetched once, within limits and with few requests per host at a time."""

from __future__ import annotations

import html
import random
import re
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import (
    DecodeError,
    HTTPError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as HTTPTimeoutError
from urllib3.util import Retry

from vitrina._version import __version__
from vitrina.data.product import Product
from vitrina.data.sources.fetching import DEFAULT_FETCHING, Fetching
from vitrina.data.sources.ssrf_guard import AddressGuard, Clock
from vitrina.data.sources.web_cache import PhotoCache
from vitrina.errors import ImageError

PER_HOST = 4
MAX_REDIRECTS = 5
FIRST_PAUSE = 0.5
"""Mean seconds before the second attempt; each further pause is twice as long."""
LONGEST_PAUSE = 30.0
"""Maximum pause in seconds; if a server requests a longer one, there is no further attempt."""

_HEADERS = {
    "User-Agent": f"vitrina/{__version__}",
    "Accept": "image/*,*/*;q=0.5",
    # Photos are already compressed.
    "Accept-Encoding": "identity",
}
_MOVED = frozenset({301, 302, 303, 307, 308})
_CHUNK = 1 << 16
_NO_URL = "not an http(s) URL"
_NEXT_URL = re.compile(r"[\s,;|'\"]+(?=(?:https?:)?//)", re.IGNORECASE)
_AROUND = " \t\r\n\ufeff,;|'\""


class WebImages:
    """Photos at the catalogue's URLs."""

    location = "the web"

    def __init__(self, photos: int = 1, fetching: Fetching = DEFAULT_FETCHING) -> None:
        """Open the cache. Raises ImageSourceError if its folder can't be created."""
        self._fetching = fetching
        self.workers = self._fetching.workers
        self._photos = photos
        self._cache = PhotoCache(self._fetching.cache_folder)
        self._slots = threading.BoundedSemaphore(self.workers)
        self._host_slots = _HostSlots(PER_HOST)
        self._gate = AddressGuard(self._fetching, PER_HOST)

    def references(self, product: Product) -> tuple[str, ...]:
        """Return the product's first http(s) URLs, without testing that they exist."""
        urls = (url for field in product.images for url in urls_of(field))
        return tuple(islice(dict.fromkeys(urls), self._photos))

    def not_found(self, product: Product) -> str:
        """Explain that the first name is no URL; "" if the catalogue names no photo."""
        return f"{product.images[0]!r} is {_NO_URL}" if product.images else ""

    def stamp(self, reference: str) -> str | None:
        """Return the URL itself: a photo is assumed not to change under its URL."""
        return reference

    def read(self, reference: str) -> bytes:
        """Read the photo from the cache, or fetch it.

        Raises ImageError with the reason of the server or the limits; ImageSourceError if the cache
        can't be written.
        """
        data = self._cache.get(reference)
        if data is None:
            with self._slots:
                data = self._fetch(reference)
            self._cache.put(reference, data)
        return data

    def forget(self, reference: str) -> None:
        """Remove the URL's cache entry; the photo's content stays in the cache."""
        self._cache.forget(reference)

    def close(self) -> None:
        """Close the connections."""
        self._gate.close()

    def _fetch(self, url: str) -> bytes:
        clock = Clock(self._fetching.timeout)
        tries, pause = self._fetching.tries, FIRST_PAUSE
        while True:
            try:
                return self._follow(url, clock)
            except _PassingError as err:
                # Randomized, so that requests that failed together are not retried together.
                wait = err.wait or pause * random.uniform(0.5, 1.5)
                tries -= 1
                if not tries or wait > min(LONGEST_PAUSE, clock.left):
                    raise ImageError(str(err)) from err
            time.sleep(wait)
            pause *= 2

    def _follow(self, url: str, clock: Clock) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            result = self._request(_Address.of(url), clock)
            if isinstance(result, bytes):
                return result
            try:
                url = urljoin(url, result)
            except ValueError as err:
                raise ImageError(f"redirected to what is {_NO_URL}") from err
        raise ImageError(f"more than {MAX_REDIRECTS} redirects")

    def _request(self, address: _Address, clock: Clock) -> bytes | str:
        """Send one request; return the photo, or the location of a redirect."""
        # Time spent waiting for other requests to the host does not count.
        with clock.stopped():
            self._host_slots.acquire(address.host)
        try:
            response = self._gate.get(address.url, _HEADERS, clock)
            try:
                return self._read_response(response)
            finally:
                _finish(response)
        except (HTTPError, OSError, ValueError) as err:
            raise _explained(err, address.host) from err
        finally:
            self._host_slots.release(address.host)

    def _read_response(self, response: BaseHTTPResponse) -> bytes | str:
        status = response.status
        if status == 200:
            return self._content(response)
        location = response.headers.get("Location")
        if status in _MOVED and location:
            # Headers are decoded as Latin-1, but non-ASCII paths in them are UTF-8.
            with suppress(UnicodeError):
                location = location.encode("latin-1").decode()
            return location
        if status == 429 or status >= 500:
            raise _PassingError(f"HTTP {status}", _retry_after(response))
        raise ImageError(f"HTTP {status}")

    def _content(self, response: BaseHTTPResponse) -> bytes:
        limit = self._fetching.max_bytes
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise ImageError("a web page, not a photo")
        with suppress(ValueError):
            if int(response.headers.get("Content-Length", "")) > limit:
                raise ImageError(f"too large: over {limit} bytes")
        data = bytearray()
        for chunk in response.stream(_CHUNK):
            data += chunk
            if len(data) > limit:
                raise ImageError(f"too large: over {limit} bytes")
        if not data:
            raise ImageError("an empty answer")
        return bytes(data)


@dataclass(frozen=True, slots=True)
class _Address:
    """A URL as sent in a request, and its host."""

    url: str
    host: str

    @classmethod
    def of(cls, url: str) -> _Address:
        """Strip credentials and encode a non-ASCII host with IDNA. Raises ImageError."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            if parts.scheme not in ("http", "https") or not host:
                raise ImageError(_NO_URL)
            host = host if host.isascii() else host.encode("idna").decode("ascii")
        except ValueError as err:
            raise ImageError(_NO_URL) from err
        place = f"[{host}]" if ":" in host else host
        place = place if port is None else f"{place}:{port}"
        return cls(parts._replace(netloc=place, fragment="").geturl(), host)


class _PassingError(Exception):
    """A temporary fault. wait: the pause in seconds that the server requests, if any."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _HostSlots:
    """Limit on simultaneous requests to one host; further requests wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy: Counter[str] = Counter()
        self._change = threading.Condition()

    def acquire(self, host: str) -> None:
        with self._change:
            self._change.wait_for(lambda: self._busy[host] < self._most)
            self._busy[host] += 1

    def release(self, host: str) -> None:
        with self._change:
            self._busy[host] -= 1
            if not self._busy[host]:
                del self._busy[host]
            self._change.notify_all()


def urls_of(field: str) -> list[str]:
    """Return the http(s) URLs in a catalogue's field, which may list several or omit the scheme."""
    if "//" not in field:
        return []
    if "&amp;" in field:
        field = html.unescape(field)
    around = _AROUND + "[]{}" if field[0] in "[{" else _AROUND
    parts = (part.strip(around) for part in _NEXT_URL.split(field))
    urls = (f"https:{part}" if part.startswith("//") else part for part in parts)
    return [url for url in urls if is_url(url)]


def is_url(reference: str) -> bool:
    """Return True if a reference starts like an http(s) URL."""
    return reference[:8].lower().startswith(("http://", "https://"))


def _finish(response: BaseHTTPResponse) -> None:
    """Release the connection for the next request if the response is short, and close it."""
    length = response.headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and int(length[:9]) <= _CHUNK:
        response.drain_conn()
    response.close()


def _retry_after(response: BaseHTTPResponse) -> float | None:
    try:
        return Retry().get_retry_after(response)
    except (HTTPError, ValueError, OverflowError):
        return None


def _explained(err: Exception, host: str) -> Exception:
    """Return the exception for a failed request, with a reason that is the same in every run."""
    if isinstance(err, NameResolutionError):
        passing = getattr(err.__cause__, "errno", None) == socket.EAI_AGAIN
        reason = f"no such host: {host}"
        return _PassingError(reason) if passing else ImageError(reason)
    if isinstance(err, SSLError):
        return ImageError(f"no trusted connection to {host}")
    if isinstance(err, DecodeError):
        return ImageError("damaged: its Content-Encoding can't be undone")
    if isinstance(err, LocationValueError):
        return ImageError(_NO_URL)
    if isinstance(err, NewConnectionError):
        return _PassingError(f"no connection to {host}")
    if isinstance(err, TimeoutError | HTTPTimeoutError):
        return _PassingError("timed out")
    return _PassingError("the connection broke off")
