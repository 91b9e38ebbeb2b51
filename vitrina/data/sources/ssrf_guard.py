"""The way out to the web: connections that go only to public addresses, and end in time.

The address is checked where the socket is made, on the very numbers it then connects to, so
that neither a redirect nor a name that is looked up twice gets around it. Time is checked at
every receipt of bytes, so that a server which sends one now and then gets around neither.
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
"""How long one address may take to answer a call, and how long a server may be silent."""
HEADER_BYTES = 1 << 20
"""What may come along with a photo: headers, and the sizes of chunks."""


class Clock:
    """The time that one photo has left; it can be stopped."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, 0 or less once time is up."""
        return self._end - time.monotonic()

    def within(self, seconds: float) -> float:
        """At most so many seconds, of those that are left. Raises TimeoutError if none are."""
        if (left := self.left) <= 0:
            raise TimeoutError("time is up")
        return min(seconds, left)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Don't count the time spent inside."""
        begin = time.monotonic()
        yield
        self._end += time.monotonic() - begin


class Gate:
    """A `PoolManager` whose connections keep the rules; any number of threads may use it."""

    def __init__(self, fetching: Fetching, per_host: int) -> None:
        """Open nothing yet. `per_host`: how many connections to one host may stay open."""
        self._allow_private = fetching.private_allowed
        self._most_bytes = fetching.max_bytes
        self._running = threading.local()
        # No proxy of the environment's: it would look names up behind our back.
        self._manager = urllib3.PoolManager(num_pools=fetching.workers, maxsize=per_host)
        self._manager.pool_classes_by_scheme = _pool_classes(self)

    def get(self, url: str, headers: dict[str, str], clock: Clock) -> urllib3.BaseHTTPResponse:
        """Ask for a URL: no redirect is followed, nothing tried twice, no content read yet.

        The content must be read in the same thread. Raises ImageError for an address that is
        not public, and what urllib3 raises.
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
        """Connect to the first address of the connection's host that answers."""
        # Unlike `host`, as it was written: a dot at its end keeps it from being looked up here.
        host, port = connection._dns_host, connection.port
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as err:
            # What can't be encoded is not a name either.
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
        """Read an answer from a socket, within the time of the photo that the thread is at."""
        answer = HTTPResponse(sock, *options, **more)
        # It takes a socket and nothing else; what it reads from can only be put in afterwards.
        answer.fp.close()
        answer.fp = io.BufferedReader(_Bounded(sock, self._running.clock, self._most_bytes))
        return answer

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
    """Bytes from a socket, until time is up or there are too many of them.

    They are counted here too, since what a server says of its chunks can make a reader ask for
    everything at once.
    """

    def __init__(self, sock: socket.socket, clock: Clock, most: int) -> None:
        self._sock, self._clock, self._most = sock, clock, most
        self._left = most + HEADER_BYTES
        # Holds the socket open after the connection itself is done with it.
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


def _pool_classes(gate: Gate) -> dict[str, Any]:
    """Connection pools of urllib3's whose connections are made by the gate."""

    class Gated:
        response_class: Any = staticmethod(gate.response)

        def _new_conn(self: Any) -> socket.socket:
            return gate.connect(self)

    class Plain(Gated, HTTPConnection):
        pass

    class Secure(Gated, HTTPSConnection):
        pass

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
