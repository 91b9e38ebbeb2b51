"""The server of the review page."""

from __future__ import annotations

from types import FrameType

import uvicorn
from starlette.applications import Starlette

from vitrina.audit.review.connections import KEEP_ALIVE, Connection
from vitrina.audit.review.options import ReviewOptions
from vitrina.errors import VitrinaError


def serve(app: Starlette, options: ReviewOptions) -> None:
    """Serve until Ctrl+C or SIGTERM.

    Raises VitrinaError if the server can't bind to the address.
    """
    try:
        server(app, options).run()
    except SystemExit as err:
        # uvicorn raises this if it can't start; it has printed the reason.
        raise VitrinaError(
            f"can't serve at {options.host}:{options.port}; is another server there? "
            "give another --port"
        ) from err


class _Server(uvicorn.Server):
    """A server that returns normally on a signal; uvicorn's raises the signal again."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop serving."""
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def server(app: Starlette, options: ReviewOptions) -> uvicorn.Server:
    """A configured server, for callers that run it themselves.

    It ignores proxy headers and sends no Server header.
    """
    return _Server(
        uvicorn.Config(
            app,
            host=options.host,
            port=options.port,
            # Invalid requests of strangers are not logged.
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
