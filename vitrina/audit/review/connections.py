"""Connections with limits: uvicorn's HTTP protocol limits neither the time in which a request must
arrive nor the number of waiting connections."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

MOST_CONNECTIONS = 128
"""Upper limit of open connections. A browser opens six."""
ARRIVAL = 10.0
"""Seconds in which a request must arrive, head and body."""
KEEP_ALIVE = 30
"""Seconds for which a connection waits for the next request."""
DEPARTURE = 20.0
"""Seconds in which a client must receive a response."""


class Connection(H11Protocol):
    """A connection that closes if its client is too slow, or to make room for a newer one.

    Every phase has a deadline, except while the application computes a response: a request arrives
    within `ARRIVAL`, the next one begins within `KEEP_ALIVE`, a response is received within
    `DEPARTURE`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._arriving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make room for this connection and wait for its request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()
        self._await_request()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        if self.transport.is_closing():
            self._set_deadline(DEPARTURE)
        elif self._incomplete:
            if not self._arriving:
                self._await_request()
        elif self._arriving:
            self._arriving = False
            self._set_deadline(None)

    def pause_writing(self) -> None:
        """Start the deadline of a client that reads too slowly."""
        super().pause_writing()
        self._set_deadline(DEPARTURE)

    def resume_writing(self) -> None:
        """End the deadline of a client that reads again."""
        super().resume_writing()
        self._set_deadline(None)

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of one that was refused early."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._set_deadline(DEPARTURE)
        elif not (self._arriving or self._answering):
            self._set_deadline(KEEP_ALIVE + DEPARTURE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self._set_deadline(None)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close at once while a request is incomplete."""
        with suppress(h11.LocalProtocolError):
            super().shutdown()
        if self._arriving:
            self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection without a next request."""
        with suppress(h11.LocalProtocolError):
            super().timeout_keep_alive_handler()
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse invalid HTTP."""
        self._refuse(400, msg)

    @property
    def _incomplete(self) -> bool:
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    @property
    def _answering(self) -> bool:
        """True while the application handles a complete request."""
        at_work = self.cycle is not None and not self.cycle.response_complete
        return at_work and not self._arriving

    def _await_request(self) -> None:
        self._arriving = True
        self._set_deadline(ARRIVAL)

    def _make_room(self) -> None:
        """Close the connection with the earliest deadline; this one if all others are busy."""
        waiting = [
            (one._deadline.when(), one)
            for one in self.connections
            if isinstance(one, Connection) and one._deadline and not one._answering
        ]
        _, first = min(waiting, key=lambda pair: pair[0], default=(0.0, self))
        self.connections.discard(first)
        first.transport.abort()

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._deadline = None
        if self._arriving and not self.transport.is_closing():
            self._refuse(408, "The request did not arrive in time.")
        else:
            self.transport.abort()

    def _refuse(self, status: int, message: str) -> None:
        """Send a one-line response if the protocol still allows one, and close."""
        headers = [("content-type", "text/plain; charset=utf-8"), ("connection", "close")]
        response = h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status])
        with suppress(h11.LocalProtocolError):
            for event in (response, h11.Data(f"{message}\n".encode()), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._set_deadline(DEPARTURE)
