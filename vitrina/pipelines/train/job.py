"""The training job: split, fit, judge on what was held out, fit on all, commit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vitrina.classifier.model import Model
from vitrina.data.split import Unjudged, group_rows
from vitrina.errors import TrainingError
from vitrina.pipelines.common.group_keys import duplicate_keys
from vitrina.pipelines.common.seen_rows import seen_by_spaces
from vitrina.pipelines.common.store_split import split_store
from vitrina.pipelines.index.job import default_features
from vitrina.pipelines.train.baseline import text_baseline
from vitrina.pipelines.train.category_drift import since
from vitrina.pipelines.train.model_card import model_card
from vitrina.pipelines.train.report import BaselineScore, Promised, TrainReport
from vitrina.pipelines.train.trainer import HeadTrainer, TrainOptions, heard_of
from vitrina.stage_timer import RunTimer, stage, timed_run
from vitrina.store import layout
from vitrina.store.gather import gather
from vitrina.store.store import Store
from vitrina.types import SplitKind


def train(store: Store, options: TrainOptions) -> TrainReport:
    """Train, calibrate and save heads over a store's vectors and labels.

    Raises StoreError if a space is missing, TrainingError if there is too little to learn from,
    StoreLockedError if another process writes.
    """
    with timed_run() as run, store.writer("train") as writer:
        features = options.features or default_features(store)
        spaces = store.spaces(features)
        with stage("reading vectors"):
            gathered = gather(store.products, spaces)
        labels = store.labels()
        codes = np.where(gathered.any_present(), labels.codes, -1)
        if (codes < 0).all():
            raise TrainingError(
                f"{store.place} holds no product with a category and a {features} vector; "
                "embed a catalogue that has a category_id column"
            )
        with stage("splitting"):
            whole = split_store(store.products, labels.codes, options.split, options.seed)
        seen = seen_by_spaces(store, spaces)
        parted = whole.unseen(seen)
        split = parted.split.among(gathered.any_present(), codes)
        left_out = len(whole.split.validation) - len(parted.split.validation)
        lesson = HeadTrainer(gathered, codes, labels, parted, split, features, options, seen)
        lesson.learn()
        with stage("baseline"):
            baseline = text_baseline(store.products, lesson)
        name = options.name or f"{features}-{options.head}"
        report = _report(store, name, lesson, left_out, baseline, run)
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
        with stage("saving"):
            folder = writer.scratch / "head"
            model.save(folder, model_card(report, model.spaces))
            kept = writer.publish_folder(folder, lambda digest: layout.model(name, digest))
            writer.commit(store.manifest.with_model(name, kept))
    return replace(report, stages=run.seconds(), seconds=round(run.total, 2))


def _report(
    store: Store, name: str, lesson: HeadTrainer, seen: int, baseline: BaselineScore, run: RunTimer
) -> TrainReport:
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
        unjudged=Unjudged.of(lesson.codes, np.concatenate([one.asked for one in lesson.turns])),
        copied=_copied(store, lesson),
        seen=seen,
        judged=len(judged.true),
        turns=len(lesson.turns),
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
        baseline=baseline,
        lone=int((rows == 1).sum()),
        since=since(store, name, lesson.labels, rows),
        stages=run.seconds(),
        seconds=round(run.total, 2),
    )


def _copied(store: Store, lesson: HeadTrainer) -> int:
    """How many judged rows have a copy among those that heads learnt from in their turn."""
    if lesson.options.split is SplitKind.GROUPED:
        return 0
    groups = group_rows(*duplicate_keys(store.products))
    return sum(int(np.isin(groups[turn.asked], groups[turn.learnt]).sum()) for turn in lesson.turns)
