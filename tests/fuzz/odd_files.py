"""Tables and tensors whose form is sound and whose content is not."""

from __future__ import annotations

import io
import json
import struct
from random import Random
from typing import TYPE_CHECKING

from fuzz.mutate import mutated_value, odd_value, written

if TYPE_CHECKING:
    import pyarrow as pa


def odd_table(data: bytes, draw: Random) -> tuple[bytes, str]:
    """A table with a column changed, missing, of another type, or of odd values."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fuzz.arrow_tables import TABLES, drawn

    table = pq.read_table(io.BytesIO(data))
    column = draw.randrange(max(1, table.num_columns))
    name = table.column_names[column]
    kind, rows = table.schema.field(column).type, len(table)
    way = draw.randrange(17)
    how = ("missing", "null", "text", "odd numbers", "another table", "rows repeated", "no rows",
           "twice", "nan", "in other rows", "one odd value", "one null", "digits", "rows left out",
           "long text", "all alike", "other nulls")[way]  # fmt: skip
    try:
        if way == 0:
            table = table.drop_columns([name])
        elif way == 1:
            nothing = pa.nulls(rows, kind)
            table = table.set_column(column, pa.field(name, kind), nothing)
        elif way == 2:
            table = table.set_column(
                column, name, pa.array([draw.choice(("", "x", "9" * 400))] * rows)
            )
        elif way == 3:
            number = draw.choice((-1, 2**62, -(2**63), 40, 10**9))
            table = table.set_column(
                column, name, pa.array([number] * rows, pa.int64()).cast(kind, safe=False)
            )
        elif way == 4:
            table = drawn(TABLES, draw)
        elif way == 5:
            table = pa.concat_tables([table] * draw.choice((2, 50)))
        elif way == 6:
            table = table.slice(0, 0)
        elif way == 7:
            table = table.append_column(name, table.column(column))
        elif way >= 9:
            table = _contradicting(table, column, way, draw)
        elif pa.types.is_fixed_size_list(kind):
            size = draw.choice((kind.list_size, 1, kind.list_size + 1))
            value = draw.choice((np.nan, np.inf, 0.0, 1e4, -1.0))
            flat = pa.array(np.full(rows * size, value, np.float16))
            flat = flat.cast(kind.value_type)
            table = table.set_column(column, name, pa.FixedSizeListArray.from_arrays(flat, size))
        else:
            table = table.set_column(column, name, pa.array([odd_value(draw, "x")] * rows))
    except (pa.ArrowException, TypeError, ValueError, OverflowError, UnicodeError):
        table, how = table.slice(0, max(0, rows - 1)), "a row less"
    file = io.BytesIO()
    try:
        pq.write_table(table, file, compression="zstd")
    except (pa.ArrowException, OSError):
        return data[:-5], "cut"
    return file.getvalue(), f"{name} {how}"


def _contradicting(table: pa.Table, column: int, way: int, draw: Random) -> pa.Table:
    """A table that is whole by itself, and does not fit the others."""
    import pyarrow as pa

    rows, field = len(table), table.schema.field(column)
    places = list(range(rows))
    if way == 13:
        return table.take(pa.array(draw.choices(places, k=draw.randrange(rows + 1)), pa.int64()))
    if not rows:
        return table
    values = table.column(column).to_pylist()
    at, kind = draw.randrange(rows), field.type
    if way == 9:
        draw.shuffle(values)
    elif way == 10:
        number = draw.choice((-1, -2, 0, 1, rows, 40, 2**31 - 1, 2**53, 2**62, -(2**63)))
        text = draw.choice(("", "1", "\ud800", "9" * 400, "x" * 70_000, "->", "2", "КЖД"))
        if pa.types.is_timestamp(kind):
            values = table.column(column).cast(pa.int64()).to_pylist()
            values[at] = draw.choice((number, -(2**55), 253402300799999999))
            return table.set_column(column, field, pa.array(values).cast(kind))
        values[at] = text if pa.types.is_string(kind) else number
        if pa.types.is_floating(kind):
            values[at] = draw.choice((float("nan"), float("inf"), -1.0, 1e30))
        elif pa.types.is_nested(kind):
            values[at] = draw.choice(([], None, values[at] and values[at] * 3000))
    elif way == 11:
        values[at] = None
        field = field.with_nullable(True)
    elif way == 12:
        values = [None if one is None else str(one) for one in values]
        field = pa.field(field.name, pa.string())
    elif way == 14:
        long = "x" * draw.choice((70_000, 1_500_000))
        return table.set_column(column, field, pa.array([long] * rows))
    elif way == 15:
        values = values[at : at + 1] * rows
    else:
        field = field.with_nullable(not field.nullable)
    return table.set_column(column, field, pa.array(values, field.type))


def odd_safetensors(data: bytes, draw: Random, outside: str) -> tuple[bytes, str]:
    """Tensors with a changed header, or with odd numbers."""
    (size,) = struct.unpack_from("<Q", data)
    head, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    if draw.random() < 0.5:
        name = draw.choice([name for name in head if name != "__metadata__"])
        start, stop = head[name]["data_offsets"]
        value = draw.choice((b"\xff", b"\0", b"\x7f", b"\x80", draw.randbytes(4)))
        length = draw.choice((stop - start, min(stop - start, 8)))
        odd = (value * length)[:length]
        return data[: 8 + size + start] + odd + data[
            8 + size + start + length :
        ], f"numbers of {name}"
    way = draw.randrange(5)
    if way == 0:
        name = draw.choice([name for name in head if name != "__metadata__"])
        shape = head[name]["shape"]
        head[name]["shape"] = draw.choice(
            (shape[::-1], [1, *shape], [*shape, 1], [0], [2**40, 2**40])
        )
    elif way == 1:
        name = draw.choice([name for name in head if name != "__metadata__"])
        head[f"{name}x"] = head.pop(name)
    elif way == 2:
        name = draw.choice([name for name in head if name != "__metadata__"])
        head[name]["dtype"] = draw.choice(
            ("F16", "F64", "I64", "U8", "BOOL", "BF16", "F8_E4M3", "X")
        )
    else:
        head = mutated_value(head, draw, outside)
    text = written(head)
    told = draw.choice((len(text), len(text), len(text), 2**63, len(text) + 8))
    return struct.pack("<Q", told) + text + body, "header changed"
