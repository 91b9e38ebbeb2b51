"""Footer of a Parquet file, read without Arrow: row groups and the positions of their pages.

On a damaged footer, Arrow's accessors end the process with an uncatchable C++ exception. Arrow
also allocates some hundred bytes for each column that a footer names.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

from vitrina.parquet.thrift import Fields, ThriftError, read_struct

_LONGEST = 1 << 27
_TAIL = 8
_MOST_CHUNKS = 1_000_000
_COLUMN: Fields = {
    1: None,
    3: None,
    4: None,
    5: None,
    7: None,
    9: None,
    11: None,
}
_WANTED: Fields = {4: {1: {3: _COLUMN, 8: {}, 9: None}, 3: None}}
_CODECS = {0: "UNCOMPRESSED", 1: "SNAPPY", 2: "GZIP", 5: "LZ4", 7: "LZ4"}
_BYTE_ARRAY = 6


class DamagedPagesError(ValueError):
    """A header can't be read or contradicts the file; the message names both header and fault."""


class Chunk(NamedTuple):
    """A column's pages in a row group.

    path: the column's path in the schema, joined by dots. texts: whether the values are byte
    arrays. codec: "" if its compression ratio has no known bound. values: the number of values.
    start: byte offset of the first page. size: bytes of all pages in the file.
    """

    path: str
    texts: bool
    codec: str
    values: int
    start: int
    size: int


class RowGroup(NamedTuple):
    """A row group: its number of rows and its column chunks."""

    rows: int
    chunks: tuple[Chunk, ...]


def read_footer(path: Path) -> tuple[RowGroup, ...]:
    """Read the row groups of a file. Raises DamagedPagesError, OSError."""
    with path.open("rb") as file:
        return footer_of(file)


def footer_of(file: BinaryIO) -> tuple[RowGroup, ...]:
    """Read the row groups of an open file. Raises DamagedPagesError, OSError."""
    end = file.seek(0, 2)
    file.seek(max(end - _TAIL, 0))
    length = int.from_bytes(file.read(4), "little")
    if length > _LONGEST or length > end - _TAIL:
        raise DamagedPagesError(f"its footer is said to have {length} bytes")
    file.seek(end - _TAIL - length)
    data = file.read(length)
    try:
        footer, _ = read_struct(data, 0, _WANTED)
        groups = tuple(map(_group, footer.get(4, ())))
    except (ThriftError, IndexError, TypeError, ValueError, AttributeError, KeyError) as err:
        raise DamagedPagesError(f"its footer can't be read: {err or type(err).__name__}") from err
    if sum(len(group.chunks) for group in groups) > _MOST_CHUNKS:
        raise DamagedPagesError(f"its footer names more than {_MOST_CHUNKS} columns")
    return groups


def _group(found: dict[int, list[dict[int, dict[int, list[bytes]]]]]) -> RowGroup:
    return RowGroup(_natural(found[3]), tuple(map(_chunk, found[1])))


def _chunk(found: dict[int, dict[int, list[bytes]]]) -> Chunk:
    if 8 in found or 9 in found:
        raise ValueError("a column is encrypted")
    column = found[3]
    first, dictionary = _natural(column[9]), _natural(column.get(11, 0))
    return Chunk(
        path=b".".join(column[3]).decode("utf-8"),
        texts=_natural(column[1]) == _BYTE_ARRAY,
        codec=_CODECS.get(_natural(column[4]), ""),
        values=_natural(column[5]),
        start=dictionary if 0 < dictionary < first else first,
        size=_natural(column[7]),
    )


def _natural(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no size")
    return value
