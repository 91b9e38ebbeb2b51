"""Made-up reports of trainings, from predictions for categories with long Russian names."""

import numpy as np

from support.benchmark_tables import category_names, predictions
from vitrina.classifier.calibrate import expected_calibration_error, reliability
from vitrina.classifier.error_analysis import confusions, coverage_points
from vitrina.classifier.metrics import evaluate
from vitrina.data.split import Unevaluated
from vitrina.pipelines.train.acceptance import Promised
from vitrina.pipelines.train.report import BaselineScore, TrainReport
from vitrina.types import Features, FusionKind, HeadKind, SplitKind


def train_report(rows=600, categories=12, seed=0, reached=0.96):
    """A report of a head that was evaluated on `rows` products."""
    rng = np.random.default_rng(seed)
    sizes = np.full(categories, 100)
    true = rng.integers(0, categories, rows)
    predicted, confidence = predictions(true, sizes, 0.8, rng)
    right = predicted == true
    metrics = evaluate(true, predicted, confidence, classes=categories, bootstrap=20)
    bins, before = reliability(confidence, right), reliability(confidence**2, right)
    return TrainReport(
        store="shelf",
        model="fused-mlp",
        features=Features.FUSED,
        head=HeadKind.MLP,
        split=SplitKind.GROUPED,
        unevaluated=Unevaluated.of(true, np.arange(rows)),
        copied=0,
        seen=0,
        evaluated=rows,
        folds=1,
        classes=categories,
        fusion=FusionKind.EARLY,
        weights={"fused": 1.0},
        scales=(1.0, 0.3),
        calibration_error=expected_calibration_error(bins),
        calibration_error_before=expected_calibration_error(before),
        calibration_error_by_chance=0.01,
        bins=bins,
        bins_before=before,
        train=metrics,
        validation=metrics,
        vote=metrics,
        levels=(),
        hierarchical_f1=0.9,
        acceptance=Promised(0.95, 0.5 if reached == reached else 0.0, reached, 0.7, 0.97),
        compared=(),
        alone=(),
        baseline=BaselineScore.left_out("too few"),
        singletons=0,
        drift=None,
        stages={"training heads": 1.0},
        seconds=1.0,
        confusions=confusions(true, predicted, range(categories), category_names(categories)),
        coverage=coverage_points(confidence, right),
    )
