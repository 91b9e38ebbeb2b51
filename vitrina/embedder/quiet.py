"""Keeps the libraries that load models from writing to the user's terminal meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Stop third parties from printing log lines where the program has set up no logging.

    open_clip logs through the root logger, which would install a handler for good, and Python
    prints a warning that no handler takes. A program's own handlers go on as they were.
    """
    silent = logging.NullHandler()
    logging.root.addHandler(silent)
    try:
        yield
    finally:
        logging.root.removeHandler(silent)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """The same for transformers, which has a handler and a progress bar of its own."""
    from transformers.utils import logging as chatter

    level, bar = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity(logging.CRITICAL)
    chatter.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with quiet_logging():
            yield
    finally:
        chatter.set_verbosity(level)
        if bar:
            chatter.enable_progress_bar()  # type: ignore[no-untyped-call]
