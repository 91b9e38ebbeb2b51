"""The training job: split, fit, judge on what was held out, fit on all, commit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vitrina.classifier.model import Model
from vitrina.errors import TrainingError
from vitrina.pipelines.build import default_features
from vitrina.pipelines.lesson import Lesson, TrainOptions, heard_of
from vitrina.pipelines.model_card import model_card
from vitrina.pipelines.parting import part
from vitrina.pipelines.since import since
from vitrina.pipelines.train_report import Promised, TrainReport
from vitrina.pipelines.trained import TRAINED_ON, rows_seen
from vitrina.store import layout
from vitrina.store.gather import gather
from vitrina.store.space import Space
from vitrina.store.store import Store
from vitrina.types import Mask


def train(store: Store, options: TrainOptions) -> TrainReport:
    """Train, calibrate and save heads over a store's vectors and labels.

    Raises StoreError if a space is missing, TrainingError if there is too little to learn from,
    StoreLockedError if another process writes.
    """
    with store.writer("train") as writer:
        features = options.features or default_features(store)
        spaces = store.spaces(features)
        gathered = gather(store.products, spaces)
        labels = store.labels()
        codes = np.where(gathered.any_present(), labels.codes, -1)
        if (codes < 0).all():
            raise TrainingError(
                f"{store.place} holds no product with a category and a {features} vector; "
                "embed a catalogue that has a category_id column"
            )
        parted = part(store.products, labels.codes, options.split, options.seed)
        split = parted.split.among(gathered.any_present(), codes)
        seen = _seen(store, spaces)
        lesson = Lesson(gathered, codes, labels, parted, split, features, options, seen)
        lesson.learn()
        name = options.name or f"{features}-{options.head}"
        report = _report(store, name, lesson)
        model = Model(
            name=name,
            features=features,
            fusion=report.fusion,
            heads=lesson.served,
            blend=lesson.judged.blend,
            back_off=lesson.judged.back_off,
            vote=lesson.rule.to_json() if lesson.rule else None,
            categories=labels.ids,
            names=labels.names,
            spaces={space.modality: space.name for space in spaces},
            fingerprints={space.modality: space.entry.fingerprint for space in spaces},
            report=report.to_json(),
        )
        folder = writer.scratch / "head"
        model.save(folder, model_card(report, model.spaces))
        kept = writer.publish_folder(folder, lambda digest: layout.model(name, digest))
        writer.commit(store.manifest.with_model(name, kept))
    return report


def _report(store: Store, name: str, lesson: Lesson) -> TrainReport:
    judged, options = lesson.judged, lesson.options
    fused = lesson.served.get(lesson.features.value)
    coverage, reached = judged.let_through(0)
    with_ancestors, reached_with = judged.let_through()
    rows = np.bincount(lesson.codes[lesson.codes >= 0], minlength=lesson.classes)
    return TrainReport(
        store=store.place,
        model=name,
        features=lesson.features,
        head=options.head,
        split=options.split,
        duplicated=lesson.split.duplicated,
        seen=int(lesson.seen[lesson.split.validation].sum()),
        judged=len(judged.true),
        turns=lesson.turns,
        classes=lesson.classes,
        fusion=judged.kind,
        weights=heard_of(judged, lesson.features),
        scales=fused.shape.scales if fused else (),
        calibration_error=judged.error,
        calibration_error_before=judged.error_before,
        calibration_error_by_chance=judged.error_by_chance,
        bins=judged.bins,
        bins_before=judged.bins_before,
        train=lesson.train,
        validation=judged.metrics,
        vote=lesson.vote,
        levels=judged.levels,
        hierarchical_f1=judged.hierarchical,
        promised=Promised(options.precision, coverage, reached, with_ancestors, reached_with),
        compared=lesson.compared,
        alone=lesson.alone,
        lone=int((rows == 1).sum()),
        since=since(store, name, lesson.labels, rows),
        seconds=round(lesson.seconds, 2),
    )


def _seen(store: Store, spaces: Sequence[Space]) -> Mask:
    """(n,) bool: products that an encoder has learnt from."""
    seen = np.zeros(len(store.products), dtype=bool)
    for space in spaces:
        kept = space.entry.encoder
        if kept is not None and TRAINED_ON in {file.name for file in kept.files}:
            folder = store.folder(kept, "run `vitrina finetune` again")
            seen[rows_seen(store, folder)] = True
    return seen
