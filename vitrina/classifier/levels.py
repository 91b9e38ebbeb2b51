"""Metrics in a category tree: by level, and hierarchical F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrina.classifier.metrics import evaluate
from vitrina.classifier.tree import CategoryTree
from vitrina.types import Codes


@dataclass(frozen=True)
class LevelMetrics:
    """Metrics of one level of the tree. level: 1 at the top. nodes: the number of nodes; below its
    own level, a shallower category counts as its own node."""

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
        predicted_nodes = np.where(predicted >= 0, ancestors[predicted], -1)
        found = evaluate(
            ancestors[true], predicted_nodes, None, classes=len(tree.parents), bootstrap=1
        )
        nodes = len(np.unique(ancestors))
        out.append(LevelMetrics(level, nodes, found.weighted_f1, found.accuracy))
    return tuple(out)


def hierarchical_f1(tree: CategoryTree, true: Codes, nodes: Codes) -> float:
    """F1 over all ancestors: a prediction in the right branch is partly right (Kiritchenko et
    al., "Functional annotation of genes using hierarchical text categorization", 2005).

    true: (n,) int64 classes. nodes: (n,) int64 predicted nodes, -1 for none. Returns from 0 to 1;
    0 if nothing was predicted.
    """
    true_count = tree.levels[tree.nodes[true]].sum()
    predicted_count = np.where(nodes >= 0, tree.levels[nodes], 0).sum()
    shared_count = tree.holds(np.where(nodes[:, None] >= 0, tree.above[nodes], -1), true).sum()
    return float(2 * shared_count / (true_count + predicted_count)) if shared_count else 0.0


def _at(tree: CategoryTree, level: int) -> Codes:
    """Each class's ancestor at a level, or its own node if that is higher: (classes,) int64."""
    up = np.maximum(tree.levels[tree.nodes] - level, 0)
    ancestors: Codes = tree.lines[np.arange(len(up)), up]
    return ancestors
