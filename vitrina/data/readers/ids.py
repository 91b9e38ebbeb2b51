"""Ids of products and categories: detection of a column's id type, and conversion of values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

from vitrina.data.readers.base import INT64, IdType, UnreadableValue
from vitrina.data.text import is_missing
from vitrina.ids import is_canonical_integer
from vitrina.types import ProductId

_EXACT_FLOAT = 2**53
_WHOLE_FLOAT = re.compile(r"(0|-?[1-9][0-9]{0,18})\.0")


class IdScan:
    """Detector of the type to which all ids of a column convert without loss.

    Integers stay integers and texts stay text. If both occur, all become integers if each text is
    the canonical form of one ("17", not "007"), else all become text. All also become text if an
    integer does not fit into 64 bits. Values that are no id (a fraction, an object) don't count.

    In an untyped file, such as CSV, everything is text. There, ids are integers if each is written
    as one, or each as a whole float, as pandas writes integers in a column with gaps.
    """

    def __init__(self, *, typed: bool, lists: bool = False) -> None:
        """lists: whether lists count as text, in a column that holds nothing else."""
        self._typed, self._lists = typed, lists
        self._numbers = self._texts = self._listed = False
        self._integers = self._whole_floats = True

    @property
    def kind(self) -> IdType | None:
        """Detected type; None if there is no id."""
        if not self._numbers and not self._texts:
            return str if self._listed else None
        if self._integers and (self._numbers or not self._typed):
            return int
        whole_floats = not self._typed and self._whole_floats and not self._numbers
        return int if whole_floats else str

    @property
    def integers(self) -> bool:
        """True if all ids convert to 64-bit integers without loss."""
        return self.kind is int or (self._integers and not self._listed)

    def add(self, values: Iterable[Any]) -> None:
        """Add values of the column."""
        for value in values:
            if type(value) is int:
                self._numbers = True
                self._integers = self._integers and value in INT64
            elif isinstance(value, str | bytes | UUID):
                self._add_text(_text(value))
            elif isinstance(value, float | Decimal) and _is_whole(value):
                self._numbers = True
                self._integers = self._integers and int(value) in INT64
            elif self._lists and value and isinstance(value, list | tuple):
                self._listed = True

    def _add_text(self, text: str) -> None:
        if is_missing(text):
            return
        self._texts = True
        if self._integers:
            self._integers = is_canonical_integer(text)
        if self._whole_floats and not self._typed:
            found = _WHOLE_FLOAT.fullmatch(text)
            self._whole_floats = found is not None and int(found[1]) in INT64


def read_id(label: str, value: Any, kind: IdType) -> ProductId | None:
    """Convert a value to an id of the column's type; None for a missing value.

    Raises ValueError, with the reason after `label`, for a value that is no id of this type.
    """
    if kind is int and type(value) is int and value in INT64:
        return value
    if isinstance(value, UnreadableValue):
        raise ValueError(f"{label}: {value.reason}")
    if isinstance(value, bytes):
        value = value.decode()
    elif isinstance(value, UUID):
        value = str(value)
    if value is None or (isinstance(value, str) and is_missing(value)):
        return None
    if isinstance(value, float | Decimal):
        if math.isnan(value):
            return None
        if not math.isfinite(value) or value != int(value):
            raise ValueError(f"{label} {value} is not a whole number")
        if not _is_whole(value):
            # Beyond this, adjacent integers are the same float.
            raise ValueError(f"{label} {value} is a float too large to represent an id exactly")
        value = int(value)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ValueError(f"{label} {_shown(value)} is neither an integer nor text")
    if kind is str:
        return _valid(label, str(value))
    if isinstance(value, str):
        value = value.removesuffix(".0")
        if not is_canonical_integer(value):
            raise ValueError(f"{label} {_shown(value)} is no integer, but the file's ids are")
        return int(value)
    if value not in INT64:
        raise ValueError(f"{label} {_shown(value)} does not fit into 64 bits")
    return value


def _text(value: str | bytes | UUID) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_whole(value: float | Decimal) -> bool:
    if not math.isfinite(value) or value != int(value):
        return False
    return not isinstance(value, float) or abs(value) <= _EXACT_FLOAT


def _valid(label: str, text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{label} is not valid text") from None
    return text


def _shown(value: Any) -> str:
    return repr(value)[:80].encode("utf-8", "backslashreplace").decode()
