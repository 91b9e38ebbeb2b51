"""Choice of index kinds to build: a pure function of size, memory and the recall goal.

The rules come from `benchmarks/index.py`; docs/topics/search-index.md has the figures.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from vitrina.errors import StoreError
from vitrina.types import IndexKind

FLAT_NUMBERS = 16_000_000
"""Numbers (rows times dim) up to which exact search takes about a millisecond."""
GRAPH_ROWS = 100_000
"""Rows up to which building a graph is fast enough to try one."""
GRAPH_DIM = 256
"""Leading principal components that a graph is built and searched over, at most."""
CODE_DIM = 512
"""Dimensions that vectors are rotated to before quantisation, at most."""
NARROW = 96
"""Dimensions up to which product quantisation gains little."""
LINKS = 32


@dataclass(frozen=True)
class IndexPlan:
    """An index to build. factory: FAISS's factory string. bytes: its approximate size."""

    kind: IndexKind
    factory: str
    bytes: int


def plans(
    rows: int, dim: int, *, memory: int, recall: float, factory: str | None = None
) -> tuple[IndexPlan, ...]:
    """List the indexes to try; of several, the fastest that reaches the goal is kept.

    Args:
        rows: vectors to index.
        dim: their dimension.
        memory: maximum bytes of the index.
        recall: the share of the true nearest to find; 1 requires exact search.
        factory: a FAISS factory string to use as is.

    Raises StoreError if nothing fits the memory.
    """
    if factory is not None:
        return (IndexPlan(kind_of(factory), factory, 0),)
    flat = IndexPlan(IndexKind.FLAT, "Flat", 4 * rows * dim)
    if flat.bytes <= memory and (rows * dim <= FLAT_NUMBERS or recall >= 1):
        return (flat,)
    lists = min(rows, 2 ** round(math.log2(4 * math.sqrt(rows))))
    candidates = [
        IndexPlan(IndexKind.IVF_FLAT, f"IVF{lists},SQfp16", rows * (2 * dim + 8))
        if dim <= NARROW
        else _quantised(rows, dim, lists, memory)
    ]
    if rows <= GRAPH_ROWS:
        size = min(GRAPH_DIM, dim)
        reduced = f"PCA{size}," if size < dim else ""
        # Each row has twice as many links on the bottom level.
        candidates.append(
            IndexPlan(IndexKind.HNSW, f"{reduced}HNSW{LINKS},SQ8", rows * (size + 8 * LINKS + 16))
        )
    fit = tuple(plan for plan in candidates if plan.bytes <= memory)
    if not fit:
        exact = [flat] if rows * dim <= FLAT_NUMBERS or recall >= 1 else []
        least = math.ceil(min(plan.bytes for plan in candidates + exact) / 1e6)
        raise StoreError(
            f"no index of {rows} vectors of {dim} fits into {memory / 1e6:.0f} MB; give it at "
            f"least {least} MB with --memory"
        )
    return fit


def _quantised(rows: int, dim: int, lists: int, memory: int) -> IndexPlan:
    """Plan IVF-PQ with the longest codes that fit, or else the shortest: 4 bits per 2, 4 or 8
    dimensions."""
    size = min(dim, CODE_DIM) // 16 * 16
    for width in (2, 4, 8):
        parts = size // width
        # FAISS pads codes to two parts, keeps an id of 8 bytes, and blocks of 32 rows per list.
        cost = (rows + 16 * lists) * (parts // 2) + 8 * rows + 4 * size * (lists + dim)
        plan = IndexPlan(IndexKind.IVF_PQ, f"OPQ{parts}_{size},IVF{lists},PQ{parts}x4fs", cost)
        if cost <= memory:
            break
    return plan


def kind_of(factory: str) -> IndexKind:
    """The kind of index that a factory string creates."""
    if "HNSW" in re.sub(r"IVF\d+_HNSW\d*", "", factory):
        return IndexKind.HNSW
    if "IVF" in factory:
        return IndexKind.IVF_PQ if re.search(r"PQ|RaBitQ", factory) else IndexKind.IVF_FLAT
    return IndexKind.FLAT if factory == "Flat" else IndexKind.OTHER
