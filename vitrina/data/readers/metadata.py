"""What is kept beside a product's text: any value as one that JSON holds."""

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
    """Pairs of names and values, in their order, without those that say nothing. Never raises.

    Left out are null, NaN, infinity, empty text, the words for them, and bytes that are no text:
    metadata is never worth a product. Text stays as it is but for spaces around it; decimals
    become floats, lists and objects the text they hold, dates and whatever else their usual text.
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
            # NumPy's floats are Python's too, but are written otherwise.
            number = float(value)
            return number if math.isfinite(number) else None
        if isinstance(value, int):
            return value
        if isinstance(value, list | tuple | dict):
            return text_of(value) or None
        text = value.decode() if isinstance(value, bytes) else str(value)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    # A lone surrogate, which JSON can name, has no place in UTF-8.
    return None if is_missing(text) else text.strip().encode("utf-8", "replace").decode()
