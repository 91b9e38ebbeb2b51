"""Evaluation of an ensemble on held-out rows: blend weights, calibration and thresholds.

The weights that combine the base models, the calibration and the thresholds are fitted on the
evaluation rows. These rows are cross-fitted: each fifth is scored with parameters fitted on the
other four. The final parameters are fitted on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrina.classifier.backoff import BackOff, HierarchicalPrediction
from vitrina.classifier.calibrate import (
    ReliabilityBin,
    error_by_chance,
    expected_calibration_error,
    reliability,
    softmax,
)
from vitrina.classifier.fusion import Blend, fallback_models, members_of
from vitrina.classifier.levels import LevelMetrics, by_level, hierarchical_f1
from vitrina.classifier.metrics import Metrics, evaluate
from vitrina.classifier.tree import CategoryTree
from vitrina.types import Codes, Features, Floats, FusionKind, Mask, Modality

FOLDS = 5


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Cross-fitted predictions of one kind of fusion for n evaluation rows.

    Attributes:
        kind: of fusion.
        blend, back_off: fitted on all rows, for the final model.
        true: (n,) int64 classes.
        decided: the prediction of each row, with parameters fitted on other rows.
        nodes: (n,) int64, the node of the tree that is accepted, -1 for none.
        plain: (n,) float32, the confidence of the first base model without calibration.
    """

    kind: FusionKind
    blend: Blend
    back_off: BackOff
    true: Codes
    decided: HierarchicalPrediction
    nodes: Codes
    plain: Floats

    @property
    def right(self) -> Mask:
        """(n,) bool: True if the likeliest category is the true one."""
        found: Mask = self.decided.chosen == self.true
        return found

    @cached_property
    def metrics(self) -> Metrics:
        """Metrics of the likeliest category."""
        return evaluate(
            self.true,
            self.decided.chosen,
            self.decided.confidence,
            classes=len(self.back_off.tree.nodes),
        )

    @cached_property
    def bins(self) -> tuple[ReliabilityBin, ...]:
        """The reliability diagram: accuracy by confidence."""
        return reliability(self.decided.confidence, self.right)

    @cached_property
    def bins_before(self) -> tuple[ReliabilityBin, ...]:
        """The reliability diagram without calibration."""
        return reliability(self.plain, self.right)

    @property
    def error(self) -> float:
        """The expected calibration error."""
        return expected_calibration_error(self.bins)

    @property
    def error_before(self) -> float:
        """The expected calibration error without calibration."""
        return expected_calibration_error(self.bins_before)

    @cached_property
    def error_by_chance(self) -> float:
        """The expected calibration error of as many perfectly calibrated predictions."""
        return error_by_chance(self.decided.confidence)

    @property
    def levels(self) -> tuple[LevelMetrics, ...]:
        """Metrics of each level of the tree."""
        return by_level(self.back_off.tree, self.true, self.decided.chosen)

    @property
    def hierarchical(self) -> float:
        """Hierarchical F1 of the likeliest category."""
        tree = self.back_off.tree
        return hierarchical_f1(tree, self.true, tree.nodes[self.decided.chosen])

    def let_through(self, steps: int | None = None) -> tuple[float, float]:
        """Coverage, the share of rows with an accepted category or ancestor, and their precision,
        NaN if no row is accepted. steps: most steps up to the ancestor; None for any."""
        let = self.decided.steps >= 0
        if steps is not None:
            let &= self.decided.steps <= steps
        if not let.any():
            return 0.0, float("nan")
        holds = self.back_off.tree.holds(self.nodes[let][:, None], self.true[let])[:, 0]
        return float(let.mean()), float(holds.mean())


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """The n evaluation rows, with the scores of the base models.

    features: the modalities that are used. scores: (n, classes) logits of each base model, by the
    modalities that it predicts from: all, and, of two, each alone. present: (n,) bool of each
    modality. true: (n,) int64 classes. groups: (n,) int64, rows of one group stay in one fold.
    precision: target precision of accepted predictions.
    """

    features: Features
    scores: Mapping[Features, Mapping[str, Floats]]
    present: Mapping[Modality, Mask]
    true: Codes
    groups: Codes
    tree: CategoryTree
    precision: float
    seed: int

    def judge(self, kind: FusionKind) -> EvaluationResult:
        """Evaluate one kind of fusion."""
        fold = self._folds
        natural = self.scores[self.features]
        cross_fitted = np.empty((len(self.true), len(self.tree.nodes)), dtype=np.float32)
        for number in range(FOLDS):
            blend, outer = self._blend(kind, fold != number), fold == number
            cross_fitted[outer] = _shares(blend, natural, self.present, outer)
        all_rows = np.ones(len(self.true), dtype=bool)
        blend = self._blend(kind, all_rows)
        served = _shares(blend, natural, self.present, all_rows)
        decided, nodes = self._decide(cross_fitted)
        return EvaluationResult(
            kind=kind,
            blend=blend,
            back_off=self._back_off(served, all_rows),
            true=self.true,
            decided=decided,
            nodes=nodes,
            plain=softmax(natural[blend.members[0]], 1.0).max(axis=1),
        )

    def _blend(self, kind: FusionKind, inner: Mask) -> Blend:
        members, stand_ins = members_of(kind, self.features), fallback_models(kind, self.features)
        scores = {}
        for features, parts in self.scores.items():
            there = [self.present[one] for one in features.modalities]
            rows = np.flatnonzero(np.logical_and.reduce([inner, *there]))
            scores[features] = (rows, {name: parts[name][rows] for name in (*members, *stand_ins)})
        return Blend.fit(members, scores, self.true, stand_ins)

    def _decide(self, shares: Floats) -> tuple[HierarchicalPrediction, Codes]:
        fold, count = self._folds, len(self.true)
        steps, nodes = np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64)
        sure = np.zeros(count, dtype=np.float32)
        for number in range(FOLDS):
            outer = fold == number
            back_off = self._back_off(shares, ~outer)
            found = back_off.decide(shares[outer])
            steps[outer], sure[outer], nodes[outer] = (
                found.steps,
                found.shares,
                back_off.nodes(found),
            )
        return HierarchicalPrediction(shares.argmax(axis=1), shares.max(axis=1), steps, sure), nodes

    def _back_off(self, shares: Floats, rows: Mask) -> BackOff:
        return BackOff.fit(
            self.tree,
            shares[rows],
            self.true[rows],
            self.precision,
            together=self.groups[rows],
            seed=self.seed,
        )

    @cached_property
    def _folds(self) -> Codes:
        first, members = np.unique(self.groups, return_inverse=True)
        return np.random.default_rng([self.seed, FOLDS]).integers(FOLDS, size=len(first))[members]


def _shares(
    blend: Blend, parts: Mapping[str, Floats], present: Mapping[Modality, Mask], rows: Mask
) -> Floats:
    chosen = {name: parts[name][rows] for name in blend.members}
    there = {one: mask[rows] for one, mask in present.items()}
    return softmax(blend.logits(chosen, there), 1.0)
