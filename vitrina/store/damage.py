"""Errors of libraries on damaged bytes, turned into one line that names the file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from safetensors import SafetensorError

from vitrina.errors import StoreError, VitrinaError

DAMAGE = (
    pa.ArrowException,
    SafetensorError,
    OSError,
    # FAISS raises RuntimeError; the others come of values that are not what a writer wrote.
    RuntimeError,
    MemoryError,
    LookupError,
    ArithmeticError,
    ValueError,
    TypeError,
    AttributeError,
    BufferError,
    struct.error,
    zlib.error,
)
"""Exceptions that reading a damaged file ends in."""


@contextmanager
def blamed_on(where: str, way_out: str, error: type[VitrinaError] = StoreError) -> Iterator[None]:
    """Raise `error` for whatever goes wrong inside with a file: one line that names it and the way
    out. Exceptions of Vitrina's own pass.

    Only reading belongs inside: it would hide a mistake of the code that uses what was read.
    """
    try:
        yield
    except VitrinaError:
        raise
    except FileNotFoundError as err:
        raise error(f"{where} is missing; {way_out}") from err
    except DAMAGE as err:
        raise error(f"{where} is damaged ({reason_of(err)}); {way_out}") from err


def reason_of(err: BaseException) -> str:
    """The first line of an exception's message, or else its name."""
    lines = str(err).strip().splitlines()
    return lines[0][:200] if lines else type(err).__name__
