"""The Parquet files of a space: one row per product, its vector as a fixed-size list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.ids import Keys, id_keys
from vitrina.parallel import map_ahead
from vitrina.store.files import Files
from vitrina.store.pages import read_numbers
from vitrina.store.parquet import Access, open_parquet, open_source
from vitrina.types import Stored, Vectors

NO_CONTENT = "0" * 32
"""How an absent content hash is written where a column can't be null in memory."""

_IDS = ["product_id", "content_hash"]


def hashes_to_array(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.void]:
    """Turn a column of hexadecimal 16-byte hashes into (n,) `V16`; null becomes all zero."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_hex(chunk.fill_null(NO_CONTENT) if chunk.null_count else chunk) for chunk in chunks]
    return np.frombuffer(b"".join(parts), dtype="V16")


def _hex(column: pa.Array) -> bytes:
    # All are of 32 digits, so what they share is one run of them in the array's own buffer.
    _, offsets, digits = column.buffers()
    if not len(column):
        return b""
    at = np.frombuffer(offsets, dtype=np.int32)[[column.offset, column.offset + len(column)]]
    return bytes.fromhex(digits[int(at[0]) : int(at[1])].to_pybytes().decode())


def array_to_hashes(hashes: npt.NDArray[np.void]) -> pa.Array:
    """The reverse of `hashes_to_array`, for hashes that are all there."""
    text = hashes.tobytes().hex()
    return pa.array([text[at : at + 32] for at in range(0, len(text), 32)], pa.string())


def array_keys(ids: pa.Array) -> Keys:
    """The key of each id in a column: (n,) uint64; see `id_keys`."""
    if pa.types.is_int64(ids.type) and not ids.null_count:
        return numbers_of(ids, np.uint64)
    return id_keys(ids.to_pylist())


def write_shard(
    path: Path, ids: pa.Array, hashes: pa.Array, vectors: Stored, dtype: str = "float16"
) -> None:
    """Write one shard.

    ids: (n,) int64 or string. hashes: (n,) string. vectors: (n, dim) float16 or float32,
    L2-normalised. dtype: "float16" or "float32", how the vectors are kept.
    """
    flat = pa.array(np.ascontiguousarray(vectors, dtype=dtype).reshape(-1))
    # Items declared to be there are read by a third faster than those that might be null.
    kind = pa.list_(pa.field("item", flat.type, nullable=False), vectors.shape[1])
    columns = [ids, hashes, pa.FixedSizeListArray.from_arrays(flat, type=kind)]
    names = ("product_id", "content_hash", "embedding")
    schema = pa.schema(
        [
            pa.field(name, column.type, nullable=False)
            for name, column in zip(names, columns, strict=True)
        ]
    )
    # Vectors hardly compress, and without a codec they are read at the speed of the disk.
    pq.write_table(
        pa.table(columns, schema=schema),
        path,
        compression={"product_id": "zstd", "content_hash": "zstd"},
        use_dictionary=False,
        write_statistics=["product_id"],
        write_page_checksum=True,
    )


@dataclass(frozen=True)
class ShardBatch:
    """Consecutive rows of one shard. vectors: (n, dim) of the stored dtype, or None where not
    asked for."""

    shard: int
    start: int
    ids: pa.Array
    hashes: npt.NDArray[np.void]
    vectors: Stored | None


def read_shards(
    files: Files, names: Sequence[str], *, vectors: bool = True, batch_rows: int = 4096
) -> Iterator[ShardBatch]:
    """Stream the rows of some shards in order, a bounded batch at a time.

    Raises StoreError naming a shard that is missing or damaged.
    """

    def read(name: str) -> tuple[pa.Table, Stored | None]:
        if vectors:
            return _read_whole(files, name)
        return _read_columns(files, name, _IDS, Access.PARTS), None

    for number, (table, matrix) in enumerate(map_ahead(read, names, files.workers)):
        start = 0
        for batch in table.to_batches(max_chunksize=batch_rows):
            stop = start + batch.num_rows
            yield ShardBatch(
                number,
                start,
                batch.column("product_id"),
                hashes_to_array(batch.column("content_hash")),
                None if matrix is None else matrix[start:stop],
            )
            start = stop


def read_vectors(files: Files, name: str, rows: npt.NDArray[np.int64]) -> Vectors:
    """Read some rows' vectors of one shard: (len(rows), dim) float32."""
    with open_source(files, name, Access.WHOLE) as source:
        vectors: Vectors = _matrix(source)[rows].astype(np.float32)
        return vectors


def matrix_of(column: pa.FixedSizeListArray) -> Stored:
    """View a fixed-size-list column as (n, dim), without a copy."""
    kind = column.type
    flat = numbers_of(column.flatten(), np.dtype(kind.value_type.to_pandas_dtype()))
    return flat.reshape(-1, kind.list_size)


def numbers_of(column: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """View a column of numbers without nulls as (n,), without a copy.

    Arrow's own way imports pandas where there is one, which takes a second.
    """
    numbers = np.frombuffer(column.buffers()[1], dtype=dtype)
    return numbers[column.offset : column.offset + len(column)]


def _read_whole(files: Files, name: str) -> tuple[pa.Table, Stored]:
    with open_source(files, name, Access.WHOLE) as source:
        matrix = _matrix(source)
        source.seek(0)
        return _checked(pq.ParquetFile(source, page_checksum_verification=True), _IDS), matrix


def _read_columns(files: Files, name: str, columns: list[str], access: Access) -> pa.Table:
    with open_parquet(files, name, access) as file:
        return _checked(file, columns)


def _checked(file: pq.ParquetFile, columns: list[str]) -> pa.Table:
    """Some columns; Arrow leaves out what is not there. Raises pa.ArrowInvalid for that."""
    table = file.read(columns=columns, use_threads=False)
    if table.column_names != columns:
        raise pa.ArrowInvalid(f"its columns are {', '.join(file.schema_arrow.names)}")
    if table.num_rows != file.metadata.num_rows:
        raise pa.ArrowInvalid(f"{table.num_rows} rows instead of {file.metadata.num_rows}")
    return table


def _matrix(source: pa.NativeFile) -> Stored:
    """The vectors of a shard: (n, dim) as they are kept. Raises pa.ArrowInvalid."""
    return read_matrix(memoryview(source.read_buffer()).cast("B"))


def read_matrix(content: memoryview) -> Stored:
    """The vectors of a shard, given its bytes: (n, dim) as they are kept, checksums looked at.

    Raises pa.ArrowInvalid.
    """
    source = pa.BufferReader(pa.py_buffer(content))
    file = pq.ParquetFile(source, page_checksum_verification=True)
    schema = file.schema_arrow
    kind = vector_type(schema)
    dtype = np.dtype(kind.value_type.to_pandas_dtype())
    numbers = None
    if not kind.value_field.nullable and not schema.field("embedding").nullable:
        # No list comes before it, so its place among the leaves is that among the columns.
        column = schema.names.index("embedding")
        numbers = read_numbers(content, file.metadata, column, dtype)
    rows, dim = file.metadata.num_rows, kind.list_size
    if numbers is None:
        matrix = matrix_of(_checked(file, ["embedding"]).column(0).combine_chunks())
        if len(matrix) != rows:
            # Arrow leaves nulls out, which would move all rows behind them.
            raise pa.ArrowInvalid(f"{len(matrix)} vectors instead of {rows}")
        return matrix
    if len(numbers) != rows * dim:
        raise pa.ArrowInvalid(f"{len(numbers)} numbers instead of {rows} times {dim}")
    return numbers.reshape(rows, dim)


def vector_type(schema: pa.Schema) -> pa.FixedSizeListType:
    """The type of a shard's vectors. Raises pa.ArrowInvalid if it has none of a known type."""
    kind = schema.field("embedding").type if "embedding" in schema.names else pa.null()
    if not pa.types.is_fixed_size_list(kind) or kind.value_type not in (pa.float16(), pa.float32()):
        raise pa.ArrowInvalid(f"its vectors are {kind}")
    return kind
