"""Values of Python objects (NumPy's, pandas's, dates, paths) as those that Parquet would give."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa

from vitrina.data.readers.arrow_values import LONGEST_VALUE, values_of
from vitrina.data.readers.base import UnreadableValue

_AS_THEY_ARE = frozenset({str, int, float, bool, type(None)})
_MISSING = frozenset({"NAType", "NaTType"})
_DEEPEST = 50


def python_value(name: str, value: Any, depth: int = 0) -> Any:
    """Convert a value to a plain Python object; None for any missing value.

    name: of the column, for the reason of an `UnreadableValue`.
    """
    kind = type(value)
    if kind in _AS_THEY_ARE:
        too_long = kind is str and len(value) > LONGEST_VALUE
        return UnreadableValue(_too_long(name)) if too_long else value
    if kind.__name__ in _MISSING:
        return None
    if depth > _DEEPEST:
        return UnreadableValue(f"column {name!r} can't be read: lists nested too deep")
    if isinstance(value, (datetime, np.datetime64, np.timedelta64)):
        return _by_arrow(name, value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (str, PurePath)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return UnreadableValue(_too_long(name)) if len(value) > LONGEST_VALUE else bytes(value)
    if isinstance(value, Mapping):
        return {str(key): python_value(name, one, depth + 1) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        value = list(value) if value.ndim else [value.item()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [python_value(name, one, depth + 1) for one in value]
    if type(value).__module__.startswith("PIL."):
        return UnreadableValue(f"column {name!r} holds an image, which is no text")
    return value


def _too_long(name: str) -> str:
    return f"column {name!r} is longer than {LONGEST_VALUE} bytes"


def _by_arrow(name: str, value: Any) -> Any:
    try:
        return values_of(name, pa.array([value], from_pandas=True))[0]
    except (pa.ArrowException, ValueError, OverflowError, TypeError) as err:
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        return UnreadableValue(f"column {name!r} can't be read: {reason}")
