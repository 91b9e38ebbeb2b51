"""Builds an index over a store's vectors, measures it against exact search, writes it down."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import StoreError
from vitrina.index.fuse import fuse
from vitrina.store.files import checksum, making_folder, write_json
from vitrina.store.gather import Gathered
from vitrina.types import Codes, Features, Floats, Modality, Vectors

INDEX_FILE = "index.faiss"
IDS_FILE = "ids.parquet"
CARD_FILE = "index.json"

BLOCK_ROWS = 8192
RECALL_AT = 10
RECALL_QUERIES = 200
NOISE = 0.5
"""Length of the noise added to a unit vector, so that a query is near the data but not in it."""
TIE = 1e-5
"""Scores closer than this are equal: float32 sums over a thousand terms differ by about 1e-6."""


@dataclass(frozen=True, eq=False)
class BuiltIndex:
    """An index in memory. index: over inner products, (n, dim). ids: (n,) in its row order.
    modalities and weights: what its vectors are made of, in that order. recall: the share of
    the exact `RECALL_AT` nearest that it finds, as measured."""

    index: faiss.Index
    ids: pa.Array
    factory: str
    parameters: Mapping[str, Any]
    modalities: tuple[Modality, ...]
    weights: tuple[float, ...]
    recall: float
    seconds: float


def build_flat(
    gathered: Gathered, ids: pa.Array, *, weights: Sequence[float], seed: int = 0
) -> BuiltIndex:
    """Build an exact index, and measure its recall all the same.

    Args:
        gathered: the vectors of every product.
        ids: (n,) product ids in the same order.
        weights: one positive number per modality of `gathered`.
        seed: decides which products the recall is measured around.

    Products without any vector are left out. Raises StoreError if that leaves none, and
    ValueError if `ids` or `weights` don't fit `gathered`.
    """
    if len(ids) != len(gathered.present[0]):
        raise ValueError(f"{len(ids)} ids for {len(gathered.present[0])} gathered products")
    start = time.perf_counter()
    index = faiss.IndexFlatIP(sum(gathered.dims))
    kept = []
    for rows, vectors in _blocks(gathered, weights):
        index.add(vectors)
        kept.append(rows)
    if not index.ntotal:
        names = " or ".join(gathered.modalities)
        raise StoreError(f"no product has a {names} vector to index; run `vitrina embed` first")
    seconds = time.perf_counter() - start
    rows = np.concatenate(kept)
    return BuiltIndex(
        index,
        ids.take(pa.array(rows)),
        "Flat",
        {},
        gathered.modalities,
        tuple(float(weight) for weight in weights),
        _recall(index, rows, gathered, weights, seed),
        seconds,
    )


def write_index(
    folder: Path,
    built: BuiltIndex,
    *,
    features: Features,
    spaces: Mapping[Modality, str],
    fingerprints: Mapping[Modality, str],
) -> dict[str, Any]:
    """Write `index.faiss`, `ids.parquet` and `index.json` into a folder that appears whole.

    spaces and fingerprints: the name and the fingerprint behind each of `built.modalities`.
    Returns what `index.json` holds. Raises KeyError if a modality's is missing.
    """
    card: dict[str, Any] = {
        "features": features.value,
        "factory": built.factory,
        "parameters": dict(built.parameters),
        "metric": "inner product",
        "dim": built.index.d,
        "rows": len(built.ids),
        # A list, because the keys below are sorted and the vectors' order is text first.
        "modalities": [modality.value for modality in built.modalities],
        "weights": dict(zip(built.modalities, built.weights, strict=True)),
        "spaces": {modality.value: spaces[modality] for modality in built.modalities},
        "fingerprints": {modality.value: fingerprints[modality] for modality in built.modalities},
        "recall": {"at": RECALL_AT, "value": built.recall},
        "build_seconds": round(built.seconds, 3),
    }
    with making_folder(folder) as temporary:
        _write(built.index, temporary / INDEX_FILE)
        table = pa.table({"product_id": built.ids})
        pq.write_table(table, temporary / IDS_FILE, compression="zstd")
        files = [temporary / INDEX_FILE, temporary / IDS_FILE]
        card["bytes"] = sum(file.stat().st_size for file in files)
        card["sha256"] = {file.name: checksum(file) for file in files}
        write_json(temporary / CARD_FILE, card)
    return card


def _write(index: faiss.Index, path: Path) -> None:
    # FAISS takes no notice when the last of a file does not fit on the disk.
    with path.open("wb") as file:
        writer = faiss.PyCallbackIOWriter(file.write)  # type: ignore[attr-defined]
        faiss.write_index(index, writer)


def _blocks(gathered: Gathered, weights: Sequence[float]) -> Iterator[tuple[Codes, Vectors]]:
    """Stream the products that go into the index: (m,) rows of `gathered`, (m, dim) vectors."""
    rows = np.flatnonzero(gathered.any_present())
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        vectors = fuse(*gathered.blocks(block), weights)
        # An encoder may give zeros for content it knows nothing of: that is like none at all.
        known = vectors.any(axis=1)
        yield block[known], vectors[known]


def _recall(
    index: faiss.Index, rows: Codes, gathered: Gathered, weights: Sequence[float], seed: int
) -> float:
    """Share of the nearest that the index finds, against inner products taken by numpy.

    Scores are compared, not ids: of products at one distance, any is as right as another.
    """
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(rows, min(RECALL_QUERIES, len(rows)), replace=False))
    queries = fuse(*gathered.blocks(sample), weights)
    noise = rng.standard_normal(queries.shape, dtype=np.float32)
    queries += noise * np.float32(NOISE / np.sqrt(queries.shape[1]))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)

    count = min(RECALL_AT, len(rows))
    best: Floats = np.empty((len(queries), 0), dtype=np.float32)
    for _, vectors in _blocks(gathered, weights):
        best = np.hstack([best, queries @ vectors.T])
        best = -np.partition(-best, min(count, best.shape[1]) - 1, axis=1)[:, :count]
    worst = best.min(axis=1, keepdims=True)

    _, found = index.search(queries, count)
    # An approximate index may return fewer, as -1, and its own scores are not to be trusted.
    vectors = fuse(*gathered.blocks(rows[found.ravel()]), weights).reshape(*found.shape, -1)
    scores = np.einsum("qd,qkd->qk", queries, vectors)
    return float(((found >= 0) & (scores >= worst - TIE)).mean())
