"""Reading of Parquet row groups in batches of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.parquet.footer import DamagedPagesError, RowGroup
from vitrina.parquet.pages import group_size

_BATCH_BYTES = 1 << 28
"""Approximate maximum bytes of one batch in Arrow."""
_THRIFT_LIMITS = {
    "thrift_string_size_limit": 1 << 26,
    "thrift_container_size_limit": 1 << 18,
}
"""Limits on a file's footer: bytes of one text; number of columns, row groups or schema fields."""


def open_parquet(path: Path, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a file. Exceptions of Arrow propagate.

    dictionaries: columns to read as dictionaries.
    """
    options: dict[str, Any] = {**_THRIFT_LIMITS, "read_dictionary": list(dictionaries)}
    # With a buffered stream, Arrow does not fetch a whole row group first.
    return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False, **options)


def group_batches(
    path: Path,
    file: pq.ParquetFile,
    groups: Sequence[RowGroup],
    number: int,
    columns: Sequence[str],
    most: int,
) -> Iterator[pa.RecordBatch]:
    """Yield batches of some columns of row group `number`.

    groups: the result of `read_footer`. most: maximum rows per batch. Raises DamagedPagesError for
    a group that claims more than its bytes can hold; exceptions of Arrow propagate.
    """
    if len(groups) != file.num_row_groups:
        raise DamagedPagesError(f"{len(groups)} row groups, but Arrow finds {file.num_row_groups}")
    with path.open("rb") as raw:
        size = group_size(raw, file.schema, groups[number], columns)
    rows = min(max(_BATCH_BYTES // size.row, 1), most)
    with ExitStack() as stack:
        if size.dictionaries:
            file = stack.enter_context(open_parquet(path, size.dictionaries))
        yield from file.iter_batches(rows, row_groups=[number], columns=list(columns))
