"""Plans of shards to embed and shards to merge, as pure functions.

A plan must not depend on where an earlier run was stopped. Row order and shard borders derive
from the product table alone, so the files of a resumed run are byte-identical to those of an
uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vitrina.types import Codes, Mask

SHARD_ROWS = 4096
"""Rows per shard of a space whose card names no other number."""
LARGE_SHARD_ROWS = 32_768
"""Rows per shard of a large space: an eighth of the files. A run that is killed encodes one shard
again, which on one core takes a few minutes with text, and a quarter of an hour with photos."""
LARGE_SPACE = 1_000_000
"""Number of products from which a new space is large."""
MOST_SHARD_ROWS = 1 << 17
"""Most rows of a shard, since its vectors are in memory at once: 430 MB at 824 float32 numbers."""

_BLOCK = 1 << 19
"""Hashes sorted at once, roughly."""
_NO_BLOCK = 128
"""Past the numbers of the blocks."""


def shard_rows(products: int) -> int:
    """Rows per shard of a new space. products: number of those that have its content."""
    return LARGE_SHARD_ROWS if products >= LARGE_SPACE else SHARD_ROWS


def first_positions(hashes: npt.NDArray[np.void]) -> Codes:
    """Find the first product with the same content as each product.

    hashes: (n,) 16-byte content hashes; all zero where the product has nothing to embed.
    Returns (n,) int64: the position of the first product with the same content, -1 for none.

    Takes about 13 bytes of memory per product, the result included.
    """
    pairs = hashes.view(np.uint64).reshape(-1, 2)
    first = np.arange(len(pairs), dtype=np.int64)
    missing = (pairs[:, 0] == 0) & (pairs[:, 1] == 0)
    # Hashes are evenly distributed, so a few bits of them divide them into blocks of one size.
    blocks = min(_NO_BLOCK, 1 << (len(pairs) // _BLOCK).bit_length())
    block_of = hashes.view(np.uint8).reshape(-1, hashes.itemsize)[:, 0] & np.uint8(blocks - 1)
    first[missing], block_of[missing] = -1, _NO_BLOCK
    for block in range(blocks):
        rows = np.flatnonzero(block_of == block)
        halves = pairs[rows, 0]
        order = np.argsort(halves)
        halves = halves[order]
        alike = halves[1:] == halves[:-1]
        if alike.any():
            twice = np.zeros(len(rows), dtype=bool)
            twice[1:] |= alike
            twice[:-1] |= alike
            same = np.sort(rows[order[twice]])
            first[same] = same[_first_of(pairs[same])]
    return first


def _first_of(pairs: npt.NDArray[np.uint64]) -> Codes:
    """The position of the first equal of each pair: (n,) int64. pairs: (n, 2)."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    ordered = pairs[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    # lexsort is stable, so the first of each run of equals is the earliest product.
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[starts][np.cumsum(starts) - 1]
    return first


def plan_shards(first: Codes, done: Mask, size: int = SHARD_ROWS) -> list[Codes]:
    """Split the remaining products into shards.

    first: (n,) from `first_positions`. done: (n,) bool, rows that need no work.
    Returns the product positions of each shard, at most `size` of them. Products of the same
    content are adjacent, so that a shard encodes each content once.
    """
    todo = np.flatnonzero(~done & (first >= 0))
    # The key is the first appearance among all products, done or not, so it does not depend on
    # how much is already done.
    keys = first[todo]
    if (keys[1:] < keys[:-1]).any():
        todo = todo[np.argsort(keys, kind="stable")]
    del keys
    return [todo[start : start + size] for start in range(0, len(todo), size)]


def plan_merges(rows: Sequence[int], live: Sequence[int], size: int) -> list[list[int]]:
    """Group neighbouring shards to merge.

    rows, live: total and live rows of each shard. size: maximum rows of a merged shard. Returns
    groups of shard numbers, in order and covering all. A fully live shard stays alone if it is at
    least half full, or has no neighbour to merge with. A group of several shards, or of one with
    dead rows, is to be rewritten.
    """
    groups: list[list[int]] = []
    pending = 0
    for number, (total, alive) in enumerate(zip(rows, live, strict=True)):
        good = alive == total and 2 * total >= size
        if groups and pending >= 0 and not good and pending + alive <= size:
            groups[-1].append(number)
            pending += alive
        else:
            groups.append([number])
            # Negative: no shard may join one that stays as it is.
            pending = -1 if good else alive
    return groups
