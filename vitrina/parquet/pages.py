"""Page headers of a Parquet file: an estimate of the memory that reading the file takes.

Arrow allocates the size given in a page header, and repeats a dictionary's values in all rows that
refer to them. A damaged or forged header may claim gigabytes in a file of a few kilobytes. The
headers are therefore first compared with the file's index and with the size its bytes can hold.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.parquet.footer import Chunk, DamagedPagesError, RowGroup, footer_of
from vitrina.parquet.thrift import ThriftError, read_struct

_HEADER = 1 << 12
_LONGEST_HEADER = 1 << 24
# Most programs write pages of about a megabyte; at worst, one page holds a whole row group.
_LARGEST_PAGE = 1 << 30
_MOST_MEMORY = 384 << 20
_USUAL_RATIO = 32
"""Unpacked bytes allowed per packed byte of the pages in memory together; `_MOST_MEMORY` is always
allowed."""
_RATIOS = {"UNCOMPRESSED": 1, "SNAPPY": 32, "LZ4": 256, "GZIP": 1100}
"""Maximum compression ratio by codec."""
_SLACK = 1 << 10
_LONGEST_FIXED = 1 << 24
_LEVELS = 20
"""Bytes that Arrow takes for one value in lists, in addition to its page."""
_FLAT_VALUE = 9
"""Bytes that Arrow takes for one value elsewhere: a number or an offset, and its null flag."""
_USUAL_DICTIONARY = 3 << 19
"""Largest usual dictionary in bytes; writers end a dictionary at a megabyte."""
_REPEATED_DICTIONARY = 2
_FEW = 1 << 10
"""Number of column chunks whose dictionaries may go unchecked, over all row groups."""
_DICTIONARY_PAGE = 2
_DELTA_BYTE_ARRAY = 7
# Old files leave a page's header out of their column's size.
_MISCOUNTED = 100


@dataclass
class GroupSize:
    """Memory needed to read some columns of a row group.

    Attributes:
        row: bytes of one row in the worst case.
        dictionaries: paths of columns to read as dictionaries, since one value of a large
            dictionary may repeat in all rows.
        together: bytes of pages in memory at the same time, in the worst case.
        packed: bytes of all the pages in the file.
    """

    row: int = 1
    dictionaries: list[str] = field(default_factory=list)
    together: int = 0
    packed: int = 0


def group_size(
    file: BinaryIO, schema: pq.ParquetSchema, group: RowGroup, columns: Collection[str]
) -> GroupSize:
    """Measure some top-level columns of a row group by page headers. Raises DamagedPagesError."""
    size = GroupSize()
    for number, chunk in enumerate(group.chunks):
        name = chunk.path
        if name in columns or name.partition(".")[0] in columns:
            _add(size, chunk, _pages(file, chunk), schema.column(number), max(group.rows, 1))
    _Claim(size.packed, size.together).check()
    return size


def check_pages(file: BinaryIO, by_group: Collection[str] = ()) -> None:
    """Check that a file claims no more memory than its bytes can hold.

    Each row group is checked, and the file as a whole. Columns in `by_group` are read one row group
    at a time, so the check of the whole file leaves them out.

    Raises DamagedPagesError if the file claims more or can't be read, OSError, pa.ArrowException.
    """
    groups = footer_of(file)
    parts = [_Claim() for _ in groups]
    whole = _Claim()
    repeated: list[tuple[int, str, int]] = []

    def add(group: int, path: str, claim: _Claim) -> None:
        parts[group].add(claim)
        if path.partition(".")[0] not in by_group:
            whole.add(claim)

    for number, group in enumerate(groups):
        for chunk in group.chunks:
            pages = _pages(file, chunk)
            each = _LEVELS if "." in chunk.path else _FLAT_VALUE
            add(number, chunk.path, _Claim(pages.packed, pages.unpacked + each * chunk.values))
            if pages.shared:
                add(number, chunk.path, _Claim(0, pages.largest * chunk.values))
            elif chunk.texts and pages.dictionary:
                repeated.append((number, chunk.path, pages.dictionary * chunk.values))
    for part in (*parts, whole):
        part.check()
    if whole.unpacked + sum(most for *_, most in repeated) <= _MOST_MEMORY:
        return
    file.seek(0)
    source = pq.ParquetFile(file, read_dictionary=sorted({path for _, path, _ in repeated}))
    for number, path, most in repeated:
        if most > _MOST_MEMORY // _FEW:
            add(number, path, _Claim(0, _repeated(source, number, path)))
            parts[number].check()
            whole.check()


@dataclass
class _Claim:
    """Bytes of some pages in the file and in memory."""

    packed: int = 0
    unpacked: int = 0

    def add(self, other: _Claim) -> None:
        self.packed += other.packed
        self.unpacked += other.unpacked

    def check(self) -> None:
        if self.unpacked > max(_MOST_MEMORY, _USUAL_RATIO * self.packed):
            raise DamagedPagesError(
                f"pages of {self.packed} bytes are said to take {self.unpacked} bytes of memory"
            )


def _repeated(source: pq.ParquetFile, group: int, path: str) -> int:
    """Return the bytes of a column's texts in a row group, repeats included.

    The column is read as a dictionary.
    """
    table = source.read_row_group(group, columns=[path], use_threads=False)
    return sum(_text_bytes(chunk) for column in table.columns for chunk in column.chunks)


def _text_bytes(array: pa.Array) -> int:
    if pa.types.is_dictionary(array.type):
        values, places = array.dictionary, array.indices.drop_null().to_numpy()
        if not pa.types.is_binary(values.type) and not pa.types.is_string(values.type):
            return int(array.nbytes)
        offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset :][: len(values) + 1]
        return int(np.diff(offsets)[places].sum(dtype=np.int64))
    if pa.types.is_struct(array.type):
        return sum(map(_text_bytes, array.flatten()))
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return _text_bytes(array.flatten())
    return int(array.nbytes)


@dataclass
class _Pages:
    """Sizes of a column's pages, in bytes.

    packed, unpacked: of all pages in the file and in memory. largest: of the largest data page.
    dictionary: of the largest dictionary page. each: largest mean size of a value in any page.
    shared: whether a value may share a prefix with the one before it.
    """

    packed: int = 0
    unpacked: int = 0
    largest: int = 0
    dictionary: int = 0
    each: int = 0
    shared: bool = False


def _add(size: GroupSize, chunk: Chunk, pages: _Pages, leaf: Any, rows: int) -> None:
    name = chunk.path
    repeated = leaf.max_repetition_level > 0
    fixed = leaf.length if leaf.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0
    if fixed > _LONGEST_FIXED:
        raise DamagedPagesError(f"column {name}: values of {fixed} bytes each")
    size.packed += pages.packed
    size.together += pages.largest + pages.dictionary
    if repeated:
        size.together += _LEVELS * chunk.values
        size.row += (_LEVELS + fixed) * chunk.values // rows
    size.row += fixed
    suspicious = pages.unpacked > _USUAL_RATIO * pages.packed + _MISCOUNTED
    if pages.shared or (repeated and suspicious):
        # Any row may be as large as a whole page.
        size.row += pages.largest
    else:
        size.row += pages.unpacked // rows if repeated else pages.each
    if not chunk.texts:
        return
    if pages.dictionary <= _USUAL_DICTIONARY:
        size.row += pages.dictionary // _REPEATED_DICTIONARY
    elif "." in name:
        size.row += pages.dictionary
    else:
        size.dictionaries.append(name)


def _pages(file: BinaryIO, chunk: Chunk) -> _Pages:
    pages = _Pages()
    if chunk.values == 0:
        # There may be no page.
        return pages
    at = chunk.start
    end = at + chunk.size
    ratio = _RATIOS.get(chunk.codec)
    while at < end:
        header, length = _header(file, at, end - at)
        unpacked, packed = header.get(2, -1), header.get(3, -1)
        if not isinstance(unpacked, int) or not isinstance(packed, int):
            raise DamagedPagesError(f"column {chunk.path}: no page header at byte {at}")
        fits = 0 <= packed <= end - at - length + _MISCOUNTED and 0 <= unpacked <= _LARGEST_PAGE
        if not fits or (ratio is not None and unpacked > ratio * packed + _SLACK):
            raise DamagedPagesError(
                f"column {chunk.path}: the page at byte {at} is said to hold {packed} "
                f"bytes, {unpacked} unpacked, in a column of {chunk.size} bytes"
            )
        pages.packed += packed
        pages.unpacked += unpacked
        if header.get(1) == _DICTIONARY_PAGE:
            pages.dictionary = max(pages.dictionary, unpacked)
        else:
            values, encoding = _values(header)
            pages.largest = max(pages.largest, unpacked)
            pages.each = max(pages.each, unpacked // max(values, 1))
            pages.shared = pages.shared or encoding == _DELTA_BYTE_ARRAY
        at += length + packed
    return pages


def _values(header: dict[int, Any]) -> tuple[int, int]:
    """Return the number of values of a data page and their encoding."""
    first, second = header.get(5), header.get(8)
    if isinstance(second, dict):
        return int(second.get(1, 0)), int(second.get(4, 0))
    if isinstance(first, dict):
        return int(first.get(1, 0)), int(first.get(2, 0))
    return 0, 0


def _header(file: BinaryIO, at: int, most: int) -> tuple[dict[int, Any], int]:
    """Read a page header: its fields by number, and its length in bytes."""
    size = _HEADER
    while True:
        file.seek(at)
        data = file.read(min(size, most))
        try:
            return read_struct(data, 0)
        except ThriftError as err:
            raise DamagedPagesError(f"no page header at byte {at}: {err}") from err
        except IndexError:
            size *= 16
            if len(data) == most or size > _LONGEST_HEADER:
                raise DamagedPagesError(f"no page header at byte {at}") from None
