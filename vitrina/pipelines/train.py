"""The training job: split, fit, measure on what was held out, calibrate, fit on all, commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vitrina.classifier.calibrate import expected_calibration_error, fit_temperature, softmax
from vitrina.classifier.fit import FitOptions, fit_head, planned_rows, predict
from vitrina.classifier.heads import Head
from vitrina.classifier.metrics import Metrics, evaluate
from vitrina.classifier.model import Model
from vitrina.data.split import Split
from vitrina.errors import TrainingError
from vitrina.index.exact import exact_search
from vitrina.index.fuse import read_fused
from vitrina.index.vote import DEFAULT_RULE, vote
from vitrina.pipelines.build import default_features
from vitrina.pipelines.parting import part
from vitrina.pipelines.progress import Meter
from vitrina.pipelines.trained import TRAINED_ON, rows_seen
from vitrina.store import layout
from vitrina.store.gather import Gathered, gather
from vitrina.store.rows import Rows
from vitrina.store.space import Space
from vitrina.store.store import Store
from vitrina.types import Codes, Features, HeadKind, SplitKind

VOTE_BLOCK = 4096
"""Validation rows that ask their neighbours at once."""
VOTE_PAIRS = 2_000_000_000
"""Pairs of a validation row and a training row that are compared: a minute or two."""


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    head, features: None for the store's fused space where it has both. refit: after measuring,
    fit the head that is saved on validation rows too.
    """

    head: HeadKind = HeadKind.MLP
    features: Features | None = None
    split: SplitKind = SplitKind.GROUPED
    name: str | None = None
    refit: bool = True
    epochs: int | None = None
    seed: int = 0
    quiet: bool = True


@dataclass(frozen=True)
class TrainReport:
    """What the head and the vote reach. `train` and `validation` are of the head that never saw
    a validation row; so is `vote`, by neighbours among the training rows alone. seen: validation
    rows that an encoder learnt from, by which all of this is flattered; 0 where it was fine-tuned
    with the same split and seed."""

    store: str
    model: str
    features: Features
    head: HeadKind
    split: SplitKind
    duplicated: int
    seen: int
    classes: int
    scales: tuple[float, ...]
    temperature: float
    calibration_error: float
    calibration_error_before: float
    train: Metrics
    validation: Metrics
    vote: Metrics
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As `model.json` and `--json` hold it."""
        plain = asdict(self)
        for name in ("train", "validation", "vote"):
            plain[name] = getattr(self, name).to_json()
        for name in ("features", "head", "split"):
            plain[name] = plain[name].value
        return plain


def train(store: Store, options: TrainOptions) -> TrainReport:
    """Train, calibrate and save a head over a store's vectors and labels.

    Raises StoreError if a space is missing, TrainingError if there is too little to learn from,
    StoreLockedError if another process writes.
    """
    with store.writer("train") as writer:
        features = options.features or default_features(store)
        spaces = store.spaces(features)
        gathered = gather(store.products, spaces)
        labels = store.products.categories()
        codes = np.where(gathered.any_present(), labels.codes, -1)
        if (codes < 0).all():
            raise TrainingError(
                f"{store.place} holds no product with a category and a {features} vector; "
                "embed a catalogue that has a category_id column"
            )
        parted = part(store.products, labels.codes, options.split, options.seed)
        split = parted.split.among(gathered.any_present(), codes)
        fit = FitOptions(kind=options.head, epochs=options.epochs, seed=options.seed)
        classes = len(labels.ids)
        rows = planned_rows(len(split.train), len(spaces), fit)
        everything = np.flatnonzero(codes >= 0)
        rows += planned_rows(len(everything), len(spaces), fit) if options.refit else 0
        title = f"training the {features} {options.head} head"
        with Meter(title, rows, unit="rows", quiet=options.quiet) as meter:
            head = fit_head(gathered, codes, split.train, classes, fit, meter.advance)
            measured = _measure(head, gathered, codes, split, classes)
            saved = head
            if options.refit:
                saved = fit_head(gathered, codes, everything, classes, fit, meter.advance)
            seconds = meter.seconds
        name = options.name or f"{features}-{options.head}"
        report = TrainReport(
            store=store.place,
            model=name,
            features=features,
            head=options.head,
            split=options.split,
            duplicated=split.duplicated,
            seen=_seen(store, spaces, split),
            classes=classes,
            scales=head.shape.scales,
            vote=_vote(gathered, codes, split, classes, options.seed),
            seconds=round(seconds, 2),
            **measured,
        )
        folder = writer.scratch / "head"
        Model(
            name=name,
            head=saved,
            categories=labels.ids,
            names=labels.names,
            spaces={space.modality: space.name for space in spaces},
            fingerprints={space.modality: space.entry.fingerprint for space in spaces},
            temperature=report.temperature,
            accept_from=report.validation.threshold_at_95,
            report=report.to_json(),
        ).save(folder)
        kept = writer.publish_folder(folder, lambda digest: layout.model(name, digest))
        writer.commit(store.manifest.with_model(name, kept))
    return report


def _seen(store: Store, spaces: Sequence[Space], split: Split) -> int:
    seen = np.zeros(len(store.products), dtype=bool)
    for space in spaces:
        kept = space.entry.encoder
        if kept is not None and TRAINED_ON in {file.name for file in kept.files}:
            folder = store.folder(kept, "run `vitrina finetune` again")
            seen[rows_seen(store, folder)] = True
    return int(seen[split.validation].sum())


def _measure(
    head: Head, gathered: Gathered, codes: Codes, split: Split, classes: int
) -> dict[str, Any]:
    logits = predict(head, gathered, split.validation)
    true = codes[split.validation]
    temperature = fit_temperature(logits, true)
    plain, sure = (softmax(logits, value) for value in (1.0, temperature))
    right = sure.argmax(axis=1) == true
    seen = predict(head, gathered, split.train).argmax(axis=1)
    return {
        "temperature": temperature,
        "calibration_error_before": expected_calibration_error(plain.max(axis=1), right),
        "calibration_error": expected_calibration_error(sure.max(axis=1), right),
        "train": evaluate(codes[split.train], seen, None, classes=classes),
        "validation": evaluate(true, sure.argmax(axis=1), sure.max(axis=1), classes=classes),
    }


def _vote(gathered: Gathered, codes: Codes, split: Split, classes: int, seed: int) -> Metrics:
    """What the neighbours' vote reaches on validation rows, asked of training rows alone, by
    exact search; of many validation rows, on some that `seed` draws."""
    weights = (1.0,) * len(gathered.modalities)
    rows = Rows.of_arrays(gathered.modalities, gathered.vectors, gathered.present)
    asked = split.validation
    most = max(1000, VOTE_PAIRS // len(split.train))
    if len(asked) > most:
        asked = np.sort(np.random.default_rng(seed).choice(asked, most, replace=False))
    predicted, shares = [], []
    voters = np.sort(split.train)
    for start in range(0, len(asked), VOTE_BLOCK):
        queries = read_fused(rows, asked[start : start + VOTE_BLOCK], weights)
        found, scores = exact_search(rows, weights, queries, voters, DEFAULT_RULE.k)
        cast_votes = vote(np.where(found >= 0, codes[found], -1), scores, classes=classes)
        predicted.append(cast_votes.codes)
        shares.append(cast_votes.shares)
    return evaluate(
        codes[asked], np.concatenate(predicted), np.concatenate(shares), classes=classes
    )
