"""The fine-tuning job: train an encoder on the catalogue's categories, for use by `embed`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrina.classifier.metrics import Metrics, metrics_table
from vitrina.data.sources import ImageSource
from vitrina.data.split import Unevaluated
from vitrina.embedder.model_ref import ModelRef
from vitrina.errors import TrainingError
from vitrina.page.summary import Summarised, Summary
from vitrina.page.words import duration
from vitrina.pipelines.common.encoders import load_encoder
from vitrina.pipelines.common.product_inputs import remembered_images
from vitrina.pipelines.common.progress import timed_job
from vitrina.pipelines.common.seen_rows import seen_by_base
from vitrina.pipelines.common.store_split import StoreSplit, split_store
from vitrina.pipelines.finetune.encoder_files import (
    base_text,
    check_name,
    chosen_base,
    write_encoder,
)
from vitrina.pipelines.finetune.options import FinetuneOptions
from vitrina.pipelines.finetune.trainer import FinetunedEncoder, tune_image, tune_text
from vitrina.plots import curve_plot
from vitrina.stage_timer import so_far, stage
from vitrina.store.products import Categories
from vitrina.store.store import OpenStore
from vitrina.typed_json import renamed
from vitrina.types import Codes, Modality, SplitKind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEYS = {
    "held_out": "held",
    "pseudo_labelled": "guessed",
    "unevaluated": "unjudged",
    "config": "recipe",
}
"""Keys of attributes in JSON, where they differ: the format of `encoder.json` is older."""
TRAIN_SAMPLE = 20_000
"""Training rows to compute training metrics on, at most."""


@dataclass(frozen=True, repr=False)
class FinetuneReport(Summarised):
    """Metrics of an encoder's own classification head.

    unevaluated: categories without an evaluation row. train: on a sample of the train rows.
    validation: on held-out rows, which were not used for early stopping. pseudo_labelled:
    texts with a pseudo-label that it was trained on. held_out: rows for early stopping. config: of
    the training. history: see `vitrina.training.loop.History`. seconds: of all
    trainings, with the pseudo-labels. per_second: rows per second of the last training. stages:
    seconds of the run by stage.
    """

    store: str
    name: str
    modality: Modality
    base: str
    fingerprint: str
    split: SplitKind
    rows: int
    held_out: int
    pseudo_labelled: int
    classes: int
    unevaluated: Unevaluated
    train: Metrics
    validation: Metrics
    config: dict[str, Any]
    history: dict[str, Any]
    seconds: float
    per_second: float
    stages: dict[str, float]

    def summary(self) -> Summary:
        """Metrics on training and validation rows."""
        table = metrics_table((("train", self.train), ("validation", self.validation)))
        facts = [
            ("modality", str(self.modality)),
            ("trained from", self.base),
            ("fingerprint", self.fingerprint),
            ("rows", f"{self.rows:,} trained on, {self.held_out:,} held out, {self.split} split"),
            ("pseudo-labelled texts", self.pseudo_labelled or None),
            ("categories", self.classes),
            ("time", f"{duration(self.seconds)}, {self.per_second:,.0f} rows a second"),
        ]
        return Summary(f"Encoder {self.name} of {self.store}", facts, table)

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible dict, as in `encoder.json` and `--json`."""
        plain = asdict(self)
        for name in ("train", "validation"):
            plain[name] = getattr(self, name).to_json()
        plain |= {"modality": self.modality.value, "split": self.split.value}
        return renamed(plain, KEYS)

    def plot_curve(self, ax: Axes | None = None) -> Axes:
        """Draw the training loss and the early-stopping score of every epoch.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; default: those of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes of the loss.

        Raises
        ------
        VitrinaError
            If matplotlib is not installed; `pip install 'vitrina[plots]'` installs it.
        """
        epochs = self.history["epochs"]
        return curve_plot(
            [(one["number"] + 1, one["loss"]) for one in epochs],
            [(one["number"] + 1, one["score"]) for one in epochs],
            self.history["best"] + 1 if self.held_out else None,
            ax,
            title=f"Fine-tuning of {self.name}, {self.rows:,} products an epoch",
            score=f"weighted F1 of {self.held_out:,} held-out products",
        )


def finetune(
    store: OpenStore, options: FinetuneOptions, images: ImageSource | None = None
) -> FinetuneReport:
    """Train an encoder with a classification head, and save the encoder without the head.

    images: the source of the products' photos; None for that of the store's catalogue. Validation
    rows are held out; a few of the training rows are the early-stopping split.

    Raises EncoderError or HubUnreachableError if the model can't be loaded or trained,
    ImageSourceError if the photos can't be read, TrainingError if there are too few rows to train
    on, StoreLockedError if another process writes when the encoder is saved.
    """
    with timed_job("fine-tuning", options.quiet) as run:
        report = _finetune(store, options, images)
    return replace(report, stages=run.seconds())


def _finetune(
    store: OpenStore, options: FinetuneOptions, images: ImageSource | None
) -> FinetuneReport:
    name = options.name or f"{options.modality}-tuned"
    check_name(name)
    store.check_rights()
    labels = store.labels()
    if (labels.codes < 0).all():
        raise TrainingError(
            f"{store.place} holds no product with a category; embed a catalogue that has a "
            "category_id column"
        )
    model = chosen_base(store, options.modality, options.model)
    if options.modality is Modality.TEXT:
        with stage("loading models"):
            base = base_text(store, model)
        with stage("splitting"):
            store_split = _split(store, model, labels, options)
        tuned = tune_text(store, base, labels.codes, store_split, options)
    else:
        source = images or remembered_images(store)
        try:
            with stage("splitting"):
                store_split = _split(store, model, labels, options)
            tuned = tune_image(store, model, source, labels.codes, store_split, options)
        finally:
            if images is None:
                source.close()
    return keep(store, name, model, tuned, labels, options)


def _split(
    store: OpenStore, model: ModelRef, labels: Categories, options: FinetuneOptions
) -> StoreSplit:
    """The store split, without validation rows that the base model was trained on."""
    store_split = split_store(store.products, labels.codes, options.split, options.seed)
    return store_split if options.from_scratch else store_split.unseen(seen_by_base(store, model))


def keep(
    store: OpenStore,
    name: str,
    model: ModelRef,
    tuned: FinetunedEncoder,
    labels: Categories,
    options: FinetuneOptions,
) -> FinetuneReport:
    """Evaluate a trained encoder, and commit it to the store under a name. model: its base."""
    examples, codes, classes = tuned.examples, labels.codes, len(labels.ids)
    train, validation = sample_of(examples.rows, options.seed), examples.validation
    with stage("measuring"):
        metrics = [tuned.metrics(rows, codes, classes) for rows in (train, validation)]
    with stage("saving"), store.writer("finetune") as writer:
        folder = writer.scratch / "encoder"
        folder.mkdir()
        tuned.save(folder)
        encoder = load_encoder(ModelRef.of_trained(name, options.modality), folder)
        report = FinetuneReport(
            store=store.place,
            name=name,
            modality=options.modality,
            base=tuned.base,
            fingerprint=encoder.card.fingerprint,
            split=options.split,
            rows=len(examples.rows),
            held_out=len(examples.early_stopping_rows),
            pseudo_labelled=tuned.guessed,
            classes=len(examples.classes),
            unevaluated=Unevaluated.of(codes, examples.validation),
            train=metrics[0],
            validation=metrics[1],
            config=tuned.recipe.to_json(),
            history=tuned.history.to_json(),
            seconds=round(tuned.seconds, 2),
            per_second=round(tuned.history.rows / max(tuned.history.seconds, 1e-9), 1),
            stages=so_far(),
        )
        # Rows that its base was trained on count as its own.
        trained_on = np.concatenate([examples.rows, examples.early_stopping_rows])
        if not options.from_scratch:
            trained_on = np.union1d(trained_on, np.flatnonzero(seen_by_base(store, model)))
        trained_on = np.sort(trained_on)
        base = None if options.from_scratch else model
        write_encoder(store, writer, folder, encoder.card, report.to_json(), trained_on, base)
    return report


def sample_of(rows: Codes, seed: int) -> Codes:
    """A sample of the training rows, for training metrics, ascending if it is smaller."""
    if len(rows) <= TRAIN_SAMPLE:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), TRAIN_SAMPLE, replace=False)
    return rows[np.sort(chosen)]
