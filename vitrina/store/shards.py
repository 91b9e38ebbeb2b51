"""The Parquet files of a space: one row per product, its vector as a fixed-size list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import StoreError
from vitrina.store.files import replacing
from vitrina.types import Vectors

NO_CONTENT = "0" * 32
"""How an absent content hash is written where a column can't be null in memory."""


def hashes_to_array(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.void]:
    """Turn a column of hexadecimal 16-byte hashes into (n,) `V16`; null becomes all zero."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    text = "".join(column.fill_null(NO_CONTENT).to_pylist())
    return np.frombuffer(bytes.fromhex(text), dtype="V16")


def array_to_hashes(hashes: npt.NDArray[np.void]) -> pa.Array:
    """The reverse of `hashes_to_array`, for hashes that are all there."""
    text = hashes.tobytes().hex()
    return pa.array([text[at : at + 32] for at in range(0, len(text), 32)], pa.string())


def write_shard(
    path: Path, ids: pa.Array, hashes: pa.Array, vectors: Vectors, dtype: str = "float16"
) -> None:
    """Write one shard atomically.

    ids: (n,) int64 or string. hashes: (n,) string. vectors: (n, dim) float32, L2-normalised.
    dtype: "float16" or "float32", how the vectors are kept.
    """
    flat = pa.array(np.ascontiguousarray(vectors, dtype=dtype).reshape(-1))
    embedding = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    table = pa.table({"product_id": ids, "content_hash": hashes, "embedding": embedding})
    with replacing(path) as temporary:
        # Vectors hardly compress, and without a codec they are read at the speed of the disk.
        pq.write_table(
            table,
            temporary,
            compression={"product_id": "zstd", "content_hash": "zstd"},
            use_dictionary=False,
            write_statistics=["product_id"],
        )


@dataclass(frozen=True)
class ShardBatch:
    """Consecutive rows of one shard. vectors: (n, dim) float32, or None where not asked for."""

    shard: int
    start: int
    ids: pa.Array
    hashes: npt.NDArray[np.void]
    vectors: Vectors | None


def read_shards(
    paths: list[Path], *, vectors: bool = True, batch_rows: int = 4096
) -> Iterator[ShardBatch]:
    """Stream the rows of some shards in order, a bounded batch at a time."""
    columns = ["product_id", "content_hash"] + (["embedding"] if vectors else [])
    for number, path in enumerate(paths):
        start = 0
        for batch in _open(path).iter_batches(batch_size=batch_rows, columns=columns):
            hashes = hashes_to_array(batch.column("content_hash"))
            matrix = matrix_of(batch.column("embedding")) if vectors else None
            yield ShardBatch(number, start, batch.column("product_id"), hashes, matrix)
            start += batch.num_rows


def read_vectors(path: Path, rows: npt.NDArray[np.int64]) -> Vectors:
    """Read some rows' vectors of one shard: (len(rows), dim) float32."""
    column = _open(path).read(columns=["embedding"]).column("embedding")
    return matrix_of(column.take(pa.array(rows)))


def matrix_of(column: pa.Array | pa.ChunkedArray) -> Vectors:
    """View a fixed-size-list column as (n, dim) float32."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    dim = column.type.list_size
    flat = column.flatten().to_numpy(zero_copy_only=False)
    matrix: Vectors = flat.reshape(-1, dim).astype(np.float32)
    return matrix


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except FileNotFoundError as err:
        raise StoreError(f"{path} is missing from the store; run the embed again") from err
    except pa.ArrowInvalid as err:
        raise StoreError(f"{path} is damaged ({err}); delete it and embed again") from err
