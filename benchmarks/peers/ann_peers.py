"""The indexes that Vitrina's is measured beside, each built and searched as its documents say.

Every one takes its vectors a block at a time, as float32, and answers with rows of the set. It
needs numpy and its own library alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from peers.ann_data import VectorSet, nearest

LISTS = 4096
POINTS_PER_LIST = 40
"""Training vectors for each centroid; FAISS asks for 39 to 256 of them."""
BREADTHS = tuple(2**power for power in range(4, 13))
"""What graphs are searched with: 16 to 4096 candidates kept."""


@dataclass(frozen=True)
class Built:
    """An index that is ready. search: (q, dim) float32 and k to an answer; this is what is timed.
    rows: an answer to (q, k) int64 rows of the set, -1 for none. save: writes the index to a file.
    choices: what `choose` may set its parameter of searching to, upwards; none where it has none.
    about: what else there is to say of it."""

    search: Callable[[np.ndarray, int], Any]
    rows: Callable[[Any], np.ndarray] = lambda answer: answer.astype(np.int64)
    save: Callable[[Path], None] | None = None
    choices: tuple[int, ...] = ()
    choose: Callable[[int], None] | None = None
    about: dict = field(default_factory=dict)


def exact(numpy: ModuleType, vectors: VectorSet, threads: int) -> Built:
    """Blocked products of matrices, all vectors held as float32. The environment tells BLAS how
    many threads to take."""
    del numpy, threads
    blocks = list(vectors.blocks())
    return Built(lambda queries, k: nearest(queries, blocks, k)[0])


def faiss_flat(faiss: Any, vectors: VectorSet, threads: int) -> Built:
    """FAISS's exact search."""
    faiss.omp_set_num_threads(threads)
    return _of_faiss(faiss, faiss.IndexFlatIP(vectors.dim), vectors)


def faiss_hnsw(faiss: Any, vectors: VectorSet, threads: int) -> Built:
    """`IndexHNSWFlat` of 32 links and its default efConstruction, 40."""
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(vectors.dim, 32, faiss.METRIC_INNER_PRODUCT)

    def choose(breadth: int) -> None:
        index.hnsw.efSearch = breadth

    about = {"M": 32, "efConstruction": index.hnsw.efConstruction}
    return _of_faiss(faiss, index, vectors, choices=BREADTHS, choose=choose, about=about)


def faiss_ivf(faiss: Any, vectors: VectorSet, threads: int) -> Built:
    """`IVF4096,Flat`; of a set too small for 4096 lists, the power of two above the fewest that
    FAISS's guide allows, 4 sqrt(n)."""
    faiss.omp_set_num_threads(threads)
    root = vectors.rows**0.5
    lists = LISTS if 16 * root >= LISTS else 1 << int(np.ceil(np.log2(4 * root)))
    factory = f"IVF{lists},Flat"
    index = faiss.index_factory(vectors.dim, factory, faiss.METRIC_INNER_PRODUCT)
    chosen = np.zeros(vectors.rows, dtype=bool)
    chosen[np.random.default_rng(0).permutation(vectors.rows)[: POINTS_PER_LIST * lists]] = True
    index.train(_of_rows(vectors, chosen))

    def choose(probes: int) -> None:
        index.nprobe = probes

    choices = tuple(2**power for power in range(lists.bit_length()))
    about = {"factory": factory, "training vectors": int(chosen.sum())}
    return _of_faiss(faiss, index, vectors, choices=choices, choose=choose, about=about)


def _of_rows(vectors: VectorSet, chosen: np.ndarray) -> np.ndarray:
    """Some rows, chosen by a mask: (m, dim) float32."""
    out = np.empty((np.count_nonzero(chosen), vectors.dim), dtype=np.float32)
    filled = 0
    for start, block in vectors.blocks():
        part = block[chosen[start : start + len(block)]]
        out[filled : filled + len(part)] = part
        filled += len(part)
    return out


def _of_faiss(faiss: Any, index: Any, vectors: VectorSet, **others: Any) -> Built:
    for _, block in vectors.blocks():
        index.add(block)
    return Built(
        search=lambda queries, k: index.search(queries, k)[1],
        save=lambda path: faiss.write_index(index, str(path)),
        **others,
    )


def hnswlib(library: Any, vectors: VectorSet, threads: int) -> Built:
    """hnswlib with its README's M and ef_construction."""
    index = library.Index(space="ip", dim=vectors.dim)
    index.init_index(max_elements=vectors.rows, M=16, ef_construction=200)
    for start, block in vectors.blocks():
        index.add_items(block, np.arange(start, start + len(block)), num_threads=threads)

    return Built(
        lambda queries, k: index.knn_query(queries, k=k, num_threads=threads)[0],
        save=lambda path: index.save_index(str(path)),
        choices=BREADTHS,
        choose=index.set_ef,
        about={"M": index.M, "ef_construction": index.ef_construction},
    )


def usearch(library: Any, vectors: VectorSet, threads: int) -> Built:
    """usearch with its defaults; in the numbers that it chooses for the processor."""
    index = library.Index(ndim=vectors.dim, metric="ip", connectivity=16, expansion_add=128)
    for start, block in vectors.blocks():
        index.add(np.arange(start, start + len(block)), block, threads=threads)

    def search(queries: np.ndarray, k: int) -> np.ndarray:
        # Of a single query it gives one row alone.
        return index.search(queries, k, threads=threads).keys.reshape(len(queries), -1)

    def choose(breadth: int) -> None:
        index.expansion_search = breadth

    about = {"dtype": str(index.dtype).rpartition(".")[2], "hardware": index.hardware_acceleration}
    about |= {"connectivity": index.connectivity, "expansion_add": index.expansion_add}
    return Built(
        search,
        save=lambda path: index.save(str(path)),
        choices=BREADTHS,
        choose=choose,
        about=about,
    )


PEERS: dict[str, tuple[str, Callable[[Any, VectorSet, int], Built]]] = {
    "exact": ("numpy", exact),
    "faiss-flat": ("faiss", faiss_flat),
    "faiss-hnsw": ("faiss", faiss_hnsw),
    "faiss-ivf": ("faiss", faiss_ivf),
    "hnswlib": ("hnswlib", hnswlib),
    "usearch": ("usearch.index", usearch),
}
"""By kind, the library to import and what builds the index with it."""
