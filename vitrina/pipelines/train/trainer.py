"""Training of an ensemble: fit base models, evaluate them held out, choose a fusion, refit."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from vitrina.classifier.fit import NO_ROWS, FitOptions
from vitrina.classifier.fusion import VOTE, fallback_models, kinds_of, members_of
from vitrina.classifier.heads import Head
from vitrina.classifier.metrics import Metrics, difference, evaluate
from vitrina.classifier.tree import CategoryTree
from vitrina.data.split import Split, draw_by_group
from vitrina.errors import TrainingError
from vitrina.index.vote import DEFAULT_RULE, VoteRule, vote
from vitrina.pipelines.common.progress import Meter
from vitrina.pipelines.common.store_split import StoreSplit
from vitrina.pipelines.index.vote_rules import choose_rule
from vitrina.pipelines.train.base_models import (
    Ensemble,
    NeighbourVoter,
    fit_heads,
    planned,
    present_of,
)
from vitrina.pipelines.train.cross_validation import (
    SCARCE,
    FittedFold,
    Fold,
    cross_validation_folds,
    near_of,
    scores_of,
)
from vitrina.pipelines.train.evaluation import EvaluationResult, EvaluationSet
from vitrina.pipelines.train.options import TrainOptions
from vitrina.pipelines.train.report import Compared, SingleModality
from vitrina.stage_timer import stage
from vitrina.store.gather import Gathered
from vitrina.store.products import Categories
from vitrina.types import (
    Codes,
    Features,
    Floats,
    FusionKind,
    Mask,
    Modality,
)

log = logging.getLogger(__name__)

EVALUATED_VALUES = 1 << 25
"""Scores of evaluation rows that one base model may give: 128 MiB."""
SAMPLED = 20_000
"""Most training rows to measure on."""
BLOCK_ROWS = 8192
LEAST_EVALUATED = 1000
"""Lower bound on the evaluation rows, over the limits of memory and time."""
VOTE_PAIRS = 2_000_000_000
"""Pairs of an evaluation row and a training row to compare: a minute or two."""


@dataclass(eq=False)
class HeadTrainer:
    """Trainer of the base models of one ensemble; `learn` fills in the results.

    Attributes:
        gathered: the vectors of every product.
        codes: (n,) int64 class of each product, -1 for no label or no vector.
        labels: the categories behind the classes.
        parted, split: the store split, and its train and validation rows that have vectors.
        features: the modalities that are used.
        options: of the training.
        seen: (n,) bool, products that an encoder was trained on: neither they nor their copies
            become test rows.
        whitened: modalities whose vectors are whitened for the vote; None, before `fit`, for those
            that lie in a narrow cone.
        judged: evaluation result of the kind of fusion that was chosen.
        compared, alone: scores of all kinds of fusion, with `options.compare`; of each modality
            alone, if there are several.
        served: the heads of the final model.
        rule: of the neighbours' vote, None if it is no base model.
        train, vote: metrics of the heads on training rows; of the vote by the default rule on
            evaluation rows.
        folds: their test rows, fold by fold, are the rows of `judged`, in its order.
    """

    gathered: Gathered
    codes: Codes
    labels: Categories
    store_split: StoreSplit
    split: Split
    features: Features
    options: TrainOptions
    seen: Mask
    whitened: tuple[Modality, ...] | None = None
    judged: EvaluationResult = field(init=False)
    compared: tuple[Compared, ...] = ()
    alone: tuple[SingleModality, ...] = ()
    served: dict[str, Head] = field(default_factory=dict)
    rule: VoteRule | None = None
    train: Metrics = field(init=False)
    vote: Metrics = field(init=False)
    folds: list[Fold] = field(default_factory=list)

    @property
    def classes(self) -> int:
        """Number of categories."""
        return len(self.labels.ids)

    def fit(self) -> None:
        """Fit the base models on each fold, evaluate and choose the fusion, then refit if wanted.

        Raises TrainingError if the fusion needs a modality that `features` lacks.
        """
        possible = kinds_of(self.features)
        if self.options.fusion not in possible:
            raise TrainingError(
                f"{self.options.fusion} fusion needs text and image vectors; over {self.features} "
                f"there are {' and '.join(possible)}"
            )
        kinds = possible if self.options.compare else (self.options.fusion,)
        names = self._base_models(kinds)
        folds = [Fold(self.split.train, self._evaluation_rows())]
        if len(folds[0].test_rows) == len(self.split.validation) < SCARCE:
            free = ~np.isin(self.store_split.groups, self.store_split.groups[self.seen])
            folds = cross_validation_folds(
                folds[0], self.codes, self.store_split, free, self.options.seed
            )
        self.folds = folds
        if len(folds) > 1:
            log.info(
                "%d validation products are few: evaluating in %d folds, each by heads that were "
                "not trained on them",
                len(folds[0].test_rows),
                len(folds),
            )
        final = np.flatnonzero(self.codes >= 0)
        fit = FitOptions(
            kind=self.options.head,
            epochs=self.options.epochs,
            balance=self.options.balance,
            patience=self.options.patience,
            seed=self.options.seed,
        )
        total = sum(
            planned(self.gathered, fold.train_rows, self.classes, names, fit) for fold in folds
        )
        if self.options.refit:
            # The final base models are not known yet: at least those of the simplest fusion.
            simplest = self._base_models(kinds[:1])
            total += planned(self.gathered, final, self.classes, simplest, fit)
        title = f"training the {self.features} {self.options.head} head"
        rows, quiet = len(self.split.train), self.options.quiet
        with Meter(title, total, quiet=quiet, per_pass=rows) as meter:
            with stage("training heads"):
                fitted = [
                    FittedFold(
                        self._fit(fold.train_rows, names, fit, meter),
                        self._voters(fold.train_rows),
                        fold.test_rows,
                    )
                    for fold in folds
                ]
            with stage("measuring"):
                self._evaluate(kinds, fitted)
            log.info("fusion: %s, weights %s", self.evaluation.kind, self._weights_line())
            wanted = [name for name in self.evaluation.blend.members if name != VOTE]
            self.served = {name: fitted[0].heads[name] for name in wanted}
            if self.options.refit:
                with stage("training on all"):
                    self.served = self._fit(final, wanted, fit, meter)

    def _weights_line(self) -> str:
        weights = positive_weights(self.evaluation, self.features)
        return ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())

    def _fit(
        self, rows: Codes, names: Iterable[str], fit: FitOptions, meter: Meter
    ) -> dict[str, Head]:
        # The early-stopping split of the rows, if patience is set.
        stopping = (
            self.store_split.early_stopping_split(rows, self.options.seed)[1]
            if self.options.patience
            else NO_ROWS
        )
        return fit_heads(
            self.gathered, self.codes, rows, self.classes, names, fit, meter.advance, stopping
        )

    def _voters(self, rows: Codes) -> NeighbourVoter:
        voters = NeighbourVoter(
            self.gathered, self.codes, np.sort(rows), self.classes, self.whitened
        )
        # Scores of all folds, and of the index, are of one kind.
        self.whitened = voters.vectors.whitened
        return voters

    def _base_models(self, kinds: tuple[FusionKind, ...]) -> tuple[str, ...]:
        """The base models of some kinds of fusion."""
        return tuple(
            dict.fromkeys(
                name
                for kind in kinds
                for name in (
                    *members_of(kind, self.features),
                    *fallback_models(kind, self.features),
                )
            )
        )

    def _evaluate(self, kinds: tuple[FusionKind, ...], fitted: list[FittedFold]) -> None:
        rows = np.concatenate([one.test_rows for one in fitted])
        near = near_of(fitted)
        self.vote = self._vote(rows, near)
        if any(VOTE in members_of(kind, self.features) for kind in kinds):
            self.rule = choose_rule(
                self.codes[rows],
                *near,
                self.classes,
                seed=self.options.seed,
                counts=_counts(fitted),
            )
        scores = {self.features: scores_of(fitted, self.rule)}
        if len(self.features.modalities) > 1:
            for one, other in (self.features.modalities, self.features.modalities[::-1]):
                without = self.gathered.without(other)
                scores[Features(one)] = scores_of(fitted, self.rule, without)
        evaluation = EvaluationSet(
            features=self.features,
            scores=scores,
            present=present_of(self.gathered, rows),
            true=self.codes[rows],
            groups=self.store_split.groups[rows],
            tree=CategoryTree.of(self.labels.names),
            precision=self.options.precision,
            seed=self.options.seed,
        )
        found = {kind: evaluation.judge(kind) for kind in kinds}
        self.evaluation = self._choose(found)
        if len(self.features.modalities) > 1:
            self.alone = tuple(
                self._single_modality(evaluation, one)
                for one in self.features.modalities
                if one in fitted[0].heads
            )
        if VOTE not in self.evaluation.blend.members:
            self.rule = None
        self.train = self._on_train(fitted[0].members(None))

    def _evaluation_rows(self) -> Codes:
        """The evaluation rows: all validation rows or, of very many, a sample by groups."""
        rows = self.split.validation
        most = min(EVALUATED_VALUES // self.classes, VOTE_PAIRS // len(self.split.train))
        most = max(LEAST_EVALUATED, most)
        if len(rows) <= most:
            return rows
        draws = draw_by_group(
            self.store_split.groups[rows], self.store_split.keys[rows], self.options.seed, 2
        )
        order = np.argsort(draws, kind="stable")
        return np.sort(rows[order[:most]])

    def _choose(self, found: dict[FusionKind, EvaluationResult]) -> EvaluationResult:
        """The best result, or the simplest that is not significantly worse."""
        if not self.options.compare:
            (only,) = found.values()
            return only
        best = max(found.values(), key=lambda one: one.metrics.weighted_f1)
        compared = []
        for kind, one in found.items():
            behind = difference(
                best.true,
                best.decided.chosen,
                one.decided.chosen,
                classes=self.classes,
                seed=self.options.seed,
            )
            compared.append(
                Compared(kind, one.metrics, one.error, behind, positive_weights(one, self.features))
            )
        self.compared = tuple(compared)
        simplest = next(one for one in compared if one.behind.low <= 0)
        return found[simplest.fusion]

    def _single_modality(self, evaluation: EvaluationSet, modality: Modality) -> SingleModality:
        predicted = evaluation.scores[self.features][modality].argmax(axis=1)
        chosen = np.where(evaluation.present[modality], predicted, -1)
        metrics = evaluate(evaluation.true, chosen, None, classes=self.classes)
        ahead = difference(
            evaluation.true,
            self.evaluation.decided.chosen,
            chosen,
            classes=self.classes,
            seed=self.options.seed,
        )
        return SingleModality(modality, metrics, ahead)

    def _on_train(self, heads: Ensemble) -> Metrics:
        """Metrics of the heads on training rows. The vote is left out: a row would find itself."""
        rows = self.split.train
        if len(rows) > SAMPLED:
            rng = np.random.default_rng([self.options.seed, SAMPLED])
            rows = np.sort(rng.choice(rows, SAMPLED, replace=False))
        chosen = []
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            parts = heads.scores(self.gathered, block)
            logits = self.evaluation.blend.logits(parts, present_of(self.gathered, block))
            chosen.append(logits.argmax(axis=1))
        return evaluate(
            self.codes[rows], np.concatenate(chosen), None, classes=self.classes, bootstrap=50
        )

    def _vote(self, rows: Codes, near: tuple[Codes, Floats]) -> Metrics:
        cast = vote(*near, classes=self.classes, rule=DEFAULT_RULE)
        return evaluate(self.codes[rows], cast.codes, cast.shares, classes=self.classes)


def _counts(fitted: list[FittedFold]) -> Codes:
    """(classes,) int64: train rows of each class in the first fold; for a class without any there,
    the most that it has in another fold."""
    first, *others = (one.voters.counts for one in fitted)
    return np.where(first > 0, first, np.max([first, *others], axis=0))


def positive_weights(judged: EvaluationResult, features: Features) -> dict[str, float]:
    """Weights above 0 of the base models, by name, for products with all modalities."""
    weights = judged.blend.weights[features].tolist()
    pairs = zip(judged.blend.members, weights, strict=True)
    return {name: weight for name, weight in pairs if weight > 0}
