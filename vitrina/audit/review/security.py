"""Security of the review page: host check, CSRF protection, access token, security headers.

A page on localhost can be reached by every web page its user has open, and by every process of the
machine. So the Host header must name this server (against DNS rebinding), changes must come from a
page of this server, and where the server is bound to more than this machine, the browser must have
shown a token once. Responses may load nothing from elsewhere, run only the page's own scripts, and
not be framed by other pages.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import traceback
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrina.audit.review.options import ReviewOptions

LONGEST_BODY = 256 * 1024
"""Upper limit of a body in bytes: a decision on the largest batch is a few kilobytes."""
LONGEST_HEAD = 32 * 1024
"""Upper limit of the address and all headers in bytes: a browser sends a few kilobytes."""
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_LASTING = "private, max-age=86400"
"""Caching of static files: their addresses contain the version of the process."""
_READING = ("GET", "HEAD")
_LONGEST_LENGTH = 9
"""Upper limit of digits in a content length."""

_log = logging.getLogger(__name__)


class _TooLongError(Exception):
    """A body longer than `LONGEST_BODY`."""


def same(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return secrets.compare_digest(one.encode(), other.encode())


class Guard:
    """ASGI middleware that refuses bad requests and adds security headers to all responses."""

    def __init__(self, app: ASGIApp, options: ReviewOptions) -> None:
        self._app, self._options = app, options
        self._cookie = f"vitrina-{options.port}-token"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                lasting = scope["path"].startswith("/static/") and bool(scope["query_string"])
                headers.setdefault("cache-control", _LASTING if lasting else "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LONGEST_BODY:
                raise _TooLongError
            return message

        try:
            await self._app(scope, receive_bounded, send_with_headers)
        except _TooLongError:
            await _TOO_LONG(scope, receive, send_with_headers)
        except (ClientDisconnect, asyncio.CancelledError):
            # The client has gone or the server is stopping: no response is needed.
            return
        except Exception as err:
            _log.error("%s", _place_of(err, scope))
            if not started:
                await _FAILED(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """The response that refuses a request; None for an acceptable one."""
        head = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if head + sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEAD:
            return _LONG_HEAD
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._options.serves(host):
            return PlainTextResponse("This server does not go by that name.\n", 400)
        refused = self._without_token(scope, headers)
        if refused is not None or scope["method"] in _READING:
            return refused
        if not _same_origin(headers, host):
            return PlainTextResponse("Changes are taken from this page alone.\n", 403)
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return PlainTextResponse("The length is no number.\n", 400)
        long = len(length) > _LONGEST_LENGTH or int(length) > LONGEST_BODY
        return _TOO_LONG if long else None

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        token = self._options.token
        if token is None:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        shown = [value for name, value in query if name == "token"]
        if shown and same(shown[0], token) and scope["method"] in _READING:
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            return self._welcome(scope["path"] if scope["path"] == "/decided" else "/", rest)
        if same(_cookie(headers, self._cookie), token):
            return None
        return PlainTextResponse("Open the page by the whole address, token and all.\n", 403)

    def _welcome(self, path: str, query: str) -> Response:
        # Not a plain redirect: in one that began on another site, such as a messenger's page, the
        # browser would not send the SameSite cookie. From this page it does.
        response = HTMLResponse("<!DOCTYPE html><title>Vitrina</title>")
        response.headers["refresh"] = f"0; url={path}" + (f"?{query}" if query else "")
        response.set_cookie(
            self._cookie, str(self._options.token), httponly=True, samesite="strict"
        )
        return response


_TOO_LONG = PlainTextResponse("That is more than a decision.\n", 413)
_LONG_HEAD = PlainTextResponse("The address and the headers are too long.\n", 431)
_FAILED = PlainTextResponse("This failed; the terminal that serves the page says where.\n", 500)


def _place_of(err: Exception, scope: Scope) -> str:
    """An internal error in one line: the request, the exception and its place."""
    frame = traceback.extract_tb(err.__traceback__)[-1]
    request = f"{scope['method']} {scope['path'][:80]!r}"
    return f"{request}: {type(err).__name__} at {frame.filename}:{frame.lineno}"


def _same_origin(headers: Headers, host: str) -> bool:
    """True if the Origin or Referer header names this server; False if both are missing."""
    origin = headers.get("origin")
    if origin is None:
        try:
            parts = urlsplit(headers.get("referer", ""))
        except ValueError:
            return False
        origin = f"{parts.scheme}://{parts.netloc}"
    return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def _cookie(headers: Headers, name: str) -> str:
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""
