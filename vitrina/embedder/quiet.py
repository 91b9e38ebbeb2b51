"""Silences the output of model libraries to the terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Suppress third-party log lines if the program has set up no logging.

    open_clip logs through the root logger, which would install a handler permanently, and Python
    prints warnings that have no handler. The program's own handlers keep working.
    """
    silent = logging.NullHandler()
    logging.root.addHandler(silent)
    try:
        yield
    finally:
        logging.root.removeHandler(silent)


@contextmanager
def without_random_weights_warning() -> Iterator[None]:
    """Suppress open_clip's warning of random weights, where they are loaded afterwards."""

    def other(record: logging.LogRecord) -> bool:
        return "No pretrained weights loaded" not in record.getMessage()

    logging.root.addFilter(other)
    try:
        yield
    finally:
        logging.root.removeFilter(other)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Suppress the log and the progress bar of transformers, which has its own handler."""
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
