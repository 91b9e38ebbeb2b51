"""A web server on the loopback for tests: what it answers is said per path, and it keeps count."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        site = self.server.site
        with site.lock:
            site.requests.append((self.path, dict(self.headers.items())))
            site.busy += 1
            site.most = max(site.most, site.busy)
        try:
            answer = site.answers.get(self.path, status(404))
            answer(self)
        except OSError:
            # The client hung up, which is what many a test is about.
            self.close_connection = True
        finally:
            with site.lock:
                site.busy -= 1

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: Site

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Site:
    """A running server. `requests` are the paths and headers that came; `most` at once."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.lock = threading.Lock()
        self.busy = self.most = 0
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.site = self
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.scheme = "http" if context is None else "https"
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def put(self, path: str, *answers: Answer) -> str:
        """Answer a path with each in turn, the last for ever; return its URL."""
        left = list(answers)

        def answer(handler: Handler) -> None:
            with self.lock:
                current = left.pop(0) if len(left) > 1 else left[0]
            current(handler)

        self.answers[path] = answer
        return self.url(path)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def status(code: int, **headers: str) -> Answer:
    """An answer without content."""

    def answer(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in {"Content_Length": "0", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


def photo(data: bytes, **headers: str) -> Answer:
    """The photo, with its length."""

    def answer(handler: Handler) -> None:
        status(200, Content_Length=str(len(data)), **headers)(handler)
        handler.wfile.write(data)

    return answer


def raw(*parts: bytes, pause: float = 0.0) -> Answer:
    """Bytes as they are, a pause before each part; then the connection is closed."""

    def answer(handler: Handler) -> None:
        handler.close_connection = True
        for part in parts:
            time.sleep(pause)
            handler.wfile.write(part)

    return answer


def slow(seconds: float, then: Answer) -> Answer:
    """The same after a while."""

    def answer(handler: Handler) -> None:
        time.sleep(seconds)
        then(handler)

    return answer


def hang_up(handler: Handler) -> None:
    """Close without a word."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
