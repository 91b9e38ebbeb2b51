"""Temporary files that no run may leave, however it ends, short of SIGKILL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Remove = Callable[[], object]

_pending: dict[int, Remove] = {}


@contextmanager
def removing(remove: Remove) -> Iterator[None]:
    """Call `remove` at the end of the block, or where the process ends before it (`remove_all`)."""
    key = id(remove)
    _pending[key] = remove
    try:
        yield
    finally:
        # Still pending while it runs: a second signal may end it half way.
        remove()
        del _pending[key]


def remove_all() -> None:
    """Remove what is there yet, the newest first: the process ends without unwinding its stack."""
    for remove in reversed(list(_pending.values())):
        with suppress(Exception):
            remove()
