"""The fine-tuning job: an encoder learns the catalogue's categories, and serves `embed` then."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vitrina.classifier.metrics import Metrics, evaluate
from vitrina.embedder.load import TextFiles
from vitrina.errors import TrainingError
from vitrina.pipelines.encoders import load_encoder
from vitrina.pipelines.parting import Parted, part
from vitrina.pipelines.progress import Meter
from vitrina.pipelines.trained import base_model, check_name, text_tokens, write_encoder
from vitrina.store.store import Store
from vitrina.training.recipe import Recipe
from vitrina.types import Balance, Codes, Floats, Modality, SplitKind

EPOCHS, BATCH_ROWS = 6, 128
RATE = 0.1
"""The learning rate at its height, times the model's width."""
TRAIN_SAMPLE = 20_000
"""Training rows that the training metrics are of."""


@dataclass(frozen=True)
class FinetuneOptions:
    """How to fine-tune.

    model: a name as `embed` takes it, None for what the store embeds with. name: of the outcome.
    from_scratch: begin with random weights. lower_case, max_length: see `TextShape`. epochs, batch,
    rate: None for what suits. average: see `Recipe`; warm_up, weight_decay, patience too.
    layer_decay: what a layer learns at, of the rate of the one above. word_dropout: the share of
    tokens hidden in training. refit: train once more on the validation rows too, for as long as was
    best, once they have served.
    """

    modality: Modality
    model: str | None = None
    name: str | None = None
    from_scratch: bool = False
    lower_case: bool | None = None
    max_length: int | None = 128
    epochs: int | None = None
    batch_rows: int | None = None
    rate: float | None = None
    warm_up: float = 0.06
    weight_decay: float = 0.01
    layer_decay: float = 0.9
    smoothing: float = 0.1
    balance: Balance = Balance.NONE
    word_dropout: float = 0.0
    average: float = 0.999
    patience: int = 2
    split: SplitKind = SplitKind.GROUPED
    seed: int = 0
    quiet: bool = True


@dataclass(frozen=True)
class FinetuneReport:
    """What an encoder reached as a model on its own, by its classification head.

    train is of a sample of the rows that it learnt from. validation is of rows that it never saw
    and that decided nothing. history: see `vitrina.training.loop.History`.
    """

    store: str
    name: str
    modality: Modality
    base: str
    fingerprint: str
    split: SplitKind
    rows: int
    held: int
    classes: int
    train: Metrics
    validation: Metrics
    recipe: dict[str, Any]
    history: dict[str, Any]
    seconds: float
    per_second: float

    def to_json(self) -> dict[str, Any]:
        """As `encoder.json` and `--json` hold it."""
        plain = asdict(self)
        for name in ("train", "validation"):
            plain[name] = getattr(self, name).to_json()
        return {**plain, "modality": self.modality.value, "split": self.split.value}


@dataclass(frozen=True, eq=False)
class Examples:
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
    def of(cls, codes: Codes, parted: Parted, there: Any, seed: int) -> Examples:
        """there: (n,) bool, products that have what the encoder looks at."""
        split = parted.split.among(there, np.where(there, codes, -1))
        rows, held = parted.hold(split.train, seed)
        classes = np.unique(codes[rows])
        number = np.full(int(codes.max()) + 1, -1, dtype=np.int64)
        number[classes] = np.arange(len(classes))
        labels = np.where(codes >= 0, number[codes], -1)
        # What is only there to stop by can say nothing of classes that are not learnt.
        return cls(labels, classes, rows, held[labels[held] >= 0], split.validation)


def finetune(store: Store, options: FinetuneOptions) -> FinetuneReport:
    """Train an encoder with a classification head of its own, drop the head, keep the encoder.

    Validation rows of the split never enter; a few of the training rows are kept to stop by.

    Raises EncoderError or HubUnreachableError if the model can't be had or trained, TrainingError
    if there is too little to learn from, StoreLockedError if another process writes when the
    encoder is to be kept.
    """
    name = options.name or f"{options.modality}-tuned"
    check_name(name)
    base = base_model(store, options.modality, options.model)
    labels = store.products.categories()
    if (labels.codes < 0).all():
        raise TrainingError(
            f"{store.place} holds no product with a category; embed a catalogue that has a "
            "category_id column"
        )
    parted = part(store.products, labels.codes, options.split, options.seed)
    if options.modality is Modality.TEXT:
        tuned = _text(store, base, labels.codes, parted, options)
    else:
        raise TrainingError("only --modality text can be fine-tuned so far")
    return tuned.keep(store, name, base, labels.codes, len(labels.ids), options)


@dataclass(eq=False)
class _Tuned:
    """A trained encoder and what its head says. save: writes the encoder to a folder."""

    examples: Examples
    recipe: Recipe
    history: Any
    seconds: float
    logits: Any
    save: Any

    def keep(
        self,
        store: Store,
        name: str,
        base: TextFiles,
        codes: Codes,
        classes: int,
        options: FinetuneOptions,
    ) -> FinetuneReport:
        examples = self.examples
        sample = examples.rows
        if len(sample) > TRAIN_SAMPLE:
            drawn = np.random.default_rng(options.seed).choice(
                len(sample), TRAIN_SAMPLE, replace=False
            )
            sample = sample[np.sort(drawn)]
        with store.writer("finetune") as writer:
            folder = writer.scratch / "encoder"
            folder.mkdir()
            self.save(folder)
            encoder = load_encoder(name, options.modality, folder)
            report = FinetuneReport(
                store=store.place,
                name=name,
                modality=options.modality,
                base=base.model,
                fingerprint=encoder.card.fingerprint,
                split=options.split,
                rows=len(examples.rows),
                held=len(examples.held),
                classes=len(examples.classes),
                train=self.metrics(sample, codes, classes),
                validation=self.metrics(examples.validation, codes, classes),
                recipe=self.recipe.to_json(),
                history=self.history.to_json(),
                seconds=round(self.seconds, 2),
                per_second=round(self.history.rows / max(self.history.seconds, 1e-9), 1),
            )
            trained_on = np.sort(np.concatenate([examples.rows, examples.held]))
            write_encoder(store, writer, folder, encoder.card, report.to_json(), trained_on)
        return report

    def metrics(self, rows: Codes, codes: Codes, classes: int) -> Metrics:
        """What the head reaches on some rows."""
        logits: Floats = self.logits(rows)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        sure = (shifted.max(axis=1) / shifted.sum(axis=1)).astype(np.float32)
        predicted = self.examples.classes[logits.argmax(axis=1)]
        return evaluate(codes[rows], predicted, sure, classes=classes)


def _text(
    store: Store, base: TextFiles, codes: Codes, parted: Parted, options: FinetuneOptions
) -> _Tuned:
    from vitrina.embedder.tuning.text_classes import TextClasses
    from vitrina.embedder.tuning.text_network import TextShape, TrainableText
    from vitrina.training.checkpoint import Checkpoint
    from vitrina.training.loop import Epoch, fit
    from vitrina.training.loss import ClassLoss

    shape = TextShape(options.from_scratch, options.lower_case, options.max_length)
    network = TrainableText(base.folder, base.model, shape, seed=options.seed)
    tokens = text_tokens(store.products, network.tokenize)
    # An empty text has the two tokens that frame every text, at most.
    there = store.products.hashes(Modality.TEXT) != np.zeros(1, dtype="V16")[0]
    examples = Examples.of(codes, parted, there, options.seed)
    recipe = _recipe(options, network.dim)
    labels, count = examples.labels, len(examples.classes)
    task = TextClasses(
        network=network,
        tokens=tokens,
        labels=labels,
        classes=count,
        rows=examples.rows,
        held=examples.held,
        loss=ClassLoss.of(labels[examples.rows], count, options.balance, options.smoothing),
        score_of=lambda true, predicted: (
            evaluate(true, predicted, None, classes=count, bootstrap=1).weighted_f1
        ),
        layer_decay=options.layer_decay,
        word_dropout=options.word_dropout,
    )
    told = {
        "job": "finetune",
        "store": store.place,
        "options": {**asdict(replace(options, quiet=True)), "name": None},
        "model": network.fingerprint,
        "rows": _digest(examples.rows),
        "labels": _digest(labels),
        "tokens": _digest(tokens.starts),
    }
    title = f"fine-tuning {base.model}"
    with Meter(title, recipe.epochs * len(examples.rows), quiet=options.quiet) as meter:

        def epoch_done(epoch: Epoch) -> None:
            meter.say(
                f"epoch {epoch.number + 1} of {recipe.epochs}: loss {epoch.loss:.4f}, "
                f"weighted F1 {epoch.score:.4f} on the rows kept to stop by"
            )

        history = fit(
            task,
            recipe,
            checkpoint=Checkpoint(told),
            progress=meter.advance,
            epoch_done=epoch_done,
        )
    network.finish()
    return _Tuned(examples, recipe, history, history.seconds, task.logits, network.save)


def _recipe(options: FinetuneOptions, dim: int) -> Recipe:
    return Recipe(
        epochs=EPOCHS if options.epochs is None else options.epochs,
        batch_rows=BATCH_ROWS if options.batch_rows is None else options.batch_rows,
        # The wider a network, the smaller the steps that it bears.
        rate=RATE / dim if options.rate is None else options.rate,
        warm_up=options.warm_up,
        weight_decay=options.weight_decay,
        average=options.average,
        patience=options.patience,
        seed=options.seed,
    )


def _digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
