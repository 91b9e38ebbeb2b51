"""Setting of `--quiet`: whether a command prints anything besides its result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


def is_quiet() -> bool:
    """Whether `--quiet` was given: no progress, no notes, no summary."""
    return _QUIET.get()


@contextmanager
def quiet(wanted: bool) -> Iterator[None]:
    """Keep quiet in a `with` block, if wanted."""
    token = _QUIET.set(wanted)
    try:
        yield
    finally:
        _QUIET.reset(token)
