"""JSON Lines: one object a row, with lists and records as they are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import IO, Any

import pyarrow as pa

_Convert = Callable[[Any], Any]


class JsonlFile:
    """Writer of a JSON Lines file, in UTF-8."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._file = file
        self._convert = _record({one.name: _of(one.type) for one in schema})

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        for batch in table.to_batches(max_chunksize=1024):
            rows = map(self._convert, batch.to_pylist())
            lines = [json.dumps(row, ensure_ascii=False) for row in rows]
            self._file.write("".join(f"{line}\n" for line in lines).encode())

    def close(self) -> None:
        """Nothing is left to write."""

    def discard(self) -> None:
        """Nothing is left to drop."""


def _of(kind: pa.DataType) -> _Convert:
    """The conversion of a type's values to what JSON has."""
    if pa.types.is_struct(kind):
        return _record({one.name: _of(one.type) for one in kind})
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _list(_of(kind.value_type))
    if pa.types.is_floating(kind):
        # The shortest digits of a float32: 0.1, not 0.10000000149011612.
        return _float32 if kind.bit_width < 64 else _float
    if pa.types.is_temporal(kind):
        return lambda value: None if value is None else value.isoformat()
    plain = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string)
    if any(test(kind) for test in plain) or pa.types.is_null(kind) or pa.types.is_dictionary(kind):
        return lambda value: value
    return lambda value: None if value is None else str(value)


def _record(fields: dict[str, _Convert]) -> _Convert:
    def convert(value: Any) -> Any:
        if value is None:
            return None
        return {name: convert_one(value[name]) for name, convert_one in fields.items()}

    return convert


def _list(item: _Convert) -> _Convert:
    return lambda values: None if values is None else [item(one) for one in values]


def _float(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _float32(value: float | None) -> float | None:
    return None if _float(value) is None else float(f"{value:.7g}")
