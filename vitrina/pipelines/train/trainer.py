"""What a store's vectors teach: members fitted on training rows, judged, chosen, fitted on all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from vitrina.classifier.fit import NOBODY, FitOptions
from vitrina.classifier.fusion import VOTE, kinds_of, members_of, stand_ins_of
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
    near_of,
    scores_of,
    turns_of,
)
from vitrina.pipelines.train.evaluation import EvaluationResult, EvaluationSet
from vitrina.pipelines.train.report import Compared, SingleModality
from vitrina.stage_timer import stage
from vitrina.store.gather import Gathered
from vitrina.store.products import Categories
from vitrina.types import (
    Balance,
    Codes,
    Features,
    Floats,
    FusionKind,
    HeadKind,
    Mask,
    Modality,
    SplitKind,
)

JUDGED_VALUES = 1 << 25
"""Scores of judged rows that one member may give: 128 MiB."""
SAMPLED = 20_000
"""Training rows that are measured, at most."""
BLOCK_ROWS = 8192
LEAST_JUDGED = 1000
VOTE_PAIRS = 2_000_000_000
"""Pairs of a judged row and a training row that are compared: a minute or two."""


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    head: of all members. features: None for all that the store has. fusion: how members are put
    together. compare: judge all ways, and take the best, or the simplest that is as good.
    precision: what accepted predictions promise. balance: how rare categories are heard. refit:
    after judging, fit the heads that are saved on validation rows too. epochs: None for what suits.
    patience: how many of them that are no better, on rows kept apart, end a training; 0: any.
    """

    head: HeadKind = HeadKind.MLP
    features: Features | None = None
    fusion: FusionKind = FusionKind.EARLY
    compare: bool = False
    precision: float = 0.95
    balance: Balance = Balance.NONE
    split: SplitKind = SplitKind.GROUPED
    name: str | None = None
    refit: bool = True
    epochs: int | None = None
    patience: int = 0
    seed: int = 0
    quiet: bool = True

    def __post_init__(self) -> None:
        """Raise TrainingError for what can't be."""
        if not 0 < self.precision < 1:
            raise TrainingError(f"a precision lies between 0 and 1, not at {self.precision}")


@dataclass(eq=False)
class HeadTrainer:
    """What is learnt, and what comes of it.

    Attributes:
        gathered: the vectors of every product.
        codes: (n,) int64, its class, -1 for none or nothing to look at.
        labels: the categories behind the classes.
        parted, split: who is learnt from, who judges.
        features: what is looked at.
        options: how.
        seen: (n,) bool, products that an encoder has learnt from: they, and their copies, never
            judge.
        judged: what is said of the judged rows by the way of fusion that was taken.
        compared, alone: the other ways, where asked for; modalities by themselves, of several.
        served: the heads that are to serve.
        rule: of the neighbours' vote, where that is a member.
        scales: of the fused head's blocks.
        turns: in which rows were judged, each by heads that had not learnt from them; what was
            judged, in the order of `judged`, is what they ask about, turn by turn.
        train, vote: what the heads reach on training rows; the vote by the default rule on judged
            ones.
    """

    gathered: Gathered
    codes: Codes
    labels: Categories
    parted: StoreSplit
    split: Split
    features: Features
    options: TrainOptions
    seen: Mask
    judged: EvaluationResult = field(init=False)
    compared: tuple[Compared, ...] = ()
    alone: tuple[SingleModality, ...] = ()
    served: dict[str, Head] = field(default_factory=dict)
    rule: VoteRule | None = None
    train: Metrics = field(init=False)
    vote: Metrics = field(init=False)
    turns: list[Fold] = field(default_factory=list)

    @property
    def classes(self) -> int:
        """How many categories there are."""
        return len(self.labels.ids)

    def learn(self) -> None:
        """Do it all. Raises TrainingError."""
        possible = kinds_of(self.features)
        if self.options.fusion not in possible:
            raise TrainingError(
                f"{self.options.fusion} fusion needs text and image vectors; over {self.features} "
                f"there are {' and '.join(possible)}"
            )
        kinds = possible if self.options.compare else (self.options.fusion,)
        members = self._everybody(kinds)
        turns = [Fold(self.split.train, self._judges())]
        if len(turns[0].asked) == len(self.split.validation) < SCARCE:
            free = ~np.isin(self.parted.groups, self.parted.groups[self.seen])
            turns = turns_of(turns[0], self.codes, self.parted, free, self.options.seed)
        self.turns = turns
        final = np.flatnonzero(self.codes >= 0)
        fit = FitOptions(
            kind=self.options.head,
            epochs=self.options.epochs,
            balance=self.options.balance,
            patience=self.options.patience,
            seed=self.options.seed,
        )
        total = sum(
            planned(self.gathered, turn.learnt, self.classes, members, fit) for turn in turns
        )
        if self.options.refit:
            # Who is heard in the end is not known yet; those of the simplest way at least.
            simplest = self._everybody(kinds[:1])
            total += planned(self.gathered, final, self.classes, simplest, fit)
        title = f"training the {self.features} {self.options.head} head"
        rows, quiet = len(self.split.train), self.options.quiet
        with Meter(title, total, quiet=quiet, per_pass=rows) as meter:
            with stage("training heads"):
                heard = [
                    FittedFold(
                        self._fit(turn.learnt, members, fit, meter),
                        NeighbourVoter(
                            self.gathered, self.codes, np.sort(turn.learnt), self.classes
                        ),
                        turn.asked,
                    )
                    for turn in turns
                ]
            with stage("measuring"):
                self._judge(kinds, heard)
            wanted = [name for name in self.judged.blend.members if name != VOTE]
            self.served = {name: heard[0].heads[name] for name in wanted}
            if self.options.refit:
                with stage("training on all"):
                    self.served = self._fit(final, wanted, fit, meter)

    def _fit(
        self, rows: Codes, members: Iterable[str], fit: FitOptions, meter: Meter
    ) -> dict[str, Head]:
        # Those of the rows by which to stop, where that is asked for.
        held = self.parted.hold(rows, self.options.seed)[1] if self.options.patience else NOBODY
        return fit_heads(
            self.gathered, self.codes, rows, self.classes, members, fit, meter.advance, held
        )

    def _everybody(self, kinds: tuple[FusionKind, ...]) -> tuple[str, ...]:
        """The members of some ways of fusion."""
        return tuple(
            dict.fromkeys(
                name
                for kind in kinds
                for name in (*members_of(kind, self.features), *stand_ins_of(kind, self.features))
            )
        )

    def _judge(self, kinds: tuple[FusionKind, ...], heard: list[FittedFold]) -> None:
        rows = np.concatenate([one.asked for one in heard])
        near = near_of(heard)
        self.vote = self._vote(rows, near)
        if any(VOTE in members_of(kind, self.features) for kind in kinds):
            self.rule = choose_rule(
                self.codes[rows],
                *near,
                self.classes,
                seed=self.options.seed,
                counts=_counts(heard),
            )
        scores = {self.features: scores_of(heard, self.rule)}
        if len(self.features.modalities) > 1:
            for one, other in (self.features.modalities, self.features.modalities[::-1]):
                without = self.gathered.without(other)
                scores[Features(one)] = scores_of(heard, self.rule, without)
        bench = EvaluationSet(
            features=self.features,
            scores=scores,
            present=present_of(self.gathered, rows),
            true=self.codes[rows],
            groups=self.parted.groups[rows],
            tree=CategoryTree.of(self.labels.names),
            precision=self.options.precision,
            seed=self.options.seed,
        )
        found = {kind: bench.judge(kind) for kind in kinds}
        self.judged = self._choose(found)
        if len(self.features.modalities) > 1:
            self.alone = tuple(
                self._alone(bench, one) for one in self.features.modalities if one in heard[0].heads
            )
        if VOTE not in self.judged.blend.members:
            self.rule = None
        self.train = self._on_train(heard[0].members(None))

    def _judges(self) -> Codes:
        """The rows that judge: of very many, a sample of whole groups."""
        rows = self.split.validation
        most = min(JUDGED_VALUES // self.classes, VOTE_PAIRS // len(self.split.train))
        most = max(LEAST_JUDGED, most)
        if len(rows) <= most:
            return rows
        drawn = draw_by_group(
            self.parted.groups[rows], self.parted.keys[rows], self.options.seed, 2
        )
        order = np.argsort(drawn, kind="stable")
        return np.sort(rows[order[:most]])

    def _choose(self, found: dict[FusionKind, EvaluationResult]) -> EvaluationResult:
        """The best, or the simplest that is not surely worse."""
        if not self.options.compare:
            (only,) = found.values()
            return only
        best = max(found.values(), key=lambda one: one.metrics.weighted_f1)
        told = []
        for kind, one in found.items():
            behind = difference(
                best.true,
                best.decided.chosen,
                one.decided.chosen,
                classes=self.classes,
                seed=self.options.seed,
            )
            told.append(
                Compared(kind, one.metrics, one.error, behind, heard_of(one, self.features))
            )
        self.compared = tuple(told)
        simplest = next(one for one in told if one.behind.low <= 0)
        return found[simplest.fusion]

    def _alone(self, bench: EvaluationSet, modality: Modality) -> SingleModality:
        said = bench.scores[self.features][modality].argmax(axis=1)
        chosen = np.where(bench.present[modality], said, -1)
        metrics = evaluate(bench.true, chosen, None, classes=self.classes)
        ahead = difference(
            bench.true,
            self.judged.decided.chosen,
            chosen,
            classes=self.classes,
            seed=self.options.seed,
        )
        return SingleModality(modality, metrics, ahead)

    def _on_train(self, heads: Ensemble) -> Metrics:
        """Of the heads alone, on training rows, of which the vote would find themselves."""
        rows = self.split.train
        if len(rows) > SAMPLED:
            rng = np.random.default_rng([self.options.seed, SAMPLED])
            rows = np.sort(rng.choice(rows, SAMPLED, replace=False))
        chosen = []
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            parts = heads.scores(self.gathered, block)
            logits = self.judged.blend.logits(parts, present_of(self.gathered, block))
            chosen.append(logits.argmax(axis=1))
        return evaluate(
            self.codes[rows], np.concatenate(chosen), None, classes=self.classes, bootstrap=50
        )

    def _vote(self, rows: Codes, near: tuple[Codes, Floats]) -> Metrics:
        cast = vote(*near, classes=self.classes, rule=DEFAULT_RULE)
        return evaluate(self.codes[rows], cast.codes, cast.shares, classes=self.classes)


def _counts(heard: list[FittedFold]) -> Codes:
    """(classes,) int64: how many of each class vote in the first turn; of a class that has no vote
    in it, the most that it has in another."""
    first, *others = (one.voters.counts for one in heard)
    return np.where(first > 0, first, np.max([first, *others], axis=0))


def heard_of(judged: EvaluationResult, features: Features) -> dict[str, float]:
    """How much each member is heard of products that lack nothing; those that are heard at all."""
    weights = judged.blend.weights[features].tolist()
    heard = zip(judged.blend.members, weights, strict=True)
    return {name: weight for name, weight in heard if weight > 0}
