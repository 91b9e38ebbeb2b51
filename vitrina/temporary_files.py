"""Cleanup of temporary files, however a run ends, except by SIGKILL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Remove = Callable[[], object]

_pending: dict[int, Remove] = {}


@contextmanager
def removing(remove: Remove) -> Iterator[None]:
    """Call `remove` at the end of the block, or from `remove_all` if the process ends earlier."""
    key = id(remove)
    _pending[key] = remove
    try:
        yield
    finally:
        # Still pending while it runs: a second signal may interrupt it.
        remove()
        del _pending[key]


def remove_all() -> None:
    """Run all pending removals, newest first, when the process ends without unwinding its stack."""
    for remove in reversed(list(_pending.values())):
        with suppress(Exception):
            remove()
