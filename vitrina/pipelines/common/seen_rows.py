"""Products that an encoder of the store was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vitrina.embedder.model_ref import ModelRef
from vitrina.errors import TrainingError
from vitrina.pipelines.common.encoders import trained_entry
from vitrina.store.damage import blamed_on
from vitrina.store.entries import FolderEntry
from vitrina.store.parquet import IDS, Column, read_file_as
from vitrina.store.shards import array_keys
from vitrina.store.space import Space
from vitrina.store.store import OpenStore
from vitrina.types import Codes, Mask

TRAINED_ON = "trained-on.parquet"
"""File of the products that an encoder was trained on; models over it are not evaluated on them."""

_SEEN = {"product_id": Column(IDS)}


def seen_by_spaces(store: OpenStore, spaces: Iterable[Space]) -> Mask:
    """(n,) bool: products that the encoder of a space was trained on."""
    return _seen(store, (space.entry.encoder for space in spaces))


def seen_by_base(store: OpenStore, model: ModelRef) -> Mask:
    """(n,) bool: products that an encoder of the store was trained on; none for another model."""
    return _seen(store, [trained_entry(store, model)])


def _seen(store: OpenStore, encoders: Iterable[FolderEntry | None]) -> Mask:
    seen = np.zeros(len(store.products), dtype=bool)
    for kept in encoders:
        if kept is not None and TRAINED_ON in {file.name for file in kept.files}:
            seen[rows_seen(store, store.folder(kept, "run `vitrina finetune` again"))] = True
    return seen


def rows_seen(store: OpenStore, folder: Path) -> Codes:
    """Rows of the product table that an encoder in a folder was trained on, removed products left
    out. Raises TrainingError if the folder has no list of them."""
    path, way = folder / TRAINED_ON, "run `vitrina finetune` again"
    kind = store.products.ids.type
    column = read_file_as(path, _SEEN, way, TrainingError).column("product_id")
    # Integers may have become strings since.
    with blamed_on(str(path), way, TrainingError):
        keys = array_keys(column.combine_chunks().drop_null().cast(kind))
    found = store.products.table.positions(keys)
    return np.unique(found[found >= 0])
