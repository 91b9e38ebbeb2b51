"""Standard output and error: escapes for unencodable characters, and closed pipes."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from typing import Any, TextIO

from vitrina.errors import printable


def prepare() -> None:
    """Print characters that a stream's encoding lacks as escapes (`\\u0447`), so that no product
    title ends a command whose work is done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def echo(line: str, *, err: bool = False) -> None:
    """Print a line without control characters, since it may hold untrusted text. (Typer's `echo`
    writes UTF-8 even where the environment is ASCII.)"""
    print(printable(line), file=sys.stderr if err else sys.stdout, flush=True)


def finish() -> None:
    """Flush both streams. A closed pipe (`| head`) is no error. Raises OSError for any other
    failure."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError as err:
            _abandon(stream)
            if err.errno != errno.EPIPE:
                raise


def as_json(value: Any) -> str:
    """A value as JSON that standard output can encode, with escapes only if needed."""
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=True, indent=1, default=str)
    return text


def _abandon(stream: TextIO) -> None:
    """Discard buffered output; else Python writes it again at exit and reports the error."""
    try:
        target = os.open(os.devnull, os.O_WRONLY)
        os.dup2(target, stream.fileno())
        os.close(target)
    except (OSError, ValueError):
        return
