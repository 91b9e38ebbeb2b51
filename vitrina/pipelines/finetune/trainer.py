"""Fine-tuning of an encoder with a temporary classification head."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrina.classifier.calibrate import softmax
from vitrina.classifier.metrics import Metrics, evaluate
from vitrina.data.sources import ImageSource
from vitrina.embedder.load import TextFiles
from vitrina.embedder.model_ref import ModelRef
from vitrina.pipelines.common.product_inputs import references
from vitrina.pipelines.common.progress import Meter
from vitrina.pipelines.common.store_split import StoreSplit
from vitrina.pipelines.common.training_progress import KEPT_APART, watch_training
from vitrina.pipelines.finetune.encoder_files import base_image, text_tokens
from vitrina.pipelines.finetune.options import FinetuneOptions
from vitrina.stage_timer import stage
from vitrina.store.store import OpenStore
from vitrina.training.checkpoint import Checkpoint
from vitrina.training.config import TrainingConfig
from vitrina.training.loop import History, fit
from vitrina.training.loss import ClassLoss
from vitrina.types import Codes, Floats, Mask, Modality

if TYPE_CHECKING:
    from vitrina.embedder.finetuning.image_classes import ImageClasses
    from vitrina.embedder.finetuning.text_classes import TextClasses

TEXT_EPOCHS, TEXT_BATCH = 6, 128
IMAGE_EPOCHS, IMAGE_BATCH = 6, 64
TEXT_RATE = 1.2
"""Peak learning rate, times the model's width and its layers: wider and deeper networks need
smaller steps."""
SCRATCH_RATE = 0.15
"""Its upper bound, times the width, with random weights: at 0.4 training does not start."""


@dataclass(frozen=True, eq=False)
class FinetuneExamples:
    """Labels and row splits of a fine-tuning.

    labels: (n,) int64 class of every product among the classes that are trained on, -1 for none.
    classes: (c,) int64, the category code of each class. rows, held, validation: int64 positions of
    the train rows, of the early-stopping split, and of the validation rows.
    """

    labels: Codes
    classes: Codes
    rows: Codes
    early_stopping_rows: Codes
    validation: Codes

    @classmethod
    def of(cls, codes: Codes, store_split: StoreSplit, there: Mask, seed: int) -> FinetuneExamples:
        """Split the products that have the encoder's modality. there: (n,) bool, these products."""
        split = store_split.split.among(there, np.where(there, codes, -1))
        # Split before rows are left out, so that every training holds out the same products.
        rows, early_stopping_rows = (
            side[there[side]]
            for side in store_split.early_stopping_split(store_split.split.train, seed)
        )
        classes = np.unique(codes[rows])
        number = np.full(int(codes.max()) + 1, -1, dtype=np.int64)
        number[classes] = np.arange(len(classes))
        labels = np.where(codes >= 0, number[codes], -1)
        # Early-stopping rows of classes without train rows are left out.
        return cls(
            labels,
            classes,
            rows,
            early_stopping_rows[labels[early_stopping_rows] >= 0],
            split.validation,
        )


@dataclass(frozen=True, eq=False)
class FinetunedEncoder:
    """A trained encoder.

    base: name of its base model. there: (n,) bool, products that have its modality. logits: of its
    head for m rows, (m, classes of `examples`) float32. save: writes the encoder into a folder.
    guessed: pseudo-labelled texts that it was trained on. guessing: seconds of training the model
    that predicted them, and of its predictions.
    """

    base: str
    examples: FinetuneExamples
    there: Mask
    recipe: TrainingConfig
    history: History
    logits: Callable[[Codes], Floats]
    save: Callable[[Path], None]
    guessed: int = 0
    guessing: float = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of all trainings."""
        return self.history.seconds + self.guessing

    def metrics(self, rows: Codes, codes: Codes, classes: int) -> Metrics:
        """Metrics of its head on some rows. codes: (n,) int64 category of every product."""
        logits = self.logits(rows)
        predicted = self.examples.classes[logits.argmax(axis=1)]
        sure = softmax(logits, 1.0).max(axis=1)
        return evaluate(codes[rows], predicted, sure, classes=classes)


def tune_text(
    store: OpenStore,
    base: TextFiles,
    codes: Codes,
    store_split: StoreSplit,
    options: FinetuneOptions,
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

    shape = TextShape(
        options.from_scratch,
        options.lower_case,
        options.max_length,
        options.pooling,
        base.settings,
    )

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
            )
        else:
            tokens = text_tokens(store.products, network.tokenize)
    there = store.products.has(Modality.TEXT)
    examples = FinetuneExamples.of(codes, store_split, there, options.seed)
    arguments = _task_arguments(examples, options)
    # Products of further files come after the store's, and have no label.
    arguments["labels"] = np.concatenate(
        [examples.labels, np.full(len(tokens) - len(codes), -1, dtype=np.int64)]
    )
    arguments |= {"tokens": tokens, "word_dropout": options.word_dropout}
    most = SCRATCH_RATE if options.from_scratch else math.inf
    rate = min(TEXT_RATE / network.layers, most) / network.width
    recipe = _recipe(options, TEXT_EPOCHS, TEXT_BATCH, rate)
    trainer = _EncoderTrainer(store, base.model, examples, there, options)
    seen = [network.fingerprint, _digest(tokens.starts)]
    if not len(free):
        return trainer.of(TextClasses(network=network, **arguments), recipe, seen)
    kept = Checkpoint(trainer.identity("guesses", recipe, [*seen, _digest(free)]))
    found = guessed_before(len(tokens), free, kept)
    if found is None:
        first = TextClasses(network=network, **arguments)
        taken = trainer.of(first, recipe, seen).seconds
        with stage("guessing"):
            found = guessed(first, free, taken, kept)
    pseudo_labels, seconds = found
    longer, repeats = second(recipe, len(examples.rows), len(free))
    rows = np.concatenate([np.tile(examples.rows, repeats), free])
    arguments |= {"pseudo_labels": pseudo_labels, "rows": rows}
    tuned = trainer.of(
        TextClasses(network=begin(), **arguments),
        longer,
        [*seen, _digest(pseudo_labels.probabilities), _digest(rows)],
    )
    kept.delete()
    return replace(tuned, guessed=len(free), guessing=seconds)


def tune_image(
    store: OpenStore,
    model: ModelRef,
    source: ImageSource,
    codes: Codes,
    store_split: StoreSplit,
    options: FinetuneOptions,
) -> FinetunedEncoder:
    """Train an image encoder on a store's products. model: its base. source: of their photos.
    codes: as of `tune_text`. Raises EncoderError, TrainingError."""
    from vitrina.embedder.finetuning.image_classes import ImageClasses
    from vitrina.embedder.finetuning.image_network import TrainableImage
    from vitrina.embedder.finetuning.photo_bytes import PhotoBytes

    with stage("loading models"):
        files = base_image(
            store,
            model,
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
    examples = FinetuneExamples.of(codes, store_split, photos.there, options.seed)
    task = ImageClasses(
        network=network,
        photos=photos,
        augment=options.augment,
        **_task_arguments(examples, options),
    )
    recipe = _recipe(options, IMAGE_EPOCHS, IMAGE_BATCH, network.rate)
    seen = [network.fingerprint, _digest(photos.starts)]
    return _EncoderTrainer(store, files.model, examples, photos.there, options).of(
        task, recipe, seen
    )


def _task_arguments(examples: FinetuneExamples, options: FinetuneOptions) -> dict[str, Any]:
    """Arguments of a classification task that text and images share."""
    labels, classes = examples.labels, len(examples.classes)
    return {
        "labels": labels,
        "classes": classes,
        "rows": examples.rows,
        "held_out": examples.early_stopping_rows,
        "loss": ClassLoss.of(
            labels[examples.rows], classes, options.balance, options.label_smoothing
        ),
        "score_of": _score(examples),
        "layer_decay": options.layer_decay,
    }


def _score(examples: FinetuneExamples) -> Callable[[Codes, Codes], float]:
    def score(true: Codes, predicted: Codes) -> float:
        found = evaluate(true, predicted, None, classes=len(examples.classes), bootstrap=1)
        return found.weighted_f1

    return score


@dataclass(frozen=True)
class _EncoderTrainer:
    """Trainer of an encoder on a store's products. model: its name. there: as in
    `FinetunedEncoder`."""

    store: OpenStore
    model: str
    examples: FinetuneExamples
    there: Mask
    options: FinetuneOptions

    def of(
        self, task: TextClasses | ImageClasses, recipe: TrainingConfig, seen: list[str]
    ) -> FinetunedEncoder:
        """Train. seen: digests of all inputs besides products and options."""
        rows = len(task.rows)
        identity, quiet = self.identity("finetune", recipe, seen), self.options.quiet
        title, total = f"fine-tuning {self.model}", recipe.epochs * rows
        with (
            stage("training"),
            watch_training(title, total, rows, KEPT_APART, quiet=quiet) as watch,
        ):
            history = fit(task, recipe, checkpoint=Checkpoint(identity), watch=watch)
        task.network.finish()
        return FinetunedEncoder(
            self.model, self.examples, self.there, recipe, history, task.logits, task.network.save
        )

    def identity(self, job: str, recipe: TrainingConfig, seen: list[str]) -> dict[str, Any]:
        """Identity of a job, which its checkpoint is stored under."""
        options = asdict(replace(self.options, quiet=True, name=None))
        for one in fields(self.options):
            if not one.repr:
                # It only locates photos.
                del options[one.name]
        return {
            "job": job,
            "store": self.store.place,
            "options": options,
            "recipe": recipe.to_json(),
            "rows": _digest(self.examples.rows),
            "labels": _digest(self.examples.labels),
            "seen": seen,
        }


def _recipe(options: FinetuneOptions, epochs: int, batch_rows: int, rate: float) -> TrainingConfig:
    return TrainingConfig(
        epochs=epochs if options.epochs is None else options.epochs,
        batch_rows=batch_rows if options.batch_size is None else options.batch_size,
        rate=rate if options.learning_rate is None else options.learning_rate,
        warm_up=options.warmup_ratio,
        weight_decay=options.weight_decay,
        average=options.ema_decay,
        patience=options.patience,
        seed=options.seed,
    )


def _digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
