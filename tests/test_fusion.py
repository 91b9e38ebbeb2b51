import numpy as np
import pytest

from vitrina.classifier.calibrate import fit_temperature, softmax
from vitrina.classifier.fusion import (
    Blend,
    BlendCard,
    applies_to,
    fit_weights,
    group_by_modality,
    kinds_of,
    members_of,
    vote_logits,
)
from vitrina.classifier.metrics import difference
from vitrina.classifier.tree import CategoryTree
from vitrina.errors import TrainingError
from vitrina.pipelines.train.evaluation import EvaluationSet
from vitrina.typed_json import convert_json
from vitrina.types import Features, FusionKind, Modality

CLASSES = 6
TEXT, IMAGE = Modality.TEXT, Modality.IMAGE


def member(true, sharpness, seed):
    """The logits of one that is too sure of itself, by a factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (len(true), CLASSES))
    logits[np.arange(len(true)), true] += 1.5
    return (sharpness * logits).astype(np.float32)


def truth(rows, seed=0):
    return np.random.default_rng([seed, 5]).integers(CLASSES, size=rows)


def loss(logits, true):
    return -np.log(softmax(logits, 1.0)[np.arange(len(true)), true]).mean()


def test_one_members_weight_is_its_temperature():
    true = truth(3000)
    logits = member(true, 4.0, 1)
    weight = fit_weights([logits], true)
    assert weight[0] == pytest.approx(1 / fit_temperature(logits, true), rel=0.01)


def test_weights_are_the_best_there_are():
    true = truth(3000)
    parts = [member(true, 3.0, 1), member(true, 0.5, 2), member(true, 1.0, 3)]
    weights = fit_weights(parts, true)
    best = loss(sum(w * p for w, p in zip(weights, parts, strict=True)), true)
    for at in range(3):
        for step in (0.98, 1.02):
            other = weights.copy()
            other[at] *= step
            assert loss(sum(w * p for w, p in zip(other, parts, strict=True)), true) > best
    assert best < min(loss(fit_weights([part], true)[0] * part, true) for part in parts) - 0.1


def test_blocks_change_nothing(monkeypatch):
    true = truth(500)
    parts = [member(true, 3.0, 1), member(true, 0.5, 2)]
    whole = fit_weights(parts, true)
    monkeypatch.setattr("vitrina.classifier.fusion.BLOCK_VALUES", 7 * CLASSES)
    assert fit_weights(parts, true) == pytest.approx(whole, rel=1e-3)


def test_few_rows_say_little():
    assert fit_weights([np.zeros((0, 3), np.float32)] * 2, np.empty(0, np.int64)).tolist() == [
        0.5,
        0.5,
    ]
    sure = np.eye(3, dtype=np.float32)[:1] * 5
    # One row that is right would take any certainty, if it were all that speaks.
    assert fit_weights([sure], np.array([0]))[0] < 2


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(TrainingError, match="NaN or infinity"):
        fit_weights([np.array([[np.nan, 0]], np.float32)], np.array([0]))


def test_who_is_heard():
    assert members_of(FusionKind.STACK, Features.FUSED) == ("fused", "text", "image", "vote")
    assert members_of(FusionKind.STACK, Features.TEXT) == ("text", "vote")
    assert kinds_of(Features.IMAGE) == (FusionKind.EARLY, FusionKind.KNN)
    assert [applies_to("image", one) for one in Features] == [False, True, True]
    present = {TEXT: np.array([1, 1, 0, 0], bool), IMAGE: np.array([1, 0, 1, 0], bool)}
    assert [(one, rows.tolist()) for one, rows in group_by_modality(present)] == [
        (Features.FUSED, [0, 3]),
        (Features.TEXT, [1]),
        (Features.IMAGE, [2]),
    ]


def test_a_vote_for_nobody_says_nothing():
    logits = vote_logits(np.zeros((2, 4), np.float32))
    assert (softmax(logits, 1.0) == 0.25).all()


# Judging.


def bench(rows=1500, groups=None, seed=0, noise=False, precision=0.9):
    true = truth(rows, seed)
    told = truth(rows, seed + 50) if noise else true
    natural = {
        "fused": member(told, 3.0, 1),
        "text": member(told, 2.0, 2),
        "image": member(told, 2.0, 3),
        "vote": member(told, 1.0, 4),
    }
    rng = np.random.default_rng(9)
    present = {TEXT: rng.random(rows) < 0.9, IMAGE: rng.random(rows) < 0.8}
    return EvaluationSet(
        features=Features.FUSED,
        scores={Features.FUSED: natural, Features.TEXT: natural, Features.IMAGE: natural},
        present=present,
        true=true,
        groups=np.arange(rows) if groups is None else groups,
        tree=CategoryTree.of([f"{top}->{leaf}" for top in "ab" for leaf in "cde"]),
        precision=precision,
        seed=0,
    )


@pytest.mark.slow
def test_more_members_reach_more_and_all_are_calibrated():
    judged = {kind: bench().judge(kind) for kind in FusionKind}
    scores = {kind: one.metrics.weighted_f1 for kind, one in judged.items()}
    assert scores[FusionKind.STACK] > max(scores[FusionKind.LATE], scores[FusionKind.EARLY]) + 0.01
    for one in judged.values():
        assert one.error < 0.05
        leaf, _ = one.let_through(0)
        some, holds = one.let_through()
        assert some >= leaf
        assert some > 0.3
        assert holds > 0.88
    assert judged[FusionKind.EARLY].error_before > 0.1


def test_what_serves_is_chosen_by_all_rows():
    one = bench().judge(FusionKind.LATE)
    assert one.blend.members == ("text", "image")
    # Who lacks a modality is judged by the other alone.
    assert one.blend.weights[Features.TEXT][1] == one.blend.weights[Features.IMAGE][0] == 0
    assert (one.blend.weights[Features.FUSED] > 0).all()
    assert len(one.back_off.thresholds) == 2


def test_no_row_is_judged_by_what_it_chose():
    """Labels that have nothing to do with the scores must not look as if they had."""
    for kind in (FusionKind.EARLY, FusionKind.STACK):
        one = bench(noise=True).judge(kind)
        assert one.metrics.accuracy < 1 / CLASSES + 0.04
        assert one.decided.confidence.mean() < 0.35
        assert one.let_through(0)[0] < 0.05


def test_copies_are_judged_together():
    groups = np.repeat(np.arange(300), 5)
    folds = bench(groups=groups)._folds
    assert (folds.reshape(300, 5) == folds[::5, None]).all()
    assert len(set(folds.tolist())) == 5


def test_very_few_rows_are_judged_all_the_same():
    one = bench(rows=3).judge(FusionKind.STACK)
    assert one.metrics.rows == 3
    assert one.let_through() == (0.0, pytest.approx(np.nan, nan_ok=True))


def test_a_difference_is_measured_on_the_same_rows():
    rng = np.random.default_rng(0)
    true = truth(2000)
    hard = rng.random(2000) < 0.4
    first = np.where(hard, (true + 1) % CLASSES, true)
    second = np.where(rng.random(2000) < 0.02, (first + 1) % CLASSES, first)
    found = difference(true, first, second, classes=CLASSES)
    assert 0 < found.low < found.value < found.high < 0.03
    same = difference(true, first, first, classes=CLASSES)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_blend_is_written_and_read_back():
    one = bench().judge(FusionKind.STACK).blend
    again = Blend.of(convert_json(one.to_json(), BlendCard, "it", "mend it"))
    assert again.members == one.members
    assert {name: part.tolist() for name, part in again.weights.items()} == {
        name: part.tolist() for name, part in one.weights.items()
    }
