"""Requests to an ASGI application, in this process and as odd as they may come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """A request as a server hands it on. path: still quoted. body: in pieces."""

    method: str = "GET"
    path: bytes = b"/"
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ((b"host", b"127.0.0.1:8765"),)
    body: tuple[bytes, ...] = (b"",)
    leaves: bool = False


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


def ask(app: Any, requests: Sequence[Request]) -> list[Answer]:
    """Send requests one after the other; raises what the application raises."""

    async def all_of_them() -> list[Answer]:
        return [await _one(app, request) for request in requests]

    return asyncio.run(all_of_them())


async def _one(app: Any, request: Request) -> Answer:
    from urllib.parse import unquote_to_bytes

    status, parts = 0, []
    pieces = list(request.body)

    async def receive() -> dict[str, Any]:
        if pieces:
            piece = pieces.pop(0)
            if request.leaves and not pieces:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote_to_bytes(request.path).decode("utf-8", "replace"),
        "raw_path": request.path,
        "query_string": request.query,
        "root_path": "",
        "headers": list(request.headers),
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8765),
        "state": {},
    }
    await app(scope, receive, send)
    return Answer(status, b"".join(parts))
