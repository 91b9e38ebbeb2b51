"""Plots of reports: their data, their labels, and what they leave alone."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

import vitrina as vt
from support import benchmark_tables
from support.train_reports import train_report
from vitrina import plots
from vitrina.classifier.error_analysis import confusions, coverage_points
from vitrina.errors import MissingPackageError, StoreError
from vitrina.index.vote import DEFAULT_RULE
from vitrina.pipelines.benchmark.job import Benchmark
from vitrina.pipelines.finetune.job import FinetuneReport
from vitrina.pipelines.finetune.pretrain import PretrainReport
from vitrina.pipelines.index.leave_one_out import IndexEvaluation
from vitrina.pipelines.index.vote_report import CurvePoint, VoteEvaluation
from vitrina.pipelines.train.report import TrainReport
from vitrina.types import Features, Modality, SplitKind


@pytest.fixture(autouse=True)
def _closed_figures(monkeypatch):
    mpl.use("Agg")
    monkeypatch.setattr(plt, "show", lambda *_: pytest.fail("plt.show was called"))
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def report():
    return train_report()


def texts_of(ax):
    """All texts of a drawn figure."""
    ax.figure.canvas.draw()
    axes = ax.figure.axes
    parts = [one for each in axes for one in (each.title, each.xaxis.label, each.yaxis.label)]
    parts += [one for each in axes for one in (*each.get_xticklabels(), *each.get_yticklabels())]
    parts += [one for each in axes for one in each.texts]
    legends = [each.get_legend() for each in axes if each.get_legend()]
    parts += [one for legend in legends for one in legend.get_texts()]
    return [one.get_text() for one in parts]


def finetune_report(scores=(0.6, 0.78, 0.75), held=1400):
    epochs = [
        {"number": at, "loss": 2.0 / (at + 1), "score": score, "seconds": 9.0}
        for at, score in enumerate(scores)
    ]
    metrics = train_report(60).validation
    return FinetuneReport(
        store="shelf",
        name="text-tuned",
        modality=Modality.TEXT,
        base="rubert-tiny2",
        fingerprint="f",
        split=SplitKind.GROUPED,
        rows=28000,
        held_out=held,
        pseudo_labelled=0,
        classes=3,
        unevaluated=train_report(60).unevaluated,
        train=metrics,
        validation=metrics,
        config={},
        history={"epochs": epochs, "best": 1, "rows": 84000, "seconds": 27.0},
        seconds=27.0,
        per_second=3000.0,
        stages={},
    )


def pretrain_report():
    epochs = [{"number": at, "loss": 3.0 - at, "score": -3.0 + at, "seconds": 9} for at in range(2)]
    return PretrainReport(
        store="shelf",
        name="text-pretrained",
        modality=Modality.TEXT,
        base="rubert-tiny2",
        fingerprint="f",
        texts=1000,
        tokens=9000,
        held_out=100,
        before=-4.0,
        likelihood=(-3.0, -2.0),
        config={},
        history={"epochs": epochs, "best": 1, "rows": 2000, "seconds": 18.0},
        seconds=18.0,
        per_second=100.0,
        stages={},
    )


def index_evaluation():
    metrics = train_report(60).validation
    curve = (CurvePoint(0.8, 1.0, 0.1), CurvePoint(0.9, 0.75, 0.6), CurvePoint(0.95, 0.4, 0.9))
    curve += (CurvePoint(0.99, 0.0, 1.01),)
    votes = VoteEvaluation(DEFAULT_RULE, 10, metrics, metrics, (), curve, ())
    return IndexEvaluation(Features.FUSED, 80, 80, 3, votes, metrics, metrics, 1.0)


def benchmark():
    return Benchmark(benchmark_tables.benchmark(), Path("out"), None, {})


PLOTS = {
    "reliability": lambda ax=None: train_report().plot_reliability(ax),
    "confusions": lambda ax=None: train_report().plot_confusions(ax),
    "coverage": lambda ax=None: train_report().plot_coverage(ax),
    "finetune": lambda ax=None: finetune_report().plot_curve(ax),
    "pretrain": lambda ax=None: pretrain_report().plot_curve(ax),
    "index": lambda ax=None: index_evaluation().plot_coverage(ax),
    "benchmark": lambda ax=None: benchmark().plot_methods(ax),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_draws_into_a_new_figure_or_given_axes_and_changes_nothing_else(name):
    before = dict(mpl.rcParams)
    ax = PLOTS[name]()
    assert ax.get_title()
    assert ax.get_xlabel()
    ax.figure.canvas.draw()
    _, (first, second) = plt.subplots(1, 2)
    assert PLOTS[name](second) is second
    second.figure.canvas.draw()
    assert second.get_title()
    assert not first.has_data()
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", PLOTS)
def test_something_that_is_no_axes_is_refused(name):
    with pytest.raises(vt.VitrinaError, match="ax must be the axes of a matplotlib figure"):
        PLOTS[name](plt.figure())


@pytest.mark.parametrize("name", PLOTS)
def test_a_missing_matplotlib_names_the_extra(name, monkeypatch):
    for module in [one for one in sys.modules if one.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=r"pip install 'vitrina\[plots\]'") as caught:
        PLOTS[name]()
    assert isinstance(caught.value, vt.VitrinaError)


def test_matplotlib_is_loaded_when_something_is_drawn():
    code = "import sys, vitrina.plots; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_reliability_shows_the_bins(report):
    ax = report.plot_reliability()
    diagonal, before, calibrated = ax.get_lines()
    assert [*diagonal.get_xdata()] == [0, 1]
    for line, bins in ((calibrated, report.bins), (before, report.bins_before)):
        assert [*line.get_xdata()] == [one.confidence for one in bins]
        assert [*line.get_ydata()] == [one.accuracy for one in bins]
    assert "Reliability on 600 validation products" in texts_of(ax)
    assert f"calibrated (expected error {report.calibration_error:.3f})" in texts_of(ax)


def test_confusions_show_whole_names_and_counts(report):
    ax = report.plot_confusions(top=4)
    first = report.confusions[0]
    bars = [patch.get_width() for patch in ax.patches]
    assert bars == [one.rows for one in report.confusions[:4]]
    leaf = first.true_name.rsplit("->", 1)[-1]
    assert any(text.startswith(f"{leaf}\n→ ") for text in texts_of(ax))
    assert f"{first.rows:,} of {first.true_rows:,}" in texts_of(ax)
    # The first one is on top.
    assert ax.yaxis_inverted()


def test_no_name_lies_outside_the_figure(report):
    long = "Чехлы и защитные аксессуары для смартфонов Apple iPhone с магнитом $10 и $20"
    pairs = tuple(
        replace(one, true_name=f"Все->{long} {at}", predicted_name=f"Все->{long} {at + 1}")
        for at, one in enumerate(report.confusions[:6])
    )
    ax = replace(report, confusions=pairs).plot_confusions()
    ax.figure.canvas.draw()
    whole = ax.figure.bbox
    boxes = [label.get_window_extent() for label in (*ax.get_yticklabels(), *ax.texts)]
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in boxes)
    # Labels of different bars do not overlap.
    heights = sorted((box.y0, box.y1) for box in boxes[: len(pairs)])
    assert all(one[1] <= other[0] for one, other in pairwise(heights))


def test_coverage_shows_the_curve_and_what_was_chosen(report):
    ax = report.plot_coverage()
    curve, target, accepted, with_ancestors = ax.get_lines()
    assert [*curve.get_xdata()] == [one.coverage for one in report.coverage]
    assert [*curve.get_ydata()] == [one.precision for one in report.coverage]
    assert curve.get_ydata()[-1] == pytest.approx(report.validation.accuracy, abs=1e-6)
    assert [*target.get_ydata()] == [0.95, 0.95]
    assert (*accepted.get_xdata(), *accepted.get_ydata()) == (0.5, 0.96)
    assert (*with_ancestors.get_xdata(), *with_ancestors.get_ydata()) == (0.7, 0.97)
    assert "accepted: 50.0% of products, 96.0% correct" in texts_of(ax)


def test_nothing_accepted_is_not_drawn():
    ax = train_report(reached=math.nan).plot_coverage()
    assert [line.get_label() for line in ax.get_lines()][2:] == [
        "accepted, with ancestors: 70.0% of products, 97.0% correct"
    ]


def test_a_training_curve_shows_loss_and_score():
    ax = finetune_report().plot_curve()
    loss, kept = ax.get_lines()
    assert [*loss.get_xdata()] == [1, 2, 3]
    assert [*loss.get_ydata()] == pytest.approx([2.0, 1.0, 2 / 3])
    assert kept.get_label() == "kept: epoch 2"
    (right,) = [one for one in ax.figure.axes if one is not ax]
    assert [*right.get_lines()[0].get_ydata()] == [0.6, 0.78, 0.75]
    assert right.get_ylabel() == "weighted F1 of 1,400 held-out products"


def test_a_training_without_held_out_products_shows_the_loss_alone():
    ax = finetune_report((math.nan, math.nan), held=0).plot_curve()
    assert ax.figure.axes == [ax]
    assert len(ax.get_lines()) == 1


def test_a_pre_training_begins_before_its_first_epoch():
    ax = pretrain_report().plot_curve()
    (right,) = [one for one in ax.figure.axes if one is not ax]
    (line,) = right.get_lines()
    assert [*line.get_xdata()] == [0, 1, 2]
    assert [*line.get_ydata()] == [-4.0, -3.0, -2.0]


def test_an_evaluation_of_votes_shows_its_curve():
    found = index_evaluation()
    (curve,) = found.plot_coverage().get_lines()
    # A precision that all votes surpass, and one that none reaches, are no points of it.
    assert [*curve.get_xdata()] == [0.4, 0.75, 1.0]
    assert [*curve.get_ydata()] == [0.95, 0.9, found.votes.metrics.accuracy]


def test_methods_are_ranked_with_intervals():
    found = benchmark()
    ax = found.plot_methods()
    ranked = found.table.ranked
    ax.figure.canvas.draw()
    assert [label.get_text() for label in ax.get_yticklabels()] == [row.name for row in ranked]
    widths = sorted((patch.get_width() for patch in ax.patches), reverse=True)
    assert widths == [row.validation.weighted_f1 for row in ranked]
    (bars,) = ax.containers[-1].lines[2]
    ends = [tuple(segment[:, 0]) for segment in bars.get_segments()]
    for (low, high), row in zip(ends, ranked, strict=True):
        assert (low, high) == pytest.approx(row.validation.weighted_f1_interval)


def test_names_are_told_apart_by_the_levels_above_them():
    paths = [("1", "А->Женская->Платья"), ("2", "А->Детская->Платья"), ("3", "А->Дом"), ("4", "")]
    assert plots.category_names(paths) == ["Женская / Платья", "Детская / Платья", "Дом", "4"]
    # Ids of the same path can't be.
    assert plots.category_names([("1", "А->Б"), ("2", "А->Б")]) == ["А / Б", "А / Б"]
    (cut,) = plots.category_names([("1", "слово " * 20)], longest=30)
    assert len(cut) <= 30
    assert "…" in cut


def test_coverage_points_are_those_of_the_definition():
    confidence = np.array([0.9, 0.5, 0.9, 0.7], dtype=np.float32)
    right = np.array([True, False, False, True])
    points = coverage_points(confidence, right)
    assert [(one.coverage, one.precision) for one in points] == [
        (0.5, 0.5),
        (0.75, pytest.approx(2 / 3, abs=1e-6)),
        (1.0, 0.5),
    ]
    assert [one.threshold for one in points] == pytest.approx([0.9, 0.7, 0.5])
    many = coverage_points(np.linspace(0, 1, 5000).astype(np.float32), np.ones(5000, dtype=bool))
    assert 100 <= len(many) <= 120
    assert (many[0].coverage, many[-1].coverage) == (0.02, 1.0)
    assert coverage_points(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=bool)) == ()


def test_confusions_are_counted_by_direction():
    true = np.array([0, 0, 0, 1, 1, 2, 2])
    predicted = np.array([1, 1, 0, 0, 1, -1, 1])
    found = confusions(true, predicted, ["a", "b", "c"], ["А", "Б", ""])
    assert [(one.true, one.predicted, one.rows, one.true_rows) for one in found] == [
        ("a", "b", 2, 3),
        ("b", "a", 1, 2),
        ("c", "b", 1, 2),
    ]
    assert (found[0].true_name, found[2].true_name) == ("А", "")
    assert len(confusions(true, predicted, ["a", "b", "c"], ["А", "Б", ""], most=1)) == 1


@pytest.mark.parametrize("reached", [0.96, math.nan])
def test_a_stored_report_is_read_as_it_was(reached):
    report = train_report(reached=reached)
    stored = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert json.dumps(TrainReport.from_json(stored, "model.json").to_json()) == json.dumps(
        report.to_json()
    )
    with pytest.raises(StoreError, match=r"model\.json is not what it should be"):
        TrainReport.from_json({**stored, "judged": "many"}, "model.json")


def test_a_report_of_an_earlier_version_says_so():
    report = train_report()
    stored = report.to_json()
    del stored["confusions"], stored["coverage"]
    earlier = TrainReport.from_json(stored, "model.json")
    earlier.plot_reliability()
    for draw in (earlier.plot_confusions, earlier.plot_coverage):
        with pytest.raises(vt.VitrinaError, match="an earlier version trained it"):
            draw()
