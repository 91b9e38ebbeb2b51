"""An encoder with its own classification head, trained: what it learnt from and what it says."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrina.classifier.calibrate import softmax
from vitrina.classifier.metrics import Metrics, evaluate
from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.data.sources import ImageSource
from vitrina.embedder.load import TextFiles
from vitrina.pipelines.common.product_inputs import references
from vitrina.pipelines.common.progress import Meter
from vitrina.pipelines.common.store_split import StoreSplit
from vitrina.pipelines.common.training_progress import KEPT_APART, watching
from vitrina.pipelines.finetune.encoder_files import base_image, text_tokens
from vitrina.stage_timer import stage
from vitrina.store.store import Store
from vitrina.training.checkpoint import Checkpoint
from vitrina.training.config import Recipe
from vitrina.training.loop import History, fit
from vitrina.training.loss import ClassLoss
from vitrina.types import Balance, Codes, Floats, Mask, Modality, Pooling, SplitKind

if TYPE_CHECKING:
    from vitrina.embedder.finetuning.image_classes import ImageClasses
    from vitrina.embedder.finetuning.text_classes import TextClasses

TEXT_EPOCHS, TEXT_BATCH = 6, 128
IMAGE_EPOCHS, IMAGE_BATCH = 6, 64
TEXT_RATE = 1.2
"""The learning rate at its height, times the model's width and its layers: the wider and deeper a
network, the smaller the steps that it bears."""
SCRATCH_RATE = 0.15
"""The most of it, times the width, with random weights: at 0.4 they do not get off the ground."""


@dataclass(frozen=True)
class FinetuneOptions:
    """How to fine-tune.

    model: a name as `embed` takes it, None for what the store embeds with. name: of the outcome.
    from_scratch: begin with random weights. lower_case, max_length, pooling: see `TextShape`.
    image_size: pixels of an image model's input, None for its own. augment: show photos otherwise
    in every pass. epochs, batch_rows, rate: None for what suits. warm_up, weight_decay, average,
    patience: see `Recipe`. layer_decay: what a layer learns at, of the rate of the one above.
    smoothing, balance: see `ClassLoss`. word_dropout: the share of tokens hidden in training.
    unlabelled: files of further products, for a second training that learns from what the first
    makes of these and of the store's products without a category too; of text alone. reading: how
    these files are read, where it differs from the store's catalogue.
    """

    modality: Modality
    model: str | None = None
    name: str | None = None
    from_scratch: bool = False
    lower_case: bool | None = None
    max_length: int | None = 128
    pooling: Pooling | None = None
    image_size: int | None = None
    augment: bool = True
    epochs: int | None = None
    batch_rows: int | None = None
    rate: float | None = None
    warm_up: float = 0.06
    weight_decay: float = 0.01
    layer_decay: float = 0.9
    smoothing: float = 0.1
    balance: Balance = Balance.NONE
    word_dropout: float = 0.0
    unlabelled: tuple[str, ...] = ()
    reading: ReadingOptions = DEFAULT_OPTIONS
    average: float = 0.999
    patience: int = 2
    split: SplitKind = SplitKind.GROUPED
    seed: int = 0
    quiet: bool = True


@dataclass(frozen=True, eq=False)
class FinetuneExamples:
    """What an encoder learns from.

    labels: (n,) int64 of every product, numbered among the classes that are trained on, -1 for
    none. classes: (c,) int64, the category code of each class. rows, held, validation: to learn
    from, to stop by, to be measured on.
    """

    labels: Codes
    classes: Codes
    rows: Codes
    held: Codes
    validation: Codes

    @classmethod
    def of(cls, codes: Codes, parted: StoreSplit, there: Mask, seed: int) -> FinetuneExamples:
        """there: (n,) bool, products that have what the encoder looks at."""
        split = parted.split.among(there, np.where(there, codes, -1))
        # Parted before anything is left out: all that is trained keeps the same products apart.
        rows, held = (side[there[side]] for side in parted.hold(parted.split.train, seed))
        classes = np.unique(codes[rows])
        number = np.full(int(codes.max()) + 1, -1, dtype=np.int64)
        number[classes] = np.arange(len(classes))
        labels = np.where(codes >= 0, number[codes], -1)
        # What is only there to stop by can say nothing of classes that are not learnt.
        return cls(labels, classes, rows, held[labels[held] >= 0], split.validation)


@dataclass(frozen=True, eq=False)
class FinetunedEncoder:
    """A trained encoder. base: what it began as. there: (n,) bool, products that have what it
    looks at. logits: what its head says of some products, (m, classes of `examples`) float32.
    save: writes the encoder into a folder. guessed: texts without a category learnt from too.
    guessing: the seconds it took to train what guessed them."""

    base: str
    examples: FinetuneExamples
    there: Mask
    recipe: Recipe
    history: History
    logits: Callable[[Codes], Floats]
    save: Callable[[Path], None]
    guessed: int = 0
    guessing: float = 0.0

    @property
    def seconds(self) -> float:
        """Of all trainings."""
        return self.history.seconds + self.guessing

    def metrics(self, rows: Codes, codes: Codes, classes: int) -> Metrics:
        """What its head reaches on some products. codes: (n,) int64, the class of every product."""
        logits = self.logits(rows)
        predicted = self.examples.classes[logits.argmax(axis=1)]
        sure = softmax(logits, 1.0).max(axis=1)
        return evaluate(codes[rows], predicted, sure, classes=classes)


def tune_text(
    store: Store, base: TextFiles, codes: Codes, parted: StoreSplit, options: FinetuneOptions
) -> FinetunedEncoder:
    """Train a text encoder on a store's products. codes: (n,) int64, the class of each, -1 for
    none. Raises EncoderError, TrainingError."""
    from vitrina.embedder.finetuning.text_classes import TextClasses
    from vitrina.embedder.finetuning.text_network import TextShape, TrainableText
    from vitrina.pipelines.finetune.self_training import (
        guessed,
        guessed_before,
        second,
        with_unlabelled,
    )

    shape = TextShape(options.from_scratch, options.lower_case, options.max_length, options.pooling)

    def begin() -> TrainableText:
        return TrainableText(base.folder, base.model, shape, seed=options.seed)

    with stage("loading models"):
        network = begin()
    free = np.empty(0, dtype=np.int64)
    with stage("tokenizing"):
        if options.unlabelled:
            tokens, free = with_unlabelled(
                store,
                codes,
                options.unlabelled,
                network.tokenize,
                options.reading,
                quiet=options.quiet,
            )
        else:
            tokens = text_tokens(store.products, network.tokenize)
    there = store.products.has(Modality.TEXT)
    examples = FinetuneExamples.of(codes, parted, there, options.seed)
    taught = _taught(examples, options)
    # What further files have comes after the store's products, and has no label.
    taught["labels"] = np.concatenate(
        [examples.labels, np.full(len(tokens) - len(codes), -1, dtype=np.int64)]
    )
    taught |= {"tokens": tokens, "word_dropout": options.word_dropout}
    most = SCRATCH_RATE if options.from_scratch else math.inf
    rate = min(TEXT_RATE / network.layers, most) / network.width
    recipe = _recipe(options, TEXT_EPOCHS, TEXT_BATCH, rate)
    fitted = _Fitted(store, base.model, examples, there, options)
    seen = [network.fingerprint, _digest(tokens.starts)]
    if not len(free):
        return fitted.of(TextClasses(network=network, **taught), recipe, seen)
    kept = Checkpoint(fitted.told("guesses", recipe, [*seen, _digest(free)]))
    found = guessed_before(len(tokens), free, kept)
    if found is None:
        first = TextClasses(network=network, **taught)
        taken = fitted.of(first, recipe, seen).seconds
        with stage("guessing"):
            found = guessed(first, free, taken, kept)
    guesses, seconds = found
    longer, repeats = second(recipe, len(examples.rows), len(free))
    rows = np.concatenate([np.tile(examples.rows, repeats), free])
    taught |= {"guesses": guesses, "rows": rows}
    tuned = fitted.of(
        TextClasses(network=begin(), **taught),
        longer,
        [*seen, _digest(guesses.odds), _digest(rows)],
    )
    kept.delete()
    return replace(tuned, guessed=len(free), guessing=seconds)


def tune_image(
    store: Store, source: ImageSource, codes: Codes, parted: StoreSplit, options: FinetuneOptions
) -> FinetunedEncoder:
    """The same for an image encoder. source: of the products' photos."""
    from vitrina.embedder.finetuning.image_classes import ImageClasses
    from vitrina.embedder.finetuning.image_network import TrainableImage
    from vitrina.embedder.finetuning.photo_bytes import PhotoBytes

    with stage("loading models"):
        files = base_image(
            store,
            options.model,
            size=options.image_size,
            from_scratch=options.from_scratch,
            seed=options.seed,
        )
        network = TrainableImage(files, from_scratch=options.from_scratch)
    title = "reading photos"
    with stage(title), Meter(title, len(store.products), quiet=options.quiet) as meter:
        photos = PhotoBytes.write(
            references(store.products, meter.advance),
            source.read,
            2 * network.size,
            max_pixels=options.reading.max_pixels,
        )
    examples = FinetuneExamples.of(codes, parted, photos.there, options.seed)
    task = ImageClasses(
        network=network,
        photos=photos,
        augment=options.augment,
        **_taught(examples, options),
    )
    recipe = _recipe(options, IMAGE_EPOCHS, IMAGE_BATCH, network.rate)
    seen = [network.fingerprint, _digest(photos.starts)]
    return _Fitted(store, files.model, examples, photos.there, options).of(task, recipe, seen)


def _taught(examples: FinetuneExamples, options: FinetuneOptions) -> dict[str, Any]:
    """What a task of classes is told, whatever its encoder looks at."""
    labels, classes = examples.labels, len(examples.classes)
    return {
        "labels": labels,
        "classes": classes,
        "rows": examples.rows,
        "held": examples.held,
        "loss": ClassLoss.of(labels[examples.rows], classes, options.balance, options.smoothing),
        "score_of": _score(examples),
        "layer_decay": options.layer_decay,
    }


def _score(examples: FinetuneExamples) -> Callable[[Codes, Codes], float]:
    def score(true: Codes, predicted: Codes) -> float:
        found = evaluate(true, predicted, None, classes=len(examples.classes), bootstrap=1)
        return found.weighted_f1

    return score


@dataclass(frozen=True)
class _Fitted:
    """Trainings of an encoder on a store's products. model: its name. there: as of
    `FinetunedEncoder`."""

    store: Store
    model: str
    examples: FinetuneExamples
    there: Mask
    options: FinetuneOptions

    def of(
        self, task: TextClasses | ImageClasses, recipe: Recipe, seen: list[str]
    ) -> FinetunedEncoder:
        """Train. seen: what the outcome depends on beside products and options."""
        rows = len(task.rows)
        told, quiet = self.told("finetune", recipe, seen), self.options.quiet
        title, total = f"fine-tuning {self.model}", recipe.epochs * rows
        with stage("training"), watching(title, total, rows, KEPT_APART, quiet=quiet) as watch:
            history = fit(task, recipe, checkpoint=Checkpoint(told), watch=watch)
        task.network.finish()
        return FinetunedEncoder(
            self.model, self.examples, self.there, recipe, history, task.logits, task.network.save
        )

    def told(self, job: str, recipe: Recipe, seen: list[str]) -> dict[str, Any]:
        """What tells a job from every other."""
        return {
            "job": job,
            "store": self.store.place,
            "options": {**asdict(replace(self.options, quiet=True)), "name": None},
            "recipe": recipe.to_json(),
            "rows": _digest(self.examples.rows),
            "labels": _digest(self.examples.labels),
            "seen": seen,
        }


def _recipe(options: FinetuneOptions, epochs: int, batch_rows: int, rate: float) -> Recipe:
    return Recipe(
        epochs=epochs if options.epochs is None else options.epochs,
        batch_rows=batch_rows if options.batch_rows is None else options.batch_rows,
        rate=rate if options.rate is None else options.rate,
        warm_up=options.warm_up,
        weight_decay=options.weight_decay,
        average=options.average,
        patience=options.patience,
        seed=options.seed,
    )


def _digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
