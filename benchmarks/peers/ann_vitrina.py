"""Vitrina's own index, by its public API: built over a store, and kept up with a changing one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from peers.ann_data import VectorSet
from peers.ann_peers import Built
from peers.ann_store import change_store, read_ids
from peers.vectors import Made

import vitrina as vt

HIDDEN = ("sha256", "fingerprints", "spaces")
"""What of an index's card is not worth keeping with the figures."""


def build(place: Path, features: str, options: dict, vectors: VectorSet, threads: int) -> Built:
    """Build a store's index; what takes the time is the one call. options: its keywords."""
    faiss.omp_set_num_threads(threads)
    return _ready(vt.build_index(vt.Store.open(place, create=False), features, **options), vectors)


def update(
    place: Path, made: Made, added: list[np.ndarray], features: str, seed: int, vectors: VectorSet
) -> tuple[list[dict], np.ndarray, Built]:
    """Change a store again and again, and build its index after each time.

    added: the set's rows that come in each round; as many of those that are there go, by chance.
    Returns what each round took, the (n,) rows that are there at the end, and the last index.
    """
    rng = np.random.default_rng(seed)
    there = vt.Store.open(place, create=False).products.ids.to_numpy()
    rounds = []
    for number, new in enumerate(added, start=1):
        gone = rng.choice(there, len(new), replace=False)
        change_store(place, made, gone, new)
        there = np.concatenate([np.setdiff1d(there, gone), new])
        started = time.perf_counter()
        index = vt.build_index(vt.Store.open(place, create=False), features)
        seconds = time.perf_counter() - started
        told = {"round": number, "added": len(new), "deleted": len(gone), "seconds": seconds}
        rounds.append({**told, "card": _card(index)})
        print(f"  round {number}: {seconds:.1f} s", flush=True)
    return rounds, np.sort(there), _ready(index, vectors)


def _ready(index: Any, vectors: VectorSet) -> Built:
    def rows(found: Any) -> np.ndarray:
        """Where the ids of an answer stand in the set; of made-up products they are the rows."""
        ids = [found.ids(number) for number in range(len(found))]
        out = np.full(found.positions.shape, -1, dtype=np.int64)
        # An answer's empty places are its last ones.
        filled = np.arange(out.shape[1]) < np.array([[len(one)] for one in ids])
        flat = pa.array([product_id for one in ids for product_id in one])
        if vectors.own:
            flat = pc.index_in(flat, value_set=read_ids(vectors.folder))
        out[filled] = flat.to_numpy()
        return out

    return Built(index.vectors.search, rows, about=_card(index))


def _card(index: Any) -> dict:
    return {name: value for name, value in index.card.items() if name not in HIDDEN}
