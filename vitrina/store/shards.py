"""The Parquet files of a space: one row per product, its vector as a fixed-size list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.ids import Keys, id_keys
from vitrina.parallel import map_ahead
from vitrina.store.entries import FileEntry
from vitrina.store.files import Files
from vitrina.store.pages import read_numbers
from vitrina.store.parquet import (
    IDS,
    Access,
    Column,
    open_parquet,
    open_source,
    read_table_as,
)
from vitrina.store.plan import SHARD_ROWS
from vitrina.types import Stored, Vectors

HASH_BYTES = 16
NO_CONTENT = "0" * 32
"""Placeholder for an absent content hash where a column in memory can't be null."""

SHARD = {
    "product_id": Column(IDS, nulls=False),
    "content_hash": Column((pa.string(),), nulls=False),
}
"""Column requirements of a shard, without its vectors."""


def hashes_to_array(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.void]:
    """Turn a column of hexadecimal 16-byte hashes into (n,) `V16`; null becomes all zero.

    Raises pa.ArrowInvalid for any other value.
    """
    if column.type != pa.string():
        raise pa.ArrowInvalid(f"its content hashes are {column.type}, not strings")
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_hex(chunk.fill_null(NO_CONTENT) if chunk.null_count else chunk) for chunk in chunks]
    return np.frombuffer(b"".join(parts), dtype="V16")


def _hex(column: pa.Array) -> bytes:
    # All have 32 digits, so they form one run in the array's buffer.
    _, offsets, digits = column.buffers()
    if not len(column):
        return b""
    at = np.frombuffer(offsets, dtype=np.int32)[column.offset :][: len(column) + 1]
    raw = b""
    if (np.diff(at) == 2 * HASH_BYTES).all():
        with suppress(ValueError):
            raw = bytes.fromhex(digits[int(at[0]) : int(at[-1])].to_pybytes().decode())
    # bytes.fromhex skips spaces, which would shift all hashes that follow.
    if len(raw) != HASH_BYTES * len(column):
        raise pa.ArrowInvalid("a content hash is not 32 hexadecimal digits")
    return raw


def array_to_hashes(hashes: npt.NDArray[np.void]) -> pa.Array:
    """Inverse of `hashes_to_array`, for hashes without nulls."""
    text = hashes.tobytes().hex()
    return pa.array([text[at : at + 32] for at in range(0, len(text), 32)], pa.string())


def array_keys(ids: pa.Array) -> Keys:
    """The key of each id in a column: (n,) uint64; see `id_keys`."""
    if pa.types.is_int64(ids.type) and not ids.null_count:
        return numbers_of(ids, np.uint64)
    return id_keys(ids.to_pylist())


def write_shard(
    path: Path,
    ids: pa.Array,
    hashes: pa.Array,
    vectors: Stored,
    dtype: str = "float16",
    *,
    group_rows: int | None = SHARD_ROWS,
) -> None:
    """Write one shard.

    ids: (n,) int64 or string. hashes: (n,) string. vectors: (n, dim) float16 or float32,
    L2-normalised. dtype: "float16" or "float32", the stored type of the vectors. group_rows: of a
    row group, for which Arrow takes six times the memory of its vectors; None for one.
    """
    flat = pa.array(np.ascontiguousarray(vectors, dtype=dtype).reshape(-1))
    # Non-nullable items are read a third faster than nullable ones.
    kind = pa.list_(pa.field("item", flat.type, nullable=False), vectors.shape[1])
    columns = [ids, hashes, pa.FixedSizeListArray.from_arrays(flat, type=kind)]
    names = ("product_id", "content_hash", "embedding")
    schema = pa.schema(
        [
            pa.field(name, column.type, nullable=False)
            for name, column in zip(names, columns, strict=True)
        ]
    )
    # Vectors hardly compress, and uncompressed ones are read at disk speed.
    pq.write_table(
        pa.table(columns, schema=schema),
        path,
        compression={"product_id": "zstd", "content_hash": "zstd"},
        use_dictionary=False,
        write_statistics=["product_id"],
        write_page_checksum=True,
        row_group_size=group_rows,
    )


@dataclass(frozen=True)
class ShardBatch:
    """Consecutive rows of one shard. vectors: (n, dim) of the stored dtype, or None if not
    requested."""

    shard: int
    start: int
    ids: pa.Array
    hashes: npt.NDArray[np.void]
    vectors: Stored | None


def read_shards(
    files: Files,
    shards: Sequence[FileEntry],
    *,
    vectors: pa.FixedSizeListType | None = None,
    batch_rows: int = 4096,
) -> Iterator[ShardBatch]:
    """Stream the rows of some shards in order, a bounded batch at a time.

    vectors: the required type of the vectors; None to read none. Raises StoreError naming a shard
    that is missing or damaged.
    """

    def read(entry: FileEntry) -> tuple[pa.Array, npt.NDArray[np.void], Stored | None]:
        if vectors is None:
            with open_parquet(files, entry, Access.PARTS) as file:
                return *_ids_and_hashes(file), None
        with open_source(files, entry, Access.WHOLE) as source:
            matrix = _matrix(source, entry, vectors)
            source.seek(0)
            file = pq.ParquetFile(source, page_checksum_verification=True)
            return *_ids_and_hashes(file), matrix

    for number, (ids, hashes, matrix) in enumerate(map_ahead(read, shards, files.workers)):
        for start in range(0, len(ids), batch_rows):
            window = slice(start, start + batch_rows)
            yield ShardBatch(
                number,
                start,
                ids[window],
                hashes[window],
                None if matrix is None else matrix[window],
            )


def _ids_and_hashes(file: pq.ParquetFile) -> tuple[pa.Array, npt.NDArray[np.void]]:
    table = read_table_as(file, SHARD, list(SHARD))
    hashes = hashes_to_array(table.column("content_hash"))
    return table.column("product_id").combine_chunks(), hashes


def read_vectors(
    files: Files, entry: FileEntry, rows: npt.NDArray[np.int64], kind: pa.FixedSizeListType
) -> Vectors:
    """Read vectors of one shard: (len(rows), dim) float32. kind: the required type of its
    vectors."""
    with open_source(files, entry, Access.WHOLE) as source:
        vectors: Vectors = _matrix(source, entry, kind)[rows].astype(np.float32)
        return vectors


def matrix_of(column: pa.FixedSizeListArray) -> npt.NDArray[Any]:
    """View a fixed-size-list column as (n, dim), without a copy."""
    kind = column.type
    flat = numbers_of(column.flatten(), np.dtype(kind.value_type.to_pandas_dtype()))
    return flat.reshape(-1, kind.list_size)


def numbers_of(column: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """View a column of numbers without nulls as (n,), without a copy.

    Arrow's own conversion imports pandas if it is installed, which takes a second.
    """
    numbers = np.frombuffer(column.buffers()[1], dtype=dtype)
    return numbers[column.offset : column.offset + len(column)]


def _matrix(source: pa.NativeFile, entry: FileEntry, kind: pa.FixedSizeListType) -> Stored:
    """The vectors of a shard: (n, dim) of the stored dtype. Raises pa.ArrowInvalid."""
    return read_matrix(memoryview(source.read_buffer()).cast("B"), entry.rows, kind)


def read_matrix(content: memoryview, rows: int, kind: pa.FixedSizeListType) -> Stored:
    """Read the vectors from a shard's bytes: (n, dim) of the stored dtype, checksums verified.

    rows, kind: the required number and type of vectors. Raises pa.ArrowInvalid.
    """
    source = pa.BufferReader(pa.py_buffer(content))
    file = pq.ParquetFile(source, page_checksum_verification=True)
    schema = file.schema_arrow
    check_vectors(file, rows, kind)
    kind = schema.field("embedding").type
    dtype = np.dtype(kind.value_type.to_pandas_dtype())
    numbers = None
    if not kind.value_field.nullable and not schema.field("embedding").nullable:
        # No list precedes it, so its index among the leaves is its index among the columns.
        column = schema.names.index("embedding")
        numbers = read_numbers(content, file.metadata, column, dtype)
    dim = kind.list_size
    if numbers is None:
        table = read_table_as(file, {}, ["embedding"])
        matrix = matrix_of(table.column(0).combine_chunks())
        if len(matrix) != rows:
            # Arrow omits nulls, which would shift all later rows.
            raise pa.ArrowInvalid(f"{len(matrix)} vectors instead of {rows}")
        return matrix
    if len(numbers) != rows * dim:
        raise pa.ArrowInvalid(f"{len(numbers)} numbers instead of {rows} times {dim}")
    return numbers.reshape(rows, dim)


def vector_type(dim: int, dtype: str) -> pa.FixedSizeListType:
    """The type of a shard's vectors. dtype: "float16" or "float32"."""
    return pa.list_({"float16": pa.float16(), "float32": pa.float32()}[dtype], dim)


def check_vectors(file: pq.ParquetFile, rows: int, kind: pa.FixedSizeListType) -> None:
    """Raise pa.ArrowInvalid unless a shard has `rows` vectors of type `kind`."""
    schema, there = file.schema_arrow, file.metadata.num_rows
    found = schema.field("embedding").type if schema.names.count("embedding") == 1 else pa.null()
    if not pa.types.is_fixed_size_list(found) or (
        (found.value_type, found.list_size, there) != (kind.value_type, kind.list_size, rows)
    ):
        raise pa.ArrowInvalid(
            f"{there} vectors of {_describe(found)} instead of {rows} of {_describe(kind)}"
        )


def _describe(kind: pa.DataType) -> str:
    if not pa.types.is_fixed_size_list(kind):
        return str(kind)
    # Arrow calls float32 "float".
    return f"{kind.list_size} {np.dtype(kind.value_type.to_pandas_dtype())}"
