"""Handling of SIGINT and SIGTERM: both end a command in the same way, and soon.

The first signal raises `Interrupted` in the main thread, so that every `finally` runs. Python
delivers it only between two bytecode instructions, so a thread watches as well: if the command has
not ended after `GRACE` seconds, because it is in native code or waits for a worker, or if a second
signal comes, the thread removes temporary files and ends the process.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from vitrina.temporary_files import remove_all

if TYPE_CHECKING:
    from types import FrameType

GRACE = 5.0
"""Seconds in which a command may end by itself."""
LINE = "vitrina: interrupted; what was committed stays: run the same command to go on"

_AGAIN = 0.05
"""Seconds after which a swallowed interrupt is raised again."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Raised when a signal ends the command. code: its exit code."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.code = 128 + number


@dataclass
class Signals:
    """Number of the first signal, if any."""

    first: int | None = None

    @property
    def code(self) -> int:
        """The exit code of a command that a signal ended."""
        return 128 + (self.first or signal.SIGINT)

    def handle(self, number: int, _: FrameType | None) -> None:
        """Raise Interrupted, once."""
        if self.first is None:
            self.first = number
            raise Interrupted(number)


@contextmanager
def taken() -> Iterator[Signals]:
    """Handle both signals in a `with` block, except those that the parent process ignores.

    A signal may also raise Interrupted just before the block or after it.

    After a signal the watching thread runs until the process ends, since threads that Python joins
    at exit may take longer.
    """
    signals = Signals()
    heeded = [one for one in _SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    if not heeded or threading.current_thread() is not threading.main_thread():
        yield signals
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    hook, main_thread = sys.unraisablehook, threading.get_ident()

    def raise_again() -> None:
        thread, error = ctypes.c_ulong(main_thread), ctypes.py_object(Interrupted)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)

    def unraisable(error: sys.UnraisableHookArgs) -> None:
        # It was raised where Python only prints exceptions, such as in a destructor.
        if isinstance(error.exc_value, Interrupted):
            timer = threading.Timer(_AGAIN, raise_again)
            timer.daemon = True
            timer.start()
        else:
            hook(error)

    sys.unraisablehook = unraisable
    threading.Thread(target=_watch, args=(reader,), daemon=True, name="signals").start()
    before = {one: signal.signal(one, signals.handle) for one in heeded}
    try:
        yield signals
    finally:
        if signals.first is None:
            for one, handler in before.items():
                signal.signal(one, handler)
            signal.set_wakeup_fd(-1)
            os.close(writer)
        sys.unraisablehook = hook


def _watch(reader: int) -> None:
    """Wait for a signal, and end the process at the second one or after `GRACE` seconds."""
    came = os.read(reader, 1)
    if came:
        again, _, _ = select.select([reader], [], [], GRACE)
        # An empty read means that the other end was closed: the command has ended by itself.
        if not again or os.read(reader, 1):
            end_now(128 + came[0])
    os.close(reader)


def end_now(code: int) -> NoReturn:
    """Remove temporary files and end the process at once, whatever its threads do."""
    remove_all()
    with suppress(OSError):
        os.write(2, f"{LINE}\n".encode())
    os._exit(code)
