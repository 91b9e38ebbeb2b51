"""The `vitrina` logger, and its output on a terminal.

Modules log to `logging.getLogger(__name__)`: decisions at INFO, problems that stop nothing at
WARNING, details at DEBUG. As a library Vitrina is silent (a NullHandler, see `vitrina/__init__.py`)
until the program configures `logging`; the command line calls `configure`.
"""

from __future__ import annotations

import logging
import sys

from vitrina.errors import printable

LOGGER = "vitrina"
QUIET, NORMAL, VERBOSE = -1, 0, 1


class _TerminalHandler(logging.Handler):
    """Writes each record as one line to the current `sys.stderr`, which a progress bar replaces to
    print lines above itself. `detailed` adds time, level and logger."""

    def __init__(self, detailed: bool) -> None:
        super().__init__()
        self.setFormatter(_TerminalFormatter(detailed))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


class _TerminalFormatter(logging.Formatter):
    def __init__(self, detailed: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        self._detailed = detailed

    def format(self, record: logging.LogRecord) -> str:
        if self._detailed:
            # With a traceback, if there is one.
            return printable(super().format(record))
        message = printable(record.getMessage())
        return f"warning: {message}" if record.levelno >= logging.WARNING else message


def configure(verbosity: int = NORMAL) -> None:
    """Show Vitrina's log on standard error, in place of an earlier call's.

    verbosity: -1 shows warnings and errors, 0 decisions too, 1 or more everything, with time,
    level and logger. Only the logger `vitrina` is changed.
    """
    remove()
    logger = logging.getLogger(LOGGER)
    logger.addHandler(_TerminalHandler(detailed=verbosity >= VERBOSE))
    logger.setLevel(
        logging.WARNING
        if verbosity < NORMAL
        else logging.INFO
        if verbosity < VERBOSE
        else logging.DEBUG
    )


def remove() -> None:
    """Undo `configure`."""
    logger = logging.getLogger(LOGGER)
    for handler in [*logger.handlers]:
        if isinstance(handler, _TerminalHandler):
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
