"""Arrow tables with any type in any column, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

import pyarrow as pa
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

Value = TypeVar("Value")

NAMES = (
    "product_id", "title", "description", "category_id", "category_name", "shop_title", "image",
    "text_fields", "sale", "shop_id", "rating", "price", "embedding", "",
)  # fmt: skip

_FIXED = st.sampled_from(
    [
        pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(),
        pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.date32(),
        pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
        pa.timestamp("s"), pa.timestamp("ms", "UTC"), pa.timestamp("us", "Europe/Moscow"),
        pa.timestamp("ns"), pa.timestamp("us", "Nowhere/Nothing"), pa.duration("s"),
        pa.duration("ns"), pa.decimal128(38, 5), pa.decimal128(5, 3), pa.decimal256(76, 10),
        pa.binary(7), pa.binary(16),
    ]
)  # fmt: skip
_VARIABLE = st.sampled_from(
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(),
     pa.binary_view(), pa.null()]
)  # fmt: skip
_TEXTS = st.one_of(
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=30),
    st.integers().map(lambda number: str(number).encode()),
    st.sampled_from(
        [b"", b" ", b"1", b"01", b"9" * 5000, b"nan", b"1e999", b"[" * 3000, b"\0", b"->" * 500,
         b"../outside/victim.txt", b"/etc/passwd", b"http://[", b'{"title": 1}', b'{"title": "a"}',
         b"\xd0", b"\xed\xa0\x80", b"<b>" * 2000, b"&#x110000;"]
    ),
)  # fmt: skip


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    return st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        st.tuples(inner, st.integers(1, 3)).map(lambda pair: pa.list_(pair[0], pair[1])),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda kinds: pa.struct([(f"f{at}", kind) for at, kind in enumerate(kinds)])
        ),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
    )


# Any type that a Parquet file may hold, nested up to three levels.
_FLAT = _FIXED | _VARIABLE
_ONCE = _nested(_FLAT)
_TYPES = _FLAT | _FLAT | _FLAT | _ONCE | _nested(_ONCE)
# Made once: hypothesis goes through each strategy anew.
_FEW, _ROWS = st.integers(0, 3), st.integers(0, 12)
_NAMES = st.lists(st.sampled_from(NAMES), max_size=4)
_IDS = st.sampled_from([pa.int64(), pa.int32()])
_YES = st.booleans()
_BLOCK = st.binary(min_size=16, max_size=128)


@st.composite
def _tables(draw: Callable[[Any], Any]) -> pa.Table:
    """A table of a few rows; its first column is mostly one of ids that can be used."""
    rows = draw(_ROWS)
    names = ["product_id", "title", *draw(_NAMES)]
    if draw(_FEW):
        names = list(dict.fromkeys(names))
    names = names[not draw(_ROWS) :]
    columns = []
    for name in names:
        if name == "product_id" and draw(_FEW):
            columns.append(pa.array(range(rows), draw(_IDS)))
        else:
            columns.append(_array(draw, draw(_TYPES), rows))
    return pa.Table.from_arrays(columns, names=list(names))


def _array(draw: Callable[[Any], Any], kind: pa.DataType, size: int) -> pa.Array:
    """Values of a type, some missing; numbers of any bits, so that dates and times overflow."""
    gaps = draw(_YES)
    valid = [not gaps or draw(_FEW) > 0 for _ in range(size)]
    mask = _bits(valid) if gaps else None
    if pa.types.is_null(kind):
        return pa.nulls(size)
    if pa.types.is_struct(kind):
        inner = [_array(draw, field.type, size) for field in kind]
        return pa.StructArray.from_arrays(inner, fields=list(kind))
    if pa.types.is_fixed_size_list(kind):
        values = _array(draw, kind.value_type, size * kind.list_size)
        return pa.FixedSizeListArray.from_arrays(values, kind.list_size)
    if pa.types.is_map(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        sizes = [draw(_FEW) for _ in range(size)]
        ends = [sum(sizes[:at]) for at in range(size + 1)]
        if pa.types.is_map(kind):
            keys = pa.array([f"k{at}" for at in range(ends[-1])], pa.string())
            return pa.MapArray.from_arrays(
                pa.array(ends, pa.int32()), keys, _array(draw, kind.item_type, ends[-1])
            )
        inner = _array(draw, kind.value_type, ends[-1])
        wide = pa.types.is_large_list(kind)
        of = pa.LargeListArray if wide else pa.ListArray
        return of.from_arrays(pa.array(ends, pa.int64() if wide else pa.int32()), inner)
    if kind in (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(),
                pa.binary_view()):  # fmt: skip
        texts = [draw(_TEXTS) if is_valid else None for is_valid in valid]
        if kind in (pa.string_view(), pa.binary_view()):
            return pa.array(texts, pa.binary_view()).view(kind)
        wide = kind in (pa.large_string(), pa.large_binary())
        plain = pa.array(texts, pa.large_binary() if wide else pa.binary())
        # Without a look at whether it is UTF-8.
        return pa.Array.from_buffers(kind, size, plain.buffers())
    width = max(1, kind.bit_width * size // 8 + 1)
    data = (draw(_BLOCK) * width)[:width]
    return pa.Array.from_buffers(kind, size, [mask, pa.py_buffer(data)])


TABLES = _tables()


def _bits(valid: list[bool]) -> pa.Buffer:
    packed = bytearray(len(valid) // 8 + 1)
    for at, one in enumerate(valid):
        packed[at // 8] |= one << at % 8
    return pa.py_buffer(bytes(packed))


def drawn(strategy: st.SearchStrategy[Value], draw: Random) -> Value:
    """An example of a strategy, the same for the same draw."""
    found: list[Value] = []

    @seed(draw.randrange(2**63))
    @settings(
        max_examples=2,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Value) -> None:
        found.append(value)

    collect()
    return found[-1]


_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([10**400, -(2**63), 2**64, "9" * 5000, "\ud800", "../outside/victim.txt"]),
)
JSON_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=8,
)
"""Values that JSON can hold, and some that it can't."""
