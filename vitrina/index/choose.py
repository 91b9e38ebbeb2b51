"""Which kinds of index are worth building: a pure function of size, memory and the recall goal.

The rules come from `benchmarks/index.py`; docs/index.md has the figures.
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
"""Rows up to which a graph is built quickly enough to be tried."""
GRAPH_DIM = 256
"""A graph is walked over that many leading principal components."""
CODE_DIM = 512
"""Vectors are rotated to that many dimensions, at most, before they are quantised."""
NARROW = 96
"""Vectors up to this length gain little from product quantisation."""
LINKS = 32


@dataclass(frozen=True)
class IndexPlan:
    """An index to build. factory: FAISS's factory string. bytes: what it will take, about."""

    kind: IndexKind
    factory: str
    bytes: int


def plans(
    rows: int, dim: int, *, memory: int, recall: float, factory: str | None = None
) -> tuple[IndexPlan, ...]:
    """The indexes to try; where there are several, the fastest that reaches the goal is kept.

    Args:
        rows: vectors to index.
        dim: their length.
        memory: bytes that the index may take.
        recall: the share of the true nearest that it should find; 1 asks for exact search.
        factory: a FAISS factory string, to be taken as it is.

    Raises StoreError if nothing fits the memory.
    """
    if factory is not None:
        return (IndexPlan(kind_of(factory), factory, 0),)
    flat = IndexPlan(IndexKind.FLAT, "Flat", 4 * rows * dim)
    if flat.bytes <= memory and (rows * dim <= FLAT_NUMBERS or recall >= 1):
        return (flat,)
    lists = min(rows, 2 ** round(math.log2(4 * math.sqrt(rows))))
    found = [
        IndexPlan(IndexKind.IVF_FLAT, f"IVF{lists},SQfp16", rows * (2 * dim + 8))
        if dim <= NARROW
        else _quantised(rows, dim, lists, memory)
    ]
    if rows <= GRAPH_ROWS:
        size = min(GRAPH_DIM, dim)
        reduced = f"PCA{size}," if size < dim else ""
        # Each row has twice as many links on the ground level.
        found.append(
            IndexPlan(IndexKind.HNSW, f"{reduced}HNSW{LINKS},SQ8", rows * (size + 8 * LINKS + 16))
        )
    fit = tuple(plan for plan in found if plan.bytes <= memory)
    if not fit:
        exact = [flat] if rows * dim <= FLAT_NUMBERS or recall >= 1 else []
        least = math.ceil(min(plan.bytes for plan in found + exact) / 1e6)
        raise StoreError(
            f"no index of {rows} vectors of {dim} fits into {memory / 1e6:.0f} MB; give it at "
            f"least {least} MB with --memory"
        )
    return fit


def _quantised(rows: int, dim: int, lists: int, memory: int) -> IndexPlan:
    """IVF-PQ with the longest codes that fit, or else the shortest: 4 bits for every 2, 4 or 8
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
    """What kind a factory string makes."""
    if "HNSW" in re.sub(r"IVF\d+_HNSW\d*", "", factory):
        return IndexKind.HNSW
    if "IVF" in factory:
        return IndexKind.IVF_PQ if re.search(r"PQ|RaBitQ", factory) else IndexKind.IVF_FLAT
    return IndexKind.FLAT if factory == "Flat" else IndexKind.OTHER
