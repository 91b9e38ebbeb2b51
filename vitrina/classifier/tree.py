"""Categories as a tree: what a classifier of its leaves says of their ancestors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrina.types import Codes, Floats, Mask

ARROW = "->"
"""What stands between the parts of a category's path."""
LEVELS = 64
"""Parts of a path that are told apart, at most: the rest of a longer one is its last part."""


@dataclass(frozen=True, eq=False)
class CategoryTree:
    """The tree that category paths make.

    A category without a path stands alone at the top. What every path begins with ("All
    categories") tells nothing, and is no ancestor.

    Attributes:
        paths: (nodes,) each node's path, parents before their children.
        parents: (nodes,) int64, -1 at the top.
        levels: (nodes,) int64, 1 at the top.
        nodes: (classes,) int64, where each class stands; two of one path stand together.
    """

    paths: tuple[str, ...]
    parents: Codes
    levels: Codes
    nodes: Codes

    @classmethod
    def of(cls, names: Sequence[str | None]) -> CategoryTree:
        """names: of every class, its parts joined by `ARROW`; empty or None for none."""
        split = [_parts(name) for name in names]
        common = common_root([parts for parts in split if parts])
        known: dict[tuple[str, ...], int] = {}
        parents: list[int] = []
        nodes = []
        for number, parts in enumerate(split):
            # No path is like that of one without any.
            ways = [parts[:end] for end in range(common + 1, len(parts) + 1)] or [("", str(number))]
            parent = -1
            for way in ways:
                if way not in known:
                    known[way] = len(known)
                    parents.append(parent)
                parent = known[way]
            nodes.append(parent)
        paths = tuple("" if way[0] == "" else ARROW.join(way) for way in known)
        levels = [1 if way[0] == "" else len(way) - common for way in known]
        return cls(paths, *(np.array(one, dtype=np.int64) for one in (parents, levels, nodes)))

    @property
    def depth(self) -> int:
        """The level of the lowest node."""
        return int(self.levels.max(initial=1))

    @cached_property
    def above(self) -> Codes:
        """(nodes, depth) int64: each node, its parent, and so on; -1 past the top."""
        out = np.full((len(self.parents), self.depth), -1, dtype=np.int64)
        out[:, 0] = np.arange(len(self.parents))
        for step in range(1, self.depth):
            below = out[:, step - 1]
            out[:, step] = np.where(below >= 0, self.parents[below], -1)
        return out

    @cached_property
    def lines(self) -> Codes:
        """(classes, depth) int64: the same of each class's node."""
        return self.above[self.nodes]

    def shares(self, probabilities: Floats, lines: Codes) -> Floats:
        """The probability of some nodes: the sum over all classes that stand at or below each.

        probabilities: (n, classes). lines: (n, steps) int64 nodes, -1 for none. Returns float32
        of that shape, 0 for none.
        """
        order, starts, stops = self._ranges
        sums = np.zeros((len(probabilities), len(order) + 1))
        np.cumsum(probabilities[:, order], axis=1, dtype=np.float64, out=sums[:, 1:])
        rows = np.arange(len(lines))[:, None]
        found = sums[rows, stops[lines]] - sums[rows, starts[lines]]
        shares: Floats = np.where(lines >= 0, found, 0).clip(0, 1).astype(np.float32)
        return shares

    def holds(self, lines: Codes, true: Codes) -> Mask:
        """Whether the true class stands at or below each node: bool, of the shape of `lines`.

        lines: (n, steps) int64 nodes, -1 for none. true: (n,) int64 classes, -1 for none.
        """
        chains = np.where(true[:, None] >= 0, self.lines[true], -1)
        found: Mask = (lines[:, :, None] == chains[:, None, :]).any(axis=2) & (lines >= 0)
        return found

    @cached_property
    def _ranges(self) -> tuple[Codes, Codes, Codes]:
        """An order of classes in which those of one node stand together; where each node's begin
        and end in it."""
        place = np.empty(len(self.parents), dtype=np.int64)
        children: list[list[int]] = [[] for _ in self.parents]
        tops: list[int] = []
        for node, parent in enumerate(self.parents.tolist()):
            (children[parent] if parent >= 0 else tops).append(node)
        waiting, count = tops[::-1], 0
        while waiting:
            node = waiting.pop()
            place[node], count = count, count + 1
            waiting += children[node][::-1]
        order = np.argsort(place[self.nodes], kind="stable")
        sizes = np.bincount(self.nodes, minlength=len(place))
        # Parents stand before their children, so that from the end all are complete.
        for node in range(len(place) - 1, -1, -1):
            if self.parents[node] >= 0:
                sizes[self.parents[node]] += sizes[node]
        starts = np.searchsorted(place[self.nodes][order], place)
        return order, starts, starts + sizes


def _parts(name: str | None) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in (name or "").split(ARROW, LEVELS - 1))
    return tuple(part for part in parts if part)


def common_root(paths: Sequence[tuple[str, ...]]) -> int:
    """How many parts all paths begin with, the last of each not counted."""
    if len(paths) < 2:
        return 0
    first, last = min(paths), max(paths)
    most = min(len(path) for path in paths) - 1
    return next((at for at in range(most) if first[at] != last[at]), most)
