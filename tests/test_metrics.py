import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from vitrina.classifier.metrics import NEVER, Metrics, evaluate
from vitrina.errors import StoreError, TrainingError
from vitrina.typed_json import convert_json

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40)


def array(*values):
    return np.array(values, np.int64)


def floats(*values):
    return np.array(values, np.float32)


def sklearn_f1(true, predicted, average):
    return f1_score(true, predicted, average=average, zero_division=0)


@given(PAIRS)
def test_scores_are_those_of_sklearn(pairs):
    true, predicted = np.array(pairs, np.int64).T
    metrics = evaluate(true, predicted, None, classes=7, bootstrap=2)
    assert metrics.weighted_f1 == pytest.approx(sklearn_f1(true, predicted, "weighted"))
    assert metrics.macro_f1 == pytest.approx(sklearn_f1(true, predicted, "macro"))
    assert metrics.accuracy == pytest.approx(accuracy_score(true, predicted))
    assert metrics.rows == len(pairs)


def test_the_order_of_the_arguments_matters():
    true, predicted = array(0, 0, 0, 0, 1, 2), array(0, 1, 1, 1, 1, 1)
    ours = evaluate(true, predicted, None, classes=3).weighted_f1
    swapped = evaluate(predicted, true, None, classes=3).weighted_f1
    # F1 is 2/5 for class 0, 1/3 for class 1, 0 for class 2.
    assert ours == pytest.approx((4 * 2 / 5 + 1 / 3) / 6)
    assert swapped == pytest.approx((2 / 5 + 5 / 3) / 6)
    assert ours == pytest.approx(sklearn_f1(true, predicted, "weighted"))


def test_no_prediction_is_wrong_and_of_no_class():
    true, predicted = array(0, 0, 1), array(0, -1, 1)
    metrics = evaluate(true, predicted, floats(0.5, 0.9, 0.8), classes=2)
    assert metrics.accuracy == pytest.approx(2 / 3)
    assert metrics.weighted_f1 == pytest.approx((2 * 2 / 3 + 1) / 3)
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 1) / 2)


def test_the_interval_is_that_of_resampled_sklearn():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 8, 150)
    predicted = np.where(rng.random(150) < 0.7, true, rng.integers(0, 8, 150))
    metrics = evaluate(true, predicted, None, classes=8, bootstrap=40, seed=5)
    draws = np.random.default_rng(5)
    resamples = [draws.integers(150, size=150) for _ in range(40)]
    scores = [sklearn_f1(true[drawn], predicted[drawn], "weighted") for drawn in resamples]
    assert metrics.weighted_f1_interval == pytest.approx(tuple(np.percentile(scores, (2.5, 97.5))))
    low, high = metrics.weighted_f1_interval
    assert low < metrics.weighted_f1 < high
    assert evaluate(true, predicted, None, classes=8, bootstrap=40, seed=5) == metrics


def test_the_interval_narrows_with_rows():
    rng = np.random.default_rng(0)
    widths = []
    for rows in (100, 10_000):
        true = rng.integers(0, 5, rows)
        predicted = np.where(rng.random(rows) < 0.8, true, (true + 1) % 5)
        low, high = evaluate(true, predicted, None, classes=5).weighted_f1_interval
        widths.append(high - low)
    # By the square root of the rows: ten times.
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.3)


# Coverage.


def coverage(right, confidence):
    metrics = evaluate(
        np.zeros(len(right), np.int64),
        np.where(right, 0, 1),
        floats(*confidence),
        classes=2,
        bootstrap=1,
    )
    return metrics.coverage_at_95, metrics.threshold_at_95


def test_coverage_reaches_to_the_last_place_of_enough_precision():
    # Right 19 times of 20 is 0.95 exactly, and the mistake may come first.
    right = [False] + [True] * 19 + [False] * 5
    confidence = np.linspace(0.9, 0.1, 25, dtype=np.float32)
    assert coverage(right, confidence) == (20 / 25, float(confidence[19]))
    shuffled = np.random.default_rng(0).permutation(25)
    assert coverage(np.array(right)[shuffled], confidence[shuffled]) == (
        20 / 25,
        float(confidence[19]),
    )


def test_rows_of_equal_confidence_are_accepted_together():
    assert coverage([True, True, True, False], [0.9, 0.5, 0.5, 0.5]) == (
        0.25,
        float(floats(0.9)[0]),
    )
    assert coverage([True, False], [0.5, 0.5]) == (0.0, NEVER)
    assert coverage([True, True], [0.5, 0.5]) == (1.0, 0.5)


def test_no_confidence_accepts_nothing():
    metrics = evaluate(array(0, 1), array(0, 1), None, classes=2)
    assert (metrics.coverage_at_95, metrics.threshold_at_95) == (0.0, 1.01)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.3, 0.7, 0.9])), min_size=1))
def test_the_threshold_gives_the_coverage(rows):
    right, confidence = np.array([row[0] for row in rows]), floats(*(row[1] for row in rows))
    share, threshold = coverage(right, confidence)
    best = 0.0
    for level in np.unique(confidence):
        accepted = confidence >= level
        if right[accepted].mean() >= 0.95:
            best = max(best, accepted.mean())
    assert share == pytest.approx(best)
    assert (confidence >= threshold).mean() == pytest.approx(share)


# Forms and faults.


def test_metrics_survive_json():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 50)
    confidence = rng.random(50, np.float32)
    metrics = evaluate(true, rng.integers(0, 3, 50), confidence, classes=3)
    told = json.loads(json.dumps(metrics.to_json()))
    assert convert_json(told, Metrics, "it", "mend it") == metrics


@pytest.mark.parametrize("metrics", [{}, {"weighted_f1_interval": 3}, 5])
def test_json_that_is_no_metrics(metrics):
    with pytest.raises(StoreError, match=r"^it is not what it should be"):
        convert_json(metrics, Metrics, "it", "mend it")


def test_nothing_to_measure():
    with pytest.raises(TrainingError, match="no labelled row"):
        evaluate(array(), array(), None, classes=3)


@pytest.mark.parametrize(
    ("true", "predicted", "confidence", "bootstrap", "message"),
    [
        (array(0, 1), array(0), None, 1, "one value for each row"),
        (array(0, 1), array(0, 1), floats(0.5), 1, "one value for each row"),
        (array(0, 3), array(0, 1), None, 1, "must be below 3"),
        (array(0, 1), array(0, 3), None, 1, "must be below 3"),
        (array(0, -1), array(0, 1), None, 1, "true ones at least 0"),
        (array(0, 1), array(0, -2), None, 1, "true ones at least 0"),
        (array(0, 1), array(0, 1), floats(0.5, np.nan), 1, "NaN"),
        (array(0, 1), array(0, 1), None, 0, "bootstrap must be at least 1"),
    ],
)
def test_arrays_that_do_not_fit(true, predicted, confidence, bootstrap, message):
    with pytest.raises(ValueError, match=message):
        evaluate(true, predicted, confidence, classes=3, bootstrap=bootstrap)
