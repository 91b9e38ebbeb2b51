"""The training job: split, fit, evaluate on held-out rows, refit on all, commit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vitrina.classifier.card import CARD_FILE, ModelCard
from vitrina.classifier.error_analysis import confusions, coverage_points
from vitrina.classifier.model import Model
from vitrina.data.split import Unevaluated, group_rows
from vitrina.errors import TrainingError
from vitrina.pipelines.common.encoder_record import languages_in, repositories_of
from vitrina.pipelines.common.group_keys import duplicate_keys
from vitrina.pipelines.common.progress import timed_job
from vitrina.pipelines.common.seen_rows import seen_by_spaces
from vitrina.pipelines.common.store_split import split_store
from vitrina.pipelines.common.vectors import default_features
from vitrina.pipelines.index.index_state import whitened_modalities
from vitrina.pipelines.train.acceptance import Promised
from vitrina.pipelines.train.baseline import text_baseline
from vitrina.pipelines.train.category_drift import drift_of
from vitrina.pipelines.train.model_card import model_card
from vitrina.pipelines.train.options import TrainOptions
from vitrina.pipelines.train.report import BaselineScore, TrainReport
from vitrina.pipelines.train.trainer import HeadTrainer, positive_weights
from vitrina.stage_timer import RunTimer, stage
from vitrina.store import layout
from vitrina.store.gather import gather
from vitrina.store.store import OpenStore
from vitrina.types import SplitKind


def train(store: OpenStore, options: TrainOptions) -> TrainReport:
    """Train, calibrate and save heads over a store's vectors and labels.

    Raises StoreError if a space is missing, TrainingError if there are too few rows to train on,
    StoreLockedError if another process writes.
    """
    with timed_job("training", options.quiet) as run, store.writer("train") as writer:
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
            store_split = split_store(store.products, labels.codes, options.split, options.seed)
        seen = seen_by_spaces(store, spaces)
        unseen_split = store_split.unseen(seen)
        split = unseen_split.split.among(gathered.any_present(), codes)
        left_out = len(store_split.split.validation) - len(unseen_split.split.validation)
        trainer = HeadTrainer(
            gathered,
            codes,
            labels,
            unseen_split,
            split,
            features,
            options,
            seen,
            whitened=whitened_modalities(store, features, spaces),
        )
        trainer.fit()
        with stage("baseline"):
            baseline = text_baseline(store.products, trainer)
        name = options.name or f"{features}-{options.head}"
        report = _report(store, name, trainer, left_out, baseline, run)
        model = Model(
            name=name,
            features=features,
            fusion=report.fusion,
            heads=trainer.served,
            blend=trainer.evaluation.blend,
            back_off=trainer.evaluation.back_off,
            vote=_vote(trainer),
            categories=labels.ids,
            names=labels.names,
            spaces={space.modality: space.name for space in spaces},
            fingerprints={space.modality: space.entry.fingerprint for space in spaces},
            report=report.to_json(),
        )
        with stage("saving"):
            folder = writer.scratch / "head"
            bases, languages = repositories_of(store, spaces), languages_in(store.products)
            model.save(folder, model_card(report, model.spaces, bases, languages))
            kept = writer.publish_folder(folder, lambda digest: layout.model(name, digest))
            writer.commit(store.manifest.with_model(name, kept))
    return replace(report, stages=run.seconds(), seconds=round(run.total, 2))


def _vote(trainer: HeadTrainer) -> dict[str, Any] | None:
    """The neighbours' vote in the head's card; None if it is no base model."""
    if trainer.rule is None:
        return None
    whitened = [modality.value for modality in trainer.whitened or ()]
    return {**trainer.rule.to_json(), "whitened": whitened}


def _report(
    store: OpenStore,
    name: str,
    trainer: HeadTrainer,
    seen: int,
    baseline: BaselineScore,
    run: RunTimer,
) -> TrainReport:
    result, options = trainer.evaluation, trainer.options
    fused = trainer.served.get(trainer.features.value)
    coverage, reached = result.let_through(0)
    with_ancestors, reached_with = result.let_through()
    rows = np.bincount(trainer.codes[trainer.codes >= 0], minlength=trainer.classes)
    return TrainReport(
        store=store.place,
        model=name,
        features=trainer.features,
        head=options.head,
        split=options.split,
        unevaluated=Unevaluated.of(
            trainer.codes, np.concatenate([one.test_rows for one in trainer.folds])
        ),
        copied=_copied(store, trainer),
        seen=seen,
        evaluated=len(result.true),
        folds=len(trainer.folds),
        classes=trainer.classes,
        fusion=result.kind,
        weights=positive_weights(result, trainer.features),
        scales=fused.shape.scales if fused else (),
        calibration_error=result.error,
        calibration_error_before=result.error_before,
        calibration_error_by_chance=result.error_by_chance,
        bins=result.bins,
        bins_before=result.bins_before,
        train=trainer.train,
        validation=result.metrics,
        vote=trainer.vote,
        levels=result.levels,
        hierarchical_f1=result.hierarchical,
        acceptance=Promised(options.precision, coverage, reached, with_ancestors, reached_with),
        compared=trainer.compared,
        alone=trainer.alone,
        baseline=baseline,
        singletons=int((rows == 1).sum()),
        drift=drift_of(store, name, trainer.labels, rows),
        stages=run.seconds(),
        seconds=round(run.total, 2),
        confusions=confusions(
            result.true, result.decided.chosen, trainer.labels.ids, trainer.labels.names
        ),
        coverage=coverage_points(result.decided.confidence, result.right),
    )


def read_report(store: OpenStore, name: str | None = None) -> TrainReport:
    """Read the report of a head in a store. name: of the head; None for the one trained last.

    Raises StoreError if there is no such head, or its file is damaged.
    """
    folder = store.model_folder(name)
    return TrainReport.from_json(ModelCard.read(folder).report, str(folder / CARD_FILE))


def _copied(store: OpenStore, trainer: HeadTrainer) -> int:
    """Number of evaluation rows with a copy among the train rows of their fold."""
    if trainer.options.split is SplitKind.GROUPED:
        return 0
    groups = group_rows(*duplicate_keys(store.products))
    return sum(
        int(np.isin(groups[fold.test_rows], groups[fold.train_rows]).sum())
        for fold in trainer.folds
    )
