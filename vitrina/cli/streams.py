"""Standard output and error: what they can't hold is spelt out, and a reader may leave early."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from typing import Any, TextIO

from vitrina.errors import printable


def prepare() -> None:
    """Have a character that a stream's encoding lacks be printed as an escape (`\\u0447`), since no
    title of a product may end a command whose work is done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def echo(line: str, *, err: bool = False) -> None:
    """Print a line, without the control characters that a stranger may have put into it. (Typer's
    own would write UTF-8 where the environment says ASCII.)"""
    print(printable(line), file=sys.stderr if err else sys.stdout, flush=True)


def finish() -> None:
    """Write what is still held back. Who reads the output may have left (`| head`), which is no
    fault. Raises OSError where it can't be written for another reason."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError as err:
            _abandon(stream)
            if err.errno != errno.EPIPE:
                raise


def as_json(value: Any) -> str:
    """A value as JSON that standard output can hold: with escapes only where it must be."""
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=True, indent=1, default=str)
    return text


def _abandon(stream: TextIO) -> None:
    """Lose what is held back, or Python would try once more at its end, and complain."""
    try:
        target = os.open(os.devnull, os.O_WRONLY)
        os.dup2(target, stream.fileno())
        os.close(target)
    except (OSError, ValueError):
        return
