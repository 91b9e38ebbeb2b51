"""Verification of a file's content against its manifest entry."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.parquet.pages import check_pages
from vitrina.store import layout
from vitrina.store.damage import DAMAGE, reason_of
from vitrina.store.entries import FileEntry, SpaceEntry
from vitrina.store.integrity import CHANGED
from vitrina.store.parquet import Column, check_schema, check_values, read_table_as
from vitrina.store.products import HASH_COLUMNS, PRODUCTS
from vitrina.store.shards import (
    SHARD,
    array_keys,
    check_vectors,
    hashes_to_array,
    matrix_of,
    vector_type,
)
from vitrina.store.space import ERRORS

TOLERANCE = {"float16": 2e-3, "float32": 1e-5}
"""Maximum deviation of a vector's length from 1, due to rounding, by dtype."""


def faults_of(content: pa.Buffer, entry: FileEntry, space: SpaceEntry | None) -> list[str]:
    """List the faults of a file; empty if it is valid. space: of a shard; else None."""
    if len(content) != entry.bytes:
        return [f"{len(content)} bytes instead of {entry.bytes}"]
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        return [CHANGED]
    if not entry.path.endswith(".parquet") or not entry.rows:
        return []
    try:
        check_pages(pa.BufferReader(content), layout.columns_by_group(entry.path))
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        rows = file.metadata.num_rows
        if rows != entry.rows:
            return [f"{rows} rows instead of {entry.rows}"]
        if space is not None:
            return _shard_faults(file, entry, space)
        if entry.path.startswith(f"{layout.PRODUCTS}/"):
            _check_products(file)
        elif layout.is_errors(entry.path):
            hashes_to_array(read_table_as(file, ERRORS).column("content_hash"))
    except DAMAGE as err:
        return [f"can't be read as Parquet ({reason_of(err)})"]
    return []


def _check_products(file: pq.ParquetFile) -> None:
    for group in range(file.num_row_groups):
        table = read_table_as(file, PRODUCTS, group=group)
        for name in (*HASH_COLUMNS.values(), "image_stamp"):
            hashes_to_array(table.column(name))


def _shard_faults(file: pq.ParquetFile, entry: FileEntry, space: SpaceEntry) -> list[str]:
    """List the faults of a shard's rows."""
    names = [*SHARD, "embedding"]
    if file.schema_arrow.names != names:
        return [f"its columns are {', '.join(file.schema_arrow.names)}, not {', '.join(names)}"]
    dtype = space.card["dtype"]
    try:
        check_schema(file.schema_arrow, SHARD)
        check_vectors(file, entry.rows, vector_type(space.card["dim"], dtype))
    except pa.ArrowInvalid as err:
        return [str(err)]
    table = file.read()
    try:
        check_values(table, {**SHARD, "embedding": Column((), nulls=False)})
        hashes = hashes_to_array(table.column("content_hash"))
    except pa.ArrowInvalid as err:
        return [str(err)]
    faults = []
    vectors = matrix_of(table.column("embedding").combine_chunks())
    keys = array_keys(table.column("product_id").combine_chunks())
    pairs = np.column_stack([keys, hashes.view(np.uint64).reshape(-1, 2)])
    twice = len(pairs) - len(np.unique(pairs, axis=0))
    if twice:
        faults.append(f"{twice} rows occur twice")
    endless, long = 0, 0
    for start in range(0, len(vectors), 4096):
        block = vectors[start : start + 4096].astype(np.float32)
        finite = np.isfinite(block).all(axis=1)
        endless += int((~finite).sum())
        lengths = np.linalg.norm(block[finite], axis=1)
        # An encoder returns a zero vector for content that it can't represent.
        off = (np.abs(lengths - 1) > TOLERANCE[dtype]) & (lengths > 0)
        long += int(off.sum())
    if endless:
        faults.append(f"{endless} vectors hold numbers that are not finite")
    if long:
        faults.append(f"{long} vectors are not of length 1")
    return faults
