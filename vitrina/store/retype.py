"""Conversion of a store's shards to string product ids.

A catalogue whose ids were integers so far may add one that is not. Its store then switches to
strings: nothing is embedded again, and every file that other readers join by `product_id` has ids
of one type. Indexes, heads, audits and decisions are read with their ids in the store's type.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa

from vitrina.store import layout
from vitrina.store.entries import FileEntry
from vitrina.store.manifest import Manifest
from vitrina.store.shards import array_to_hashes, read_shards, write_shard
from vitrina.store.space import Space
from vitrina.store.store import OpenStore
from vitrina.store.writer import Writer


def with_string_ids(store: OpenStore, writer: Writer, manifest: Manifest) -> Manifest:
    """The manifest with every shard rewritten; nothing is live until it is committed.

    Raises StoreError if a shard is missing or damaged.
    """
    for name, entry in manifest.spaces.items():
        space = Space.open(store.files, name, entry)
        shards = tuple(_rewritten(writer, space, shard) for shard in entry.shards)
        manifest = manifest.with_space(name, replace(entry, shards=shards))
    return manifest


def _rewritten(writer: Writer, space: Space, shard: FileEntry) -> FileEntry:
    batches = list(read_shards(space.files, [shard], vectors=space.vector_type))
    if not batches or batches[0].ids.type == pa.string():
        return shard
    ids = pa.concat_arrays([batch.ids for batch in batches])
    path = writer.scratch / "retyped.parquet"
    write_shard(
        path,
        ids.cast(pa.string()),
        array_to_hashes(np.concatenate([batch.hashes for batch in batches])),
        np.concatenate([batch.vectors for batch in batches if batch.vectors is not None]),
        space.card["dtype"],
    )
    named = partial(layout.shard, space.name, layout.shard_number(shard.path))
    return writer.publish(path, named, shard.rows)
