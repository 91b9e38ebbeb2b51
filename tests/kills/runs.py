"""A command in a fork of this process, and a signal that stops it."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Ended:
    """How a run ended. after: seconds from the signal to the end."""

    code: int
    error: str
    output: str
    seconds: float
    after: float = 0.0


@dataclass(frozen=True)
class Started:
    """A run that goes on."""

    pid: int
    at: float
    streams: tuple[int, int]

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None if it has not ended by then."""
        until = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= until:
                return None
            time.sleep(0.002)

    def ended(self, code: int, after: float = 0.0) -> Ended:
        # Pipes, since a limit on the size of files would be one on these streams' too.
        output, error = map(_read_all, self.streams)
        return Ended(code, error, output, time.monotonic() - self.at, after)


def _read_all(stream: int) -> str:
    with open(stream, encoding="utf-8", errors="replace") as file:
        return file.read()


def start(arguments: list[str], folder: Path, largest: int | None = None) -> Started:
    """Start a command in a fork of this process, within `folder`."""
    (output, to_output), (error, to_error) = os.pipe(), os.pipe()
    for one in (to_output, to_error):
        fcntl.fcntl(one, fcntl.F_SETPIPE_SZ, 2**20)
    # A signal that comes before the command takes it must not be Python's KeyboardInterrupt.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    at, pid = time.monotonic(), os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(to_output)
        os.close(to_error)
        return Started(pid, at, (output, error))
    code = 99
    try:
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.setsid()
        os.dup2(to_output, 1)
        os.dup2(to_error, 2)
        sys.stdout, sys.stderr = (os.fdopen(one, "w", closefd=False) for one in (1, 2))
        os.chdir(folder)
        os.environ["VITRINA_CACHE"] = str(folder / "cache")
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        sys.argv = ["vitrina", *arguments]
        from vitrina import cli

        cli.main()
        code = 0
    except SystemExit as err:
        code = err.code if isinstance(err.code, int) else int(bool(err.code))
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def run(
    arguments: list[str],
    folder: Path,
    *,
    number: int | None = None,
    seconds: float = 0.0,
    largest: int | None = None,
) -> Ended:
    """Run a command to its end, or send it a signal after some seconds and wait."""
    started = start(arguments, folder, largest)
    code = started.wait(600 if number is None else seconds)
    if code is not None:
        return started.ended(code)
    os.kill(started.pid, signal.SIGKILL if number is None else number)
    at = time.monotonic()
    code = started.wait(30)
    if code is None:
        os.kill(started.pid, signal.SIGKILL)
        code = started.wait(30) or 99
    return started.ended(code, time.monotonic() - at)


def whole(arguments: list[str], folder: Path) -> Ended:
    ended = run(arguments, folder)
    if ended.code:
        raise RuntimeError(f"{' '.join(arguments)}: exit {ended.code}\n{ended.error}")
    return ended
