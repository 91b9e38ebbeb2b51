"""Category tree: probabilities of ancestors from those of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrina.types import Codes, Floats, Mask

ARROW = "->"
"""Separator between the parts of a category path."""
LEVELS = 64
"""Upper limit of parts in a path; the last part of a longer path holds the rest."""


@dataclass(frozen=True, eq=False)
class CategoryTree:
    """A tree built from category paths.

    A category without a path is a top-level node of its own. The common root of all paths ("All
    categories") carries no information and is left out.

    Attributes:
        paths: (nodes,) each node's path, parents before their children.
        parents: (nodes,) int64, -1 at the top.
        levels: (nodes,) int64, 1 at the top.
        nodes: (classes,) int64, each class's node; classes with one path share a node.
    """

    paths: tuple[str, ...]
    parents: Codes
    levels: Codes
    nodes: Codes

    @classmethod
    def of(cls, names: Sequence[str | None]) -> CategoryTree:
        """Build a tree. names: the path of every class, its parts joined by `ARROW`; empty or None
        for none."""
        split = [_parts(name) for name in names]
        common = common_root([parts for parts in split if parts])
        known: dict[tuple[str, ...], int] = {}
        parents: list[int] = []
        nodes = []
        for number, parts in enumerate(split):
            # Paths have no empty parts, so this key of a class without a path is unique.
            prefixes = [parts[:end] for end in range(common + 1, len(parts) + 1)] or [
                ("", str(number))
            ]
            parent = -1
            for prefix in prefixes:
                if prefix not in known:
                    known[prefix] = len(known)
                    parents.append(parent)
                parent = known[prefix]
            nodes.append(parent)
        paths = tuple("" if prefix[0] == "" else ARROW.join(prefix) for prefix in known)
        levels = [1 if prefix[0] == "" else len(prefix) - common for prefix in known]
        return cls(paths, *(np.array(one, dtype=np.int64) for one in (parents, levels, nodes)))

    @property
    def depth(self) -> int:
        """The number of levels."""
        return int(self.levels.max(initial=1))

    @cached_property
    def above(self) -> Codes:
        """Ancestor chains, (nodes, depth) int64: a node, its parent, and so on; -1 past the top."""
        out = np.full((len(self.parents), self.depth), -1, dtype=np.int64)
        out[:, 0] = np.arange(len(self.parents))
        for step in range(1, self.depth):
            below = out[:, step - 1]
            out[:, step] = np.where(below >= 0, self.parents[below], -1)
        return out

    @cached_property
    def lines(self) -> Codes:
        """The ancestor chain of each class's node: (classes, depth) int64."""
        return self.above[self.nodes]

    def shares(self, probabilities: Floats, lines: Codes) -> Floats:
        """Probabilities of nodes: each the sum over all classes at or below the node.

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
        """Mask of the nodes at or above the true class: bool, of the shape of `lines`.

        lines: (n, steps) int64 nodes, -1 for none. true: (n,) int64 classes, -1 for none.
        """
        chains = np.where(true[:, None] >= 0, self.lines[true], -1)
        found: Mask = (lines[:, :, None] == chains[:, None, :]).any(axis=2) & (lines >= 0)
        return found

    @cached_property
    def _ranges(self) -> tuple[Codes, Codes, Codes]:
        """An order of classes in which those at or below any node are contiguous, and each node's
        start and stop in it."""
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
        # Parents precede their children, so a backward pass adds only complete sizes.
        for node in range(len(place) - 1, -1, -1):
            if self.parents[node] >= 0:
                sizes[self.parents[node]] += sizes[node]
        starts = np.searchsorted(place[self.nodes][order], place)
        return order, starts, starts + sizes


def _parts(name: str | None) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in (name or "").split(ARROW, LEVELS - 1))
    return tuple(part for part in parts if part)


def common_root(paths: Sequence[tuple[str, ...]]) -> int:
    """Length of the common prefix of all paths, without the last part of any; 0 for one path."""
    if len(paths) < 2:
        return 0
    first, last = min(paths), max(paths)
    most = min(len(path) for path in paths) - 1
    return next((at for at in range(most) if first[at] != last[at]), most)
