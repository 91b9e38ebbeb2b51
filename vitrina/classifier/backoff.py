"""Hierarchical back-off: predict an ancestor if the category is too uncertain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from vitrina.classifier.metrics import NEVER
from vitrina.classifier.precision_thresholds import Thresholds, thresholds_at_precision
from vitrina.classifier.tree import CategoryTree
from vitrina.typed_json import Share
from vitrina.types import Codes, Floats

BLOCK_ROWS = 2048


@dataclass(frozen=True)
class ThresholdsCard:
    """Thresholds as `model.json` holds them; see `Thresholds`."""

    precision: Annotated[float, Meta(gt=0, lt=1)]
    coverage: Share
    reached: Share | None
    # The slack is for NEVER, which is rounded to float32.
    of: tuple[Annotated[float, Meta(ge=0, le=NEVER + 1e-6)], ...]


@dataclass(frozen=True, eq=False)
class HierarchicalPrediction:
    """Predictions, each with the lowest node of the tree that is accepted.

    chosen: (n,) int64, the most probable class. confidence: (n,) float32, its probability. steps:
    (n,) int64, the accepted node: 0 for the class itself, 1 for its parent, and so on; -1 for none.
    shares: (n,) float32, the probability of the accepted node; 0 for none.
    """

    chosen: Codes
    confidence: Floats
    steps: Codes
    shares: Floats


@dataclass(frozen=True, eq=False)
class BackOff:
    """Thresholds that move a prediction up the tree until it keeps a target precision.

    thresholds: the first by class, for the class itself; then one for each step up, by node of the
    tree. Raises ValueError for thresholds of another tree.
    """

    tree: CategoryTree
    thresholds: tuple[Thresholds, ...]

    def __post_init__(self) -> None:
        if len(self.thresholds) > self.tree.depth:
            raise ValueError(f"thresholds for {len(self.thresholds)} of {self.tree.depth} levels")
        wanted = len(self.tree.nodes)
        for one in self.thresholds:
            if len(one.of) != wanted:
                raise ValueError(f"{len(one.of)} thresholds for {wanted} categories")
            wanted = len(self.tree.parents)

    @classmethod
    def fit(
        cls,
        tree: CategoryTree,
        probabilities: Floats,
        true: Codes,
        precision: float,
        *,
        together: Codes | None = None,
        seed: int = 0,
    ) -> BackOff:
        """Choose thresholds, each step's on the rows that the steps below it did not accept.

        probabilities: (n, classes) calibrated, of rows that the classifier was not trained on.
        true: (n,) int64 classes. precision, together, seed: as in `thresholds_at_precision`.
        """
        chosen = probabilities.argmax(axis=1)
        confidence = probabilities.max(axis=1)
        groups = np.arange(len(true)) if together is None else together
        leaf = thresholds_at_precision(
            chosen,
            confidence,
            chosen == true,
            len(tree.nodes),
            precision,
            together=groups,
            seed=seed,
        )
        found = [leaf]
        lines = tree.lines[chosen]
        holds, shares = tree.holds(lines, true), _shares(tree, probabilities, lines)
        left = ~leaf.accept(chosen, confidence)
        for step in range(1, tree.depth):
            rows = np.flatnonzero(left & (lines[:, step] >= 0))
            if not len(rows):
                break
            one = thresholds_at_precision(
                lines[rows, step],
                shares[rows, step],
                holds[rows, step],
                len(tree.parents),
                precision,
                together=groups[rows],
                seed=seed,
            )
            found.append(one)
            left[rows] = ~one.accept(lines[rows, step], shares[rows, step])
        return cls(tree, tuple(found))

    def decide(self, probabilities: Floats) -> HierarchicalPrediction:
        """Accept each prediction at the lowest node that reaches its threshold.

        probabilities: (n, classes) float32, calibrated.
        """
        chosen = probabilities.argmax(axis=1).astype(np.int64)
        confidence = probabilities.max(axis=1)
        lines = self.tree.lines[chosen]
        shares = _shares(self.tree, probabilities, lines)
        steps = np.full(len(chosen), -1, dtype=np.int64)
        steps[self.thresholds[0].accept(chosen, confidence)] = 0
        for step, thresholds in enumerate(self.thresholds[1:], 1):
            node, share = lines[:, step], shares[:, step]
            steps[(steps < 0) & thresholds.accept(node, share)] = step
        accepted = np.where(steps > 0, shares[np.arange(len(steps)), steps], confidence)
        return HierarchicalPrediction(
            chosen, confidence, steps, np.where(steps >= 0, accepted, 0).astype(np.float32)
        )

    def nodes(self, decided: HierarchicalPrediction) -> Codes:
        """The accepted node of each prediction: (n,) int64, -1 for none."""
        lines = self.tree.lines[decided.chosen]
        node = lines[np.arange(len(lines)), np.maximum(decided.steps, 0)]
        found: Codes = np.where(decided.steps >= 0, node, -1)
        return found

    def to_json(self) -> list[dict[str, Any]]:
        """The thresholds and their precision as JSON values."""
        return [
            {
                "precision": one.precision,
                "coverage": one.coverage,
                "reached": None if np.isnan(one.reached) else one.reached,
                "of": one.of.tolist(),
            }
            for one in self.thresholds
        ]

    @classmethod
    def of(cls, tree: CategoryTree, cards: Sequence[ThresholdsCard]) -> BackOff:
        """Read what `to_json` wrote. Raises ValueError for thresholds of another tree."""
        return cls(
            tree,
            tuple(
                Thresholds(
                    one.precision,
                    np.array(one.of, dtype=np.float32),
                    one.coverage,
                    float("nan") if one.reached is None else one.reached,
                )
                for one in cards
            ),
        )


def _shares(tree: CategoryTree, probabilities: Floats, lines: Codes) -> Floats:
    parts = [
        tree.shares(probabilities[at : at + BLOCK_ROWS], lines[at : at + BLOCK_ROWS])
        for at in range(0, len(lines), BLOCK_ROWS)
    ]
    return np.concatenate(parts) if parts else np.zeros(lines.shape, dtype=np.float32)
