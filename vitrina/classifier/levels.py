"""How good predictions are in a tree of categories: by level, and as one hierarchical F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrina.classifier.metrics import evaluate
from vitrina.classifier.tree import CategoryTree
from vitrina.types import Codes


@dataclass(frozen=True)
class LevelMetrics:
    """How well one level of the tree is told. level: 1 at the top. nodes: how many there are, a
    shallower category standing in for itself below its own level."""

    level: int
    nodes: int
    weighted_f1: float
    accuracy: float


def by_level(tree: CategoryTree, true: Codes, predicted: Codes) -> tuple[LevelMetrics, ...]:
    """Metrics of each level, top first. true, predicted: (n,) int64 classes; -1 in `predicted` for
    no prediction."""
    out = []
    for level in range(1, tree.depth + 1):
        ancestors = _at(tree, level)
        seen = np.where(predicted >= 0, ancestors[predicted], -1)
        found = evaluate(ancestors[true], seen, None, classes=len(tree.parents), bootstrap=1)
        nodes = len(np.unique(ancestors))
        out.append(LevelMetrics(level, nodes, found.weighted_f1, found.accuracy))
    return tuple(out)


def hierarchical_f1(tree: CategoryTree, true: Codes, nodes: Codes) -> float:
    """F1 over all ancestors at once: a prediction in the right branch is half right (Kiritchenko et
    al., "Functional annotation of genes using hierarchical text categorization", 2005).

    true: (n,) int64 classes. nodes: (n,) int64 predicted nodes, -1 for none. Returns from 0 to 1;
    0 where nothing was predicted.
    """
    truly = tree.levels[tree.nodes[true]].sum()
    said = np.where(nodes >= 0, tree.levels[nodes], 0).sum()
    both = tree.holds(np.where(nodes[:, None] >= 0, tree.above[nodes], -1), true).sum()
    return float(2 * both / (truly + said)) if both else 0.0


def _at(tree: CategoryTree, level: int) -> Codes:
    """Each class's ancestor at a level, or itself where it stands higher: (classes,) int64."""
    up = np.maximum(tree.levels[tree.nodes] - level, 0)
    ancestors: Codes = tree.lines[np.arange(len(up)), up]
    return ancestors
