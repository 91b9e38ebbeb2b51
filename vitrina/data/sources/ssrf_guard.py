"""SSRF guard: HTTP connections to public addresses only, with a time limit.

The address is checked when the socket is created, on the numeric address it connects to, so neither
a redirect nor a second DNS lookup bypasses the check. Time is checked at every read, so a server
that sends bytes slowly can't exceed the limit.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from vitrina.data.sources.addresses import is_public
from vitrina.data.sources.fetching import Fetching
from vitrina.errors import ImageError

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
"""Seconds to connect to one address (`CONNECT_SECONDS`), and to wait for a server's next bytes."""
HEADER_BYTES = 1 << 20
"""Bytes allowed in addition to the photo: headers and chunk sizes."""


class Clock:
    """Countdown of the time left for one photo; it can be paused."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left; 0 or less once time is up."""
        return self._end - time.monotonic()

    def within(self, seconds: float) -> float:
        """Limit `seconds` to the time left. Raises TimeoutError if none is left."""
        if (left := self.left) <= 0:
            raise TimeoutError("time is up")
        return min(seconds, left)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Pause the clock inside the block."""
        begin = time.monotonic()
        yield
        self._end += time.monotonic() - begin


class AddressGuard:
    """Thread-safe `PoolManager` whose connections enforce the address and time limits."""

    def __init__(self, fetching: Fetching, per_host: int) -> None:
        """per_host: number of connections to one host that may stay open."""
        self._allow_private = fetching.private_allowed
        self._most_bytes = fetching.max_bytes
        self._running = threading.local()
        # No proxy from the environment, since a proxy would do its own DNS lookups.
        self._manager = urllib3.PoolManager(num_pools=fetching.workers, maxsize=per_host)
        self._manager.pool_classes_by_scheme = _pool_classes(self)

    def get(self, url: str, headers: dict[str, str], clock: Clock) -> urllib3.BaseHTTPResponse:
        """Request a URL without redirects and retries, and without reading the content yet.

        The content must be read in the same thread. Raises ImageError for an address that is not
        public; exceptions of urllib3 propagate.
        """
        self._running.clock = clock
        return self._manager.request(
            "GET",
            url,
            headers=headers,
            preload_content=False,
            redirect=False,
            retries=False,
            timeout=urllib3.Timeout(
                connect=clock.within(CONNECT_SECONDS), read=clock.within(READ_SECONDS)
            ),
        )

    def close(self) -> None:
        """Close idle connections."""
        self._manager.clear()

    def connect(self, connection: HTTPConnection) -> socket.socket:
        """Connect to the first reachable address of the connection's host."""
        # Unlike `host`, it keeps a trailing dot, which excludes local search domains.
        host, port = connection._dns_host, connection.port
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as err:
            # A host that can't be encoded is no valid name either.
            failure = err if isinstance(err, socket.gaierror) else socket.gaierror(str(err))
            raise NameResolutionError(host, connection, failure) from err
        addresses = [(family, kind, protocol, where) for family, kind, protocol, _, where in found]
        for *_, where in addresses:
            if not self._allow_private and not is_public(str(where[0])):
                raise ImageError(f"private address refused: {where[0]}")
        failed: OSError = OSError("it has no address")
        for family, kind, protocol, where in addresses:
            try:
                return self._connected(socket.socket(family, kind, protocol), where)
            except OSError as err:
                failed = err
        if isinstance(failed, TimeoutError):
            raise ConnectTimeoutError(connection, f"{host} does not answer") from failed
        raise NewConnectionError(connection, failed.strerror or str(failed)) from failed

    def response(self, sock: socket.socket, *options: Any, **more: Any) -> HTTPResponse:
        """Read a response from a socket, within the time of the thread's current photo."""
        bounded = HTTPResponse(sock, *options, **more)
        # The constructor takes only a socket, so the stream is replaced afterwards.
        bounded.fp.close()
        bounded.fp = io.BufferedReader(_Bounded(sock, self._running.clock, self._most_bytes))
        return bounded

    def _connected(self, sock: socket.socket, where: Any) -> socket.socket:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(self._running.clock.within(CONNECT_SECONDS))
            sock.connect(where)
        except BaseException:
            sock.close()
            raise
        return sock


class _Bounded(io.RawIOBase):
    """Raw stream from a socket that enforces the time and size limits.

    Bytes are counted here too, since a server's chunk sizes can make a reader request everything at
    once.
    """

    def __init__(self, sock: socket.socket, clock: Clock, most: int) -> None:
        self._sock, self._clock, self._most = sock, clock, most
        self._left = most + HEADER_BYTES
        # Keeps the socket open after the connection releases it.
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._clock.within(READ_SECONDS))
        count = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise ImageError(f"too large: over {self._most} bytes")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _pool_classes(guard: AddressGuard) -> dict[str, Any]:
    """Return urllib3 connection pools whose connections are created by the guard."""

    class Gated:
        response_class: Any = staticmethod(guard.response)

        def _new_conn(self: Any) -> socket.socket:
            return guard.connect(self)

    class Plain(Gated, HTTPConnection):
        pass

    class Secure(Gated, HTTPSConnection):
        pass

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
