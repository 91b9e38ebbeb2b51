"""Conversion of values to product metadata that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from vitrina.data.product import Metadata
from vitrina.data.readers.base import UnreadableValue
from vitrina.data.readers.marketplace import text_of
from vitrina.data.text import is_missing


def metadata_of(named: Iterable[tuple[str, Any]]) -> Metadata:
    """Convert pairs of name and value in order, without missing values. Never raises.

    Null, NaN, infinity, empty text, texts for missing values, and unreadable values are left out,
    so that metadata never rejects a product. Text is stripped. Decimals become floats, lists and
    objects the text they contain, dates and other values their `str`.
    """
    kept = ((name, _kept(value)) for name, value in named)
    return tuple((name, value) for name, value in kept if value is not None)


def _kept(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, UnreadableValue):
        return None
    if isinstance(value, bool):
        return value
    try:
        if isinstance(value, float | Decimal):
            # NumPy floats are Python floats too, but print differently.
            number = float(value)
            return number if math.isfinite(number) else None
        if isinstance(value, int):
            return value
        if isinstance(value, list | tuple | dict):
            return text_of(value) or None
        text = value.decode() if isinstance(value, bytes) else str(value)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    # UTF-8 can't encode a lone surrogate, which JSON can contain.
    return None if is_missing(text) else text.strip().encode("utf-8", "replace").decode()
