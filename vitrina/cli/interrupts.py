"""SIGINT and SIGTERM: both end a command in the same way, and soon.

The first one raises `Interrupted` in the main thread, so that every `finally` runs. Python delivers
it between two of its own instructions, so a thread watches beside: where the command has not ended
after `GRACE` seconds, because native code runs on or a worker is waited for, or where a second
signal comes, it removes temporary files and ends the process.
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
"""Seconds that a command has to end by itself."""
LINE = "vitrina: interrupted; what was committed stays: run the same command to go on"

_AGAIN = 0.05
"""Seconds after which an interrupt that was swallowed is raised once more."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asks the command to end. code: the exit code that tells of it."""

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
    """Take both signals in a `with` block, unless whoever started the process ignores them.

    One may also raise Interrupted just before the block or after it.

    After a signal the watch goes on until the process has ended, since threads that Python waits
    for at its end may take longer.
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

    def unraisable(told: sys.UnraisableHookArgs) -> None:
        # It was raised where exceptions are only printed, such as in a destructor.
        if isinstance(told.exc_value, Interrupted):
            timer = threading.Timer(_AGAIN, raise_again)
            timer.daemon = True
            timer.start()
        else:
            hook(told)

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
        # Nothing comes where the other end was closed: the command has ended by itself.
        if not again or os.read(reader, 1):
            end_now(128 + came[0])
    os.close(reader)


def end_now(code: int) -> NoReturn:
    """End the process, wherever its threads are, but without temporary files."""
    remove_all()
    with suppress(OSError):
        os.write(2, f"{LINE}\n".encode())
    os._exit(code)
