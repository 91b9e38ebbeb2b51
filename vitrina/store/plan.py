"""What is left to embed, and which shards to merge: pure functions over what is there.

A plan must not depend on where an earlier run was stopped: the order of the rows and the
borders of the shards come from the product table alone, so a run that goes on after a crash
writes the very files that an undisturbed one would have written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vitrina.types import Codes, Mask

SHARD_ROWS = 4096
"""Rows of a shard: what a killed run redoes at most."""


def first_positions(hashes: npt.NDArray[np.void]) -> Codes:
    """Where each product's content appears first.

    hashes: (n,) 16-byte content hashes; all zero where the product has nothing to embed.
    Returns (n,) int64: the position of the first product with the same content, -1 for none.
    """
    pairs = hashes.view(np.uint64).reshape(-1, 2)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    ordered = pairs[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    # lexsort is stable, so the first of each run of equals is the earliest product.
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[starts][np.cumsum(starts) - 1] if len(order) else order
    first[(pairs == 0).all(axis=1)] = -1
    return first


def plan_shards(first: Codes, done: Mask, size: int = SHARD_ROWS) -> list[Codes]:
    """Cut what is left into shards.

    first: (n,) from `first_positions`. done: (n,) bool, rows that need no work.
    Returns the product positions of each shard, at most `size` of them. Products of the same
    content stand together, so that a shard encodes each content once.
    """
    todo = np.flatnonzero(~done & (first >= 0))
    # The key is the first appearance among all products, done or not: it does not move when
    # part of the work is already behind.
    todo = todo[np.argsort(first[todo], kind="stable")]
    return [todo[start : start + size] for start in range(0, len(todo), size)]


def plan_merges(rows: Sequence[int], live: Sequence[int], size: int) -> list[list[int]]:
    """Which neighbouring shards become one.

    rows and live: of each shard, all its rows and those still needed. size: rows of a merged
    shard at most. Returns groups of shard numbers, in order and covering all. A shard that is
    all live stands alone where it is at least half full, or has no neighbour to join; any group
    of several, or of one with dead rows, is to be rewritten.
    """
    groups: list[list[int]] = []
    held = 0
    for number, (total, alive) in enumerate(zip(rows, live, strict=True)):
        good = alive == total and 2 * total >= size
        if groups and held >= 0 and not good and held + alive <= size:
            groups[-1].append(number)
            held += alive
        else:
            groups.append([number])
            # Below zero: nothing is to join a shard that may stay as it is.
            held = -1 if good else alive
    return groups
