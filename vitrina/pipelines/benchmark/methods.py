"""Benchmark methods: all train on the same rows and predict the same products."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from vitrina.baselines.base import BaselineKind, TextExamples
from vitrina.baselines.train import planned_rows, train_baseline
from vitrina.classifier.calibrate import fit_temperature, softmax
from vitrina.classifier.fit import FitOptions, fit_head
from vitrina.classifier.metrics import Metrics, evaluate
from vitrina.classifier.minibatch import predict
from vitrina.data.sources import ImageSource
from vitrina.errors import TrainingError
from vitrina.index.vote import DEFAULT_RULE, vote_shares
from vitrina.pipelines.benchmark.blend import Pool, even, fit_pool, interpolate
from vitrina.pipelines.benchmark.cache_keys import key_of, key_of_pool
from vitrina.pipelines.benchmark.dataset import (
    BenchmarkData,
    Float16Matrix,
    PredictionCache,
    in_blocks,
)
from vitrina.pipelines.benchmark.options import BenchmarkOptions
from vitrina.pipelines.benchmark.vectors import Encoders
from vitrina.pipelines.benchmark.zero_shot import ZERO_SHOT, ZeroShot
from vitrina.pipelines.common.encoders import is_searched_by_text, text_tower_of
from vitrina.pipelines.common.training_progress import KEPT_APART, watch_training
from vitrina.pipelines.finetune.job import sample_of
from vitrina.pipelines.finetune.trainer import FinetunedEncoder
from vitrina.pipelines.index.vote_rules import choose_rule
from vitrina.pipelines.train.base_models import NeighbourVoter
from vitrina.training.checkpoint import Checkpoint
from vitrina.training.loop import Epoch
from vitrina.types import Codes, Features, Floats, HeadKind, Modality


@dataclass(frozen=True)
class Method:
    """A method of the benchmark. name: of the `--rows` option. title: in the table."""

    name: str
    title: str
    modality: Features


@dataclass(frozen=True, eq=False)
class MethodOutcome:
    """Outcome of a method beside its predictions. seconds: of training. asking: seconds of
    prediction. modality: that it used, None for `Method.modality`."""

    seconds: float
    asking: float
    train: Metrics | None = None
    history: tuple[Epoch, ...] = ()
    note: str = ""
    modality: Features | None = None


@dataclass(eq=False)
class Methods:
    """Runner of the methods on one dataset; caches their predictions."""

    ground: BenchmarkData
    options: BenchmarkOptions
    answers: PredictionCache
    images: ImageSource | None
    out: Path
    done: dict[str, float] = field(default_factory=dict)
    """Weighted F1 on held rows of each method that has run, by name."""

    def key(self, method: Method) -> str:
        """Cache key of a method's predictions. A pool's depends on the methods run before it."""
        if method.name in POOLS:
            others = (name for name in self.done if name not in POOLS)
            keys = (key_of(name, self.ground, self.options) for name in others)
            return key_of_pool(method.name, keys)
        return key_of(method.name, self.ground, self.options)

    def run(self, method: Method) -> MethodOutcome:
        """Train a method and cache its predictions. Raises TrainingError or EncoderError."""
        return self._makers[method.name]()

    @cached_property
    def _makers(self) -> dict[str, Callable[[], MethodOutcome]]:
        makers: dict[str, Callable[[], MethodOutcome]] = {
            kind.value: partial(self._baseline, kind) for kind in BaselineKind
        }
        for features in Features:
            for tuned in (False, True):
                name = f"{features}-tuned" if tuned else features.value
                makers[name] = partial(self._head, name, features, tuned)
                makers[f"vote-{name}"] = partial(self._vote, f"vote-{name}", features, tuned)
        # A fine-tuned encoder alone predicts by its own head.
        makers["text-tuned"] = partial(self._tuned, Modality.TEXT)
        makers["image-tuned"] = partial(self._tuned, Modality.IMAGE)
        makers["efficientnet"] = self._efficientnet
        makers["blend-text"] = partial(self._blend, "blend-text", Features.TEXT)
        makers["blend"] = partial(self._blend, "blend", Features.FUSED)
        makers[ZERO_SHOT] = self._zero_shot
        makers["knn"] = self._interpolation
        return makers

    @cached_property
    def encoders(self) -> Encoders:
        """The vectors of both modalities, frozen and fine-tuned."""
        return Encoders(self.ground, self.options, self.images, self.out)

    def _baseline(self, kind: BaselineKind) -> MethodOutcome:
        ground = self.ground
        examples = TextExamples(
            ground.texts, ground.codes, ground.classes, ground.rows, ground.held_out_rows
        )
        started = time.monotonic()
        identity = {"job": "benchmark", "ground": ground.digest, "kind": kind.value}
        seed, quiet = self.options.seed, self.options.quiet
        checkpoint = Checkpoint({**identity, "seed": seed})
        rows = len(ground.rows)
        total = planned_rows(kind, rows)
        with watch_training(f"training {kind}", total, rows, KEPT_APART, quiet=quiet) as watch:
            baseline = train_baseline(kind, examples, seed=seed, checkpoint=checkpoint, watch=watch)
        seconds = time.monotonic() - started

        def predict_rows(rows: Codes) -> Floats:
            return baseline.probabilities([ground.texts[row] for row in rows])

        asking = self._put(kind.value, map(predict_rows, in_blocks(ground.query_rows)))
        epochs = baseline.history.epochs if baseline.history else ()
        return MethodOutcome(seconds, asking, self._on_train(predict_rows), epochs)

    def _head(self, name: str, features: Features, tuned: bool) -> MethodOutcome:
        ground = self.ground
        gathered = self.encoders.gathered(features, tuned)
        there = gathered.any_present()
        started = time.monotonic()
        options = FitOptions(kind=HeadKind.MLP, seed=self.options.seed)
        rows = ground.rows[there[ground.rows]]
        head = fit_head(gathered, ground.codes, rows, ground.classes, options)
        held_out_rows = ground.held_out_rows[there[ground.held_out_rows]]
        temperature = 1.0
        if len(held_out_rows):
            temperature = fit_temperature(
                predict(head, gathered, held_out_rows), ground.codes[held_out_rows]
            )
        seconds = time.monotonic() - started

        def predict_rows(rows: Codes) -> Floats:
            shares: Floats = softmax(predict(head, gathered, rows), temperature)
            shares[~there[rows]] = 0
            return shares

        asking = self._put(name, map(predict_rows, in_blocks(ground.query_rows)))
        return MethodOutcome(
            seconds, asking, self._on_train(predict_rows), note="on vectors that are there"
        )

    def _tuned(self, modality: Modality) -> MethodOutcome:
        return self._from_tuned(f"{modality}-tuned", self.encoders.tuned(modality))

    def _efficientnet(self) -> MethodOutcome:
        tuned = self.encoders.efficientnet()
        outcome = self._from_tuned("efficientnet", tuned)
        note = f"{outcome.note}, random weights" if self.encoders.efficientnet_random else ""
        return replace(outcome, note=note or outcome.note)

    def _from_tuned(self, name: str, tuned: FinetunedEncoder) -> MethodOutcome:
        ground, classes = self.ground, tuned.examples.classes
        held_out_rows = ground.held_out_rows[tuned.there[ground.held_out_rows]]
        labels = tuned.examples.labels
        temperature = 1.0
        labelled = held_out_rows[labels[held_out_rows] >= 0]
        if len(labelled):
            temperature = fit_temperature(tuned.logits(labelled), labels[labelled])

        def predict_rows(rows: Codes) -> Floats:
            out = np.zeros((len(rows), ground.classes), dtype=np.float32)
            there = np.flatnonzero(tuned.there[rows])
            if len(there):
                shares = softmax(tuned.logits(rows[there]), temperature)
                out[there[:, None], classes[None, :]] = shares
            return out

        asking = self._put(name, map(predict_rows, in_blocks(ground.query_rows)))
        # The end of a long path is enough.
        path = Path(tuned.base)
        note = "/".join(path.parts[-2:]) if path.is_absolute() else tuned.base
        if self.options.image_size and name != "text-tuned":
            note += f", photos of {self.options.image_size} pixels"
        if self.options.from_scratch and name == "text-tuned":
            note += ", random weights"
        history = tuned.history
        return MethodOutcome(
            tuned.seconds, asking, self._on_train(predict_rows), history.epochs, note
        )

    def _vote(self, name: str, features: Features, tuned: bool) -> MethodOutcome:
        ground = self.ground
        gathered = self.encoders.gathered(features, tuned)
        there = gathered.any_present()
        rows = np.sort(ground.rows[there[ground.rows]])
        whiten = None
        if features is Features.IMAGE and not tuned:
            # As an index of these photos.
            whiten = () if is_searched_by_text(ground.store.space(Modality.IMAGE)) else None
        voters = NeighbourVoter(gathered, ground.codes, rows, ground.classes, whiten)
        started = time.monotonic()
        rule = DEFAULT_RULE
        if len(ground.held_out_rows):
            rule = choose_rule(
                ground.codes[ground.held_out_rows],
                *voters.near(gathered, ground.held_out_rows),
                ground.classes,
                seed=self.options.seed,
                counts=ground.sizes,
            )
        seconds = time.monotonic() - started

        def predict_rows(wanted: Codes) -> Floats:
            labels, scores = voters.near(gathered, wanted)
            return vote_shares(
                labels, scores, classes=ground.classes, rule=rule, counts=ground.sizes
            )

        asking = self._put(name, map(predict_rows, in_blocks(ground.query_rows)))
        return MethodOutcome(
            seconds, asking, note=f"{rule.kind}, {rule.k} nearest, prior {rule.prior:g}"
        )

    def _zero_shot(self) -> MethodOutcome:
        ground = self.ground
        gathered = self.encoders.gathered(Features.IMAGE, tuned=False)
        there = gathered.any_present()
        tower = text_tower_of(ground.store, ground.store.space(Modality.IMAGE))
        started = time.monotonic()
        model = ZeroShot(tower, ground.labels.names, gathered)
        held_out_rows = ground.held_out_rows[there[ground.held_out_rows]]
        temperature = 1.0
        if len(held_out_rows):
            temperature = fit_temperature(model.logits(held_out_rows), ground.codes[held_out_rows])
        seconds = time.monotonic() - started

        def predict_rows(rows: Codes) -> Floats:
            shares: Floats = softmax(model.logits(rows), temperature)
            shares[~there[rows]] = 0
            return shares

        asking = self._put(ZERO_SHOT, map(predict_rows, in_blocks(ground.query_rows)))
        return MethodOutcome(seconds, asking, note=f"by the text tower of {tower.card.model}")

    def _blend(self, name: str, features: Features) -> MethodOutcome:
        wanted = [
            other
            for other in self.done
            if features is Features.FUSED or MODALITY_OF[other] is features
            if other not in POOLS
        ]
        labels = self.ground.codes[self.ground.held_out_rows]
        return self._pooled(name, wanted, lambda parts: fit_pool(parts, labels))

    def _interpolation(self) -> MethodOutcome:
        votes = [name for name in self.done if name.startswith("vote-")]
        pairs = [
            (name.removeprefix("vote-"), name)
            for name in votes
            if name.removeprefix("vote-") in self.done
        ]
        if not pairs:
            raise TrainingError("kNN interpolation needs a head and a vote over the same vectors")
        best = max(pairs, key=lambda pair: self.done[pair[0]])

        return self._pooled("knn", [*best], lambda parts: interpolate(parts, self._held_out_score))

    def _held_out_score(self, answers: Float16Matrix | Floats) -> float:
        return self.measure(answers, self.ground.held_out_rows, bootstrap=1).weighted_f1

    def _pooled(
        self, name: str, wanted: list[str], fit: Callable[[Sequence[Float16Matrix]], Pool]
    ) -> MethodOutcome:
        if len(wanted) < 2:
            raise TrainingError(f"a blend needs two methods or more, but {len(wanted)} answered")
        ground = self.ground
        whole = [self.answers.get(other) for other in wanted]
        started = time.monotonic()
        pool = even(len(whole))
        if len(ground.held_out_rows):
            pool = fit([ground.part_of(one, "held") for one in whole])
        seconds = time.monotonic() - started
        rows = np.arange(len(ground.query_rows))
        asking = self._put(name, (pool([one[block] for one in whole]) for block in in_blocks(rows)))
        ranked = sorted(zip(pool.weights.tolist(), wanted, strict=True), reverse=True)
        shown = [(weight, other) for weight, other in ranked if weight > 0.005]
        note = " + ".join(f"{weight:.2f} {other}" for weight, other in shown)
        modalities = {MODALITY_OF[other] for other in wanted}
        modality = modalities.pop() if len(modalities) == 1 else Features.FUSED
        return MethodOutcome(seconds, asking, note=f"{pool.kind}: {note}", modality=modality)

    def _put(self, name: str, blocks: Iterator[Floats]) -> float:
        started = time.monotonic()
        answers = self.answers.put(name, blocks)
        taken = time.monotonic() - started
        self.note(name, answers)
        return taken

    def note(self, name: str, answers: Float16Matrix) -> None:
        """Record a method's weighted F1 on held rows in `done`."""
        held_out_rows = self.ground.part_of(answers, "held")
        self.done[name] = self._held_out_score(held_out_rows) if len(held_out_rows) else 0.0

    def measure(
        self, answers: Float16Matrix | Floats, rows: Codes, bootstrap: int = 200
    ) -> Metrics:
        """Metrics of predictions, (m, classes), for m products at `rows`."""
        chosen, sure = choices(answers)
        return evaluate(
            self.ground.codes[rows],
            chosen,
            sure,
            classes=self.ground.classes,
            bootstrap=bootstrap,
        )

    def _on_train(self, predict_rows: Callable[[Codes], Floats]) -> Metrics:
        rows = sample_of(self.ground.rows, self.options.seed)
        parts = [choices(predict_rows(block)) for block in in_blocks(rows)]
        return evaluate(
            self.ground.codes[rows],
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            classes=self.ground.classes,
            bootstrap=1,
        )


def choices(answers: Float16Matrix | Floats) -> tuple[Codes, Floats]:
    """The likeliest class of each row, -1 for a row of zeros, and its probability."""
    sure = answers.max(axis=1).astype(np.float32)
    chosen = answers.argmax(axis=1).astype(np.int64)
    return np.where(sure > 0, chosen, -1), sure


METHODS = (
    Method("naive-bayes", "ComplementNB over TF-IDF", Features.TEXT),
    Method("linear-svm", "linear SVM over word and character TF-IDF", Features.TEXT),
    Method("mlp", "MLP over text", Features.TEXT),
    Method("cnn", "CNN over text", Features.TEXT),
    Method("lstm", "LSTM over text", Features.TEXT),
    Method("text", "text encoder, frozen", Features.TEXT),
    Method("text-tuned", "text encoder, fine-tuned", Features.TEXT),
    Method("efficientnet", "EfficientNet_b1", Features.IMAGE),
    Method("image", "image encoder, frozen", Features.IMAGE),
    Method("image-tuned", "image encoder, fine-tuned", Features.IMAGE),
    Method("fused", "fused, frozen encoders", Features.FUSED),
    Method("fused-tuned", "fused, fine-tuned encoders", Features.FUSED),
    Method("vote-text", "vote over text, frozen", Features.TEXT),
    Method("vote-text-tuned", "vote over text, fine-tuned", Features.TEXT),
    Method("vote-image", "vote over images, frozen", Features.IMAGE),
    Method("vote-image-tuned", "vote over images, fine-tuned", Features.IMAGE),
    Method("vote-fused", "vote, fused, frozen", Features.FUSED),
    Method("vote-fused-tuned", "vote, fused, fine-tuned", Features.FUSED),
    Method(ZERO_SHOT, "photos against categories' names, zero-shot", Features.IMAGE),
    Method("knn", "kNN interpolation", Features.FUSED),
    Method("blend-text", "late blend of text methods", Features.TEXT),
    Method("blend", "late blend", Features.FUSED),
)
"""All methods in the order of running: pools come last."""

ON_REQUEST = (ZERO_SHOT,)
"""Methods that run only if they are named: few image models have a text tower."""

POOLS = ("knn", "blend-text", "blend")
"""Methods that combine the predictions of others."""
MODALITY_OF = {method.name: method.modality for method in METHODS}
