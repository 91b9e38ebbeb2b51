"""The pre-training job: masked-language-model training of a text encoder on the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrina.data.catalogue import Catalogue
from vitrina.embedder.finetuning.mlm import MaskedWords
from vitrina.embedder.finetuning.text_network import TextShape, TrainableText
from vitrina.embedder.finetuning.tokens import TokenLists
from vitrina.embedder.load import load_text
from vitrina.embedder.model_ref import ModelRef
from vitrina.errors import EncoderError, TrainingError
from vitrina.page.summary import Summarised, Summary
from vitrina.page.words import duration
from vitrina.pipelines.common.product_inputs import texts
from vitrina.pipelines.common.progress import timed_job
from vitrina.pipelines.common.seen_rows import seen_by_base
from vitrina.pipelines.common.store_split import split_store
from vitrina.pipelines.common.training_progress import watch_training
from vitrina.pipelines.finetune.encoder_files import (
    base_text,
    check_name,
    chosen_base,
    write_encoder,
)
from vitrina.pipelines.finetune.options import PretrainOptions
from vitrina.plots import curve_plot
from vitrina.stage_timer import so_far, stage
from vitrina.store.store import OpenStore
from vitrina.training.checkpoint import Checkpoint
from vitrina.training.config import TrainingConfig
from vitrina.training.loop import fit
from vitrina.typed_json import renamed
from vitrina.types import Codes, Modality

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCORE = "log-likelihood of held-out words"
MOST_HELD_OUT_TEXTS = 2000
"""Texts of validation products to score the model on, at most."""
EPOCHS, BATCH_ROWS = 3, 256
RATE = 0.15
"""Peak learning rate, times the model's width."""


KEYS = {"held_out": "held", "config": "recipe"}
"""Keys of attributes in JSON, where they differ: the format of `encoder.json` is older."""


@dataclass(frozen=True, repr=False)
class PretrainReport(Summarised):
    """Report of a pre-training.

    texts: distinct training texts; tokens: theirs. held_out: texts to measure the likelihood on.
    likelihood: mean log-probability, in nats, of the masked tokens of held-out texts, after each
    epoch; before: the same before the first epoch. It is comparable between runs of one tokenizer
    only. config: of the training. stages: seconds of the run by stage.
    """

    store: str
    name: str
    modality: Modality
    base: str
    fingerprint: str
    texts: int
    tokens: int
    held_out: int
    before: float
    likelihood: tuple[float, ...]
    config: dict[str, Any]
    history: dict[str, Any]
    seconds: float
    per_second: float
    stages: dict[str, float]

    def summary(self) -> Summary:
        """Likelihood of masked tokens before training and after each epoch."""
        nats = " → ".join(f"{value:.3f}" for value in (self.before, *self.likelihood))
        facts = [
            ("trained from", self.base),
            ("fingerprint", self.fingerprint),
            ("texts", f"{self.texts:,}, {self.tokens:,} tokens; {self.held_out:,} held out"),
            ("likelihood in nats", nats),
            ("time", f"{duration(self.seconds)}, {self.per_second:,.0f} texts a second"),
        ]
        return Summary(f"Encoder {self.name} of {self.store}", facts)

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible dict, as in `encoder.json` and `--json`."""
        return renamed({**asdict(self), "modality": self.modality.value}, KEYS)

    def plot_curve(self, ax: Axes | None = None) -> Axes:
        """Draw the training loss, and the log-likelihood of masked tokens before training and after
        every epoch.

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
        scores = [self.before, *self.likelihood] if self.held_out else []
        return curve_plot(
            [(one["number"] + 1, one["loss"]) for one in self.history["epochs"]],
            list(enumerate(scores)),
            None,
            ax,
            title=f"Pre-training of {self.name}, {self.texts:,} texts an epoch",
            score=f"log-likelihood of a masked token, nats, {self.held_out:,} held-out texts",
        )


def pretrain(
    store: OpenStore, options: PretrainOptions, also: Sequence[Catalogue] = ()
) -> PretrainReport:
    """Train a text encoder to predict masked tokens of all products' texts, labelled or not.

    also: catalogues of further products, of which only texts are read. Texts of validation products
    are left out of all catalogues, so that later evaluations on them are not optimistic.

    Raises EncoderError or HubUnreachableError if the model can't be loaded or trained,
    TrainingError if there is no text, StoreLockedError if another process writes when the encoder
    is saved.
    """
    with timed_job("pre-training", options.quiet) as run:
        report = _pretrain(store, options, also)
    return replace(report, stages=run.seconds())


def _pretrain(
    store: OpenStore, options: PretrainOptions, also: Sequence[Catalogue]
) -> PretrainReport:
    check_name(options.name)
    store.check_rights()
    with stage("loading models"):
        model = chosen_base(store, Modality.TEXT, options.model)
        base = base_text(store, model)
        shape = TextShape(
            options.from_scratch,
            options.lower_case,
            options.max_length,
            settings=base.settings,
        )
        network = TrainableText(base.folder, base.model, shape, seed=options.seed)
    with stage("splitting"):
        held_out = _held_out(store, options)
    with stage("tokenizing"):
        tokens, rows, held = _different(_all_texts(store, also), held_out, network.tokenize)
    if not len(rows):
        raise TrainingError(f"{store.place} has no text to train on; run `vitrina embed` first")
    held = np.random.default_rng(options.seed).permutation(held)[:MOST_HELD_OUT_TEXTS]
    try:
        task = MaskedWords(network, tokens, rows, np.sort(held), seed=options.seed)
    except ValueError as err:
        raise EncoderError(f"{base.model} can't be pre-trained: {err}") from err
    task.guesser.load_beside(base.folder, from_scratch=options.from_scratch)
    recipe = TrainingConfig(
        epochs=EPOCHS if options.epochs is None else options.epochs,
        batch_rows=BATCH_ROWS if options.batch_size is None else options.batch_size,
        rate=RATE / network.width if options.learning_rate is None else options.learning_rate,
        warm_up=options.warmup_ratio,
        weight_decay=options.weight_decay,
        average=options.ema_decay,
        seed=options.seed,
    )
    identity = {
        "job": "pretrain",
        "store": store.place,
        "recipe": recipe.to_json(),
        "model": network.fingerprint,
        "tokens": sha256(tokens.starts.tobytes()).hexdigest(),
        "rows": sha256(rows.tobytes()).hexdigest(),
    }
    with stage("measuring"):
        network.begin_as_is()
        before = task.score()
    title, total = f"pre-training {base.model}", recipe.epochs * len(rows)
    with (
        stage("training"),
        watch_training(title, total, len(rows), SCORE, "texts", quiet=options.quiet) as watch,
    ):
        history = fit(task, recipe, checkpoint=Checkpoint(identity), watch=watch)
    scores = [round(epoch.score, 5) for epoch in history.epochs]
    network.finish()
    with stage("saving"), store.writer("pretrain") as writer:
        folder = writer.scratch / "encoder"
        folder.mkdir()
        network.save(folder)
        task.guesser.save_beside(folder)
        encoder = load_text(ModelRef.of_trained(options.name, Modality.TEXT), folder)
        report = PretrainReport(
            store=store.place,
            name=options.name,
            modality=Modality.TEXT,
            base=base.model,
            fingerprint=encoder.card.fingerprint,
            texts=len(rows),
            tokens=int(tokens.lengths[rows].sum()),
            held_out=len(held),
            before=round(before, 5),
            likelihood=tuple(scores),
            config=recipe.to_json(),
            history=history.to_json(),
            seconds=history.seconds,
            per_second=round(history.rows / max(history.seconds, 1e-9), 1),
            stages=so_far(),
        )
        # Pre-training uses no labels and no validation texts; the base may have.
        seen = np.empty(0, dtype=np.int64)
        if not options.from_scratch:
            seen = np.flatnonzero(seen_by_base(store, model))
        origin = None if options.from_scratch else model
        write_encoder(store, writer, folder, encoder.card, report.to_json(), seen, origin)
    return report


def _held_out(store: OpenStore, options: PretrainOptions) -> Codes:
    """Rows of the product table that are held out."""
    codes = store.labels().codes
    if options.split is None or (codes < 0).all():
        return np.empty(0, dtype=np.int64)
    return split_store(store.products, codes, options.split, options.seed).split.validation


def _all_texts(store: OpenStore, also: Sequence[Catalogue]) -> Iterator[list[str]]:
    yield from texts(store.products)
    for catalogue in also:
        for batch in catalogue.batches():
            yield [product.text for product in batch.products]


def _different(
    batches: Iterable[list[str]],
    held_out: Codes,
    tokenize: Callable[[Sequence[str]], Sequence[Sequence[int]]],
) -> tuple[TokenLists, Codes, Codes]:
    """Tokens of all distinct texts, indices of the training texts, and of the held-out ones."""
    # The store's rows come first, but a text may occur before the row that holds it out.
    kept, held, keys = set[bytes](), set[bytes](), []
    barred = np.zeros(int(held_out.max(initial=-1)) + 1, dtype=bool)
    barred[held_out] = True
    seen = 0

    def fresh() -> Iterator[Sequence[Sequence[int]]]:
        nonlocal seen
        for batch in batches:
            chosen = []
            for text in batch:
                key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
                if seen < len(barred) and barred[seen]:
                    held.add(key)
                seen += 1
                if text and key not in kept:
                    kept.add(key)
                    keys.append(key)
                    chosen.append(text)
            if chosen:
                yield tokenize(chosen)

    tokens = TokenLists.write(fresh())
    out = np.array([key in held for key in keys], dtype=bool)
    return tokens, np.flatnonzero(~out), np.flatnonzero(out)
