"""Products that an encoder of the store was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vitrina.errors import TrainingError
from vitrina.store.damage import blamed_on
from vitrina.store.entries import FolderEntry
from vitrina.store.parquet import IDS, Column, read_file_as
from vitrina.store.shards import array_keys
from vitrina.store.space import Space
from vitrina.store.store import Store
from vitrina.types import Codes, Mask

TRAINED_ON = "trained-on.parquet"
"""The products that an encoder learnt from: none of them may judge what is built on it."""

_SEEN = {"product_id": Column(IDS)}


def seen_by_spaces(store: Store, spaces: Iterable[Space]) -> Mask:
    """(n,) bool: products that the encoder of a space has learnt from."""
    return _seen(store, (space.entry.encoder for space in spaces))


def seen_by_base(store: Store, model: str) -> Mask:
    """(n,) bool: products that an encoder which was trained here has learnt from; none for a model
    from elsewhere."""
    return _seen(store, [store.manifest.encoders.get(model)])


def _seen(store: Store, encoders: Iterable[FolderEntry | None]) -> Mask:
    seen = np.zeros(len(store.products), dtype=bool)
    for kept in encoders:
        if kept is not None and TRAINED_ON in {file.name for file in kept.files}:
            seen[rows_seen(store, store.folder(kept, "run `vitrina finetune` again"))] = True
    return seen


def rows_seen(store: Store, folder: Path) -> Codes:
    """The rows of the product table that an encoder in a folder learnt from, as far as they are
    there still. Raises TrainingError if it does not say."""
    path, way = folder / TRAINED_ON, "run `vitrina finetune` again"
    kind = store.products.ids.type
    column = read_file_as(path, _SEEN, way, TrainingError).column("product_id")
    # Integers may have become strings since.
    with blamed_on(str(path), way, TrainingError):
        keys = array_keys(column.combine_chunks().drop_null().cast(kind))
    found = store.products.table.positions(keys)
    return np.unique(found[found >= 0])
