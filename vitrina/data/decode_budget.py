"""Memory budget shared by all threads that decode photos.

A photo's memory is estimated from its header. A thread waits until the photos that are being
decoded leave enough room, so that many large photos at once take no more memory than a few.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from vitrina.errors import ImageError
from vitrina.limits import total_memory

_LEAST, _MOST = 64 << 20, 768 << 20
_SHARE = 8
"""The budget is this fraction of the process's memory, within the bounds above."""
_LARGEST_SHARE = 2
"""A photo that needs more than this fraction of the process's memory is refused."""


class MemoryBudget:
    """Limit on the bytes in use by several threads at once.

    Reservations are granted in the order of their requests, so a large one can't starve. One that
    is larger than the total takes all of it and runs alone.
    """

    def __init__(self, total: int) -> None:
        """total: maximum bytes in use at once."""
        self.total = total
        self._used = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        """Bytes that are currently reserved."""
        return self._used

    def acquire(self, size: int) -> None:
        """Wait for room and reserve it. A thread that holds a reservation must not request more."""
        size = min(size, self.total)
        with self._changed:
            if self._waiting or self._used + size > self.total:
                ticket = object()
                self._waiting.append(ticket)
                try:
                    while self._waiting[0] is not ticket or self._used + size > self.total:
                        self._changed.wait()
                finally:
                    # The next in the queue may fit too.
                    self._waiting.remove(ticket)
                    self._changed.notify_all()
            self._used += size

    def release(self, size: int) -> None:
        """Release a reservation of `acquire`; from any thread."""
        with self._changed:
            self._used -= min(size, self.total)
            if self._waiting:
                self._changed.notify_all()


class DecodeBudget(MemoryBudget):
    """Memory budget of the photos that are being decoded."""

    def __init__(self, total: int, largest: int) -> None:
        """largest: maximum bytes of one photo."""
        super().__init__(total)
        self.largest = largest

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Reserve the memory of one photo while the block runs.

        Raises ImageError for a photo larger than `largest`.
        """
        if size > self.largest:
            raise ImageError(f"too large for the memory: it takes {size >> 20} MB to decode")
        self.acquire(size)
        try:
            yield
        finally:
            self.release(size)


@cache
def decode_budget() -> DecodeBudget:
    """Return the budget of this process, derived from its memory limit."""
    memory = total_memory()
    return DecodeBudget(min(max(memory // _SHARE, _LEAST), _MOST), memory // _LARGEST_SHARE)
