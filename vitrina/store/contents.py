"""Whether a file of a store holds what its manifest says."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vitrina.store.manifest import FileEntry, SpaceEntry
from vitrina.store.shards import array_keys, hashes_to_array, matrix_of

TOLERANCE = {"float16": 2e-3, "float32": 1e-5}
"""How far a vector's length may be from 1, by the rounding of its numbers."""

_HASH = "^[0-9a-f]{32}$"


def faults_of(content: pa.Buffer, entry: FileEntry, space: SpaceEntry | None) -> list[str]:
    """What is wrong with a file. space: of a shard; None for any other file."""
    if len(content) != entry.bytes:
        return [f"{len(content)} bytes instead of {entry.bytes}"]
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        return ["its checksum does not fit: bytes were changed"]
    if not entry.path.endswith(".parquet") or not entry.rows:
        return []
    try:
        table = pq.ParquetFile(pa.BufferReader(content))
        rows = table.metadata.num_rows
        if rows != entry.rows:
            return [f"{rows} rows instead of {entry.rows}"]
        return _faults(table.read(), space) if space is not None else []
    except (pa.ArrowException, OSError) as err:
        return [f"can't be read as Parquet ({str(err).splitlines()[0]})"]


def _faults(table: pa.Table, space: SpaceEntry) -> list[str]:
    """What is wrong with a shard's rows."""
    names = ["product_id", "content_hash", "embedding"]
    if table.column_names != names:
        return [f"its columns are {', '.join(table.column_names)}, not {', '.join(names)}"]
    dim, dtype = space.card["dim"], space.card["dtype"]
    kind = table.schema.field("embedding").type
    if not pa.types.is_fixed_size_list(kind) or kind.list_size != dim:
        return [f"its vectors are {kind}, not {dim} numbers each"]
    if kind.value_type != {"float16": pa.float16(), "float32": pa.float32()}[dtype]:
        # Arrow calls float32 "float".
        return [f"its numbers are {np.dtype(kind.value_type.to_pandas_dtype())}, not {dtype}"]
    ids, hashes = (table.schema.field(name).type for name in names[:2])
    if ids not in (pa.int64(), pa.string()) or hashes != pa.string():
        return [f"its ids are {ids} and its hashes {hashes}, not int64 or string and string"]
    if any(table.column(name).null_count for name in names):
        return ["a row lacks its id, its hash or its vector"]
    if not pc.all(pc.match_substring_regex(table.column("content_hash"), _HASH)).as_py():
        return ["a content hash is not 32 hexadecimal digits"]
    faults = []
    vectors = matrix_of(table.column("embedding").combine_chunks())
    keys = array_keys(table.column("product_id").combine_chunks())
    pairs = np.column_stack(
        [keys, hashes_to_array(table.column("content_hash")).view(np.uint64).reshape(-1, 2)]
    )
    twice = len(pairs) - len(np.unique(pairs, axis=0))
    if twice:
        faults.append(f"{twice} rows stand in it twice")
    endless, long = 0, 0
    for start in range(0, len(vectors), 4096):
        block = vectors[start : start + 4096].astype(np.float32)
        finite = np.isfinite(block).all(axis=1)
        endless += int((~finite).sum())
        lengths = np.linalg.norm(block[finite], axis=1)
        # All zero is what an encoder gives for content it knows nothing of.
        off = (np.abs(lengths - 1) > TOLERANCE[dtype]) & (lengths > 0)
        long += int(off.sum())
    if endless:
        faults.append(f"{endless} vectors hold numbers that are not finite")
    if long:
        faults.append(f"{long} vectors are not of length 1")
    return faults
