"""Serves the review page until it is stopped."""

from __future__ import annotations

from types import FrameType

import uvicorn
from starlette.applications import Starlette

from vitrina.audit.review.connections import KEEP_ALIVE, Connection
from vitrina.audit.review.options import ReviewOptions
from vitrina.errors import VitrinaError


def serve(app: Starlette, options: ReviewOptions) -> None:
    """Serve until Ctrl+C or SIGTERM.

    Raises VitrinaError if the address can't be had.
    """
    try:
        server(app, options).run()
    except SystemExit as err:
        # How uvicorn says that it could not begin; it has printed why.
        raise VitrinaError(
            f"can't serve at {options.host}:{options.port}; is another server there? "
            "give another --port"
        ) from err


class _Server(uvicorn.Server):
    """A server whose end by a signal is its usual end: uvicorn's raises the signal once more."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop serving."""
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def server(app: Starlette, options: ReviewOptions) -> uvicorn.Server:
    """The server, for who runs it himself.

    Nothing of a request is believed that a proxy would have said, nor is it told what serves.
    """
    return _Server(
        uvicorn.Config(
            app,
            host=options.host,
            port=options.port,
            # A stranger's broken request is no line on this terminal.
            log_level="error",
            http=Connection,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=3,
            ws="none",
        )
    )
