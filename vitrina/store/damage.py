"""Conversion of library errors on damaged bytes to one line that names the file."""

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
    # FAISS raises RuntimeError; the others are due to corrupt values.
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
"""Exceptions that reading a damaged file may raise."""


@contextmanager
def blamed_on(where: str, way_out: str, error: type[VitrinaError] = StoreError) -> Iterator[None]:
    """Convert errors on a file in a `with` block to `error`: one line that names the file and the
    way out. Vitrina's own exceptions pass.

    Only reading belongs in the block: it would hide bugs in code that uses the data.
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
    """First line of an exception's message, at most 200 characters, or else its type's name."""
    lines = str(err).strip().splitlines()
    return lines[0][:200] if lines else type(err).__name__
