"""Strictly typed reading of JSON from files that may be damaged or hostile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from vitrina.errors import StoreError, VitrinaError, printable

T = TypeVar("T")

DEEPEST = 100
"""Maximum nesting depth of a JSON file; files that Vitrina writes have fewer than 10 levels."""
REASON = 300
"""Maximum characters of a reason in a message, since it may quote the file."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
"""A number that is neither NaN nor infinite."""
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
StoredId = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str
"""A product or category id: an int64 integer, or text."""


def load_json(
    content: bytes,
    where: str,
    way_out: str,
    error: type[VitrinaError] = StoreError,
    deepest: int = DEEPEST,
) -> Any:
    """Decode JSON of any shape. deepest: maximum nesting depth of objects and lists.

    Raises `error`, naming `where` and `way_out`, for invalid UTF-8 or JSON, for nesting that is too
    deep, and for an integer of thousands of digits.
    """
    try:
        value = json.loads(content)
        if b"\\u" in content:
            # Encoding rejects lone surrogates, which no file name and no output could hold.
            json.dumps(value, ensure_ascii=False).encode()
        _check_depth(value, deepest)
    except (ValueError, RecursionError) as err:
        reason = "nested too deep" if isinstance(err, RecursionError) else printable(str(err))
        raise error(f"{where} is not valid JSON ({reason}); {way_out}") from err
    return value


def _check_depth(value: Any, deepest: int) -> None:
    """Raise RecursionError for deeper nesting: Python could read it, but not write it again."""
    level = [value]
    for _ in range(deepest):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise RecursionError


def parse_json(
    content: bytes,
    kind: type[T],
    where: str,
    way_out: str,
    error: type[VitrinaError] = StoreError,
) -> T:
    """Decode JSON and convert it to a type; see `convert_json`."""
    return convert_json(load_json(content, where, way_out, error), kind, where, way_out, error)


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a JSON object with other keys. names: the new key of each that changes."""
    return {names.get(name, name): value for name, value in values.items()}


def convert_json(
    value: Any, kind: type[T], where: str, way_out: str, error: type[VitrinaError] = StoreError
) -> T:
    """Convert decoded JSON to a type, strictly: "1" is not a number, 1 is not text.

    Parameters
    ----------
    value : the result of `load_json`.
    kind : a dataclass, an enum, or any annotation made of them and of built-in types. Keys unknown
        to a dataclass are ignored, since a newer Vitrina may write them.
    where : the file's name, for the message.
    way_out : the remedy, for the message.
    error : the exception to raise.

    Raises
    ------
    error
        With one line that names the file, the place in it (`$.files[3].rows`) and the remedy. A
        ValueError or TypeError from a dataclass's `__post_init__` is converted too.
    """
    try:
        return msgspec.convert(value, kind)
    except (ValueError, TypeError, RecursionError, OverflowError) as err:
        reason = printable(" ".join(str(err).split())[:REASON]) or type(err).__name__
        raise error(f"{where} is not what it should be ({reason}); {way_out}") from err


def read_json_as(
    path: Path, kind: type[T], way_out: str, error: type[VitrinaError] = StoreError
) -> T:
    """Read a JSON file and convert it to a type; see `read_json` and `convert_json`."""
    return convert_json(read_json(path, way_out, error), kind, str(path), way_out, error)


def read_json(path: Path, way_out: str, error: type[VitrinaError] = StoreError) -> Any:
    """Read a JSON file of any shape; see `load_json`.

    Raises `error` also if the file is missing or can't be read.
    """
    try:
        content = path.read_bytes()
    except OSError as err:
        reason = (
            "is missing"
            if isinstance(err, FileNotFoundError)
            else f"can't be read ({err.strerror})"
        )
        raise error(f"{path} {reason}; {way_out}") from err
    return load_json(content, str(path), way_out, error)
