"""Tables and tensors whose form is sound and whose content is not."""

from __future__ import annotations

import io
import json
import struct
from random import Random

from fuzz.mutate import mutated_value, odd_value, written


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
    way = draw.randrange(9)
    how = ("missing", "null", "text", "odd numbers", "another table", "rows repeated", "no rows",
           "twice", "nan")[way]  # fmt: skip
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
