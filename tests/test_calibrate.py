import numpy as np
import pytest
from scipy.special import softmax as reference

from vitrina.classifier import calibrate as module
from vitrina.classifier.calibrate import (
    TEMPERATURES,
    expected_calibration_error,
    fit_temperature,
    reliability,
    softmax,
)
from vitrina.errors import TrainingError


def drawn(rows, classes, temperature, seed=0):
    """Logits that are too sharp by `temperature`, and the truth drawn from what they mean."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, classes))
    # The largest of the logits with Gumbel noise is a draw from their softmax.
    true = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return (logits * temperature).astype(np.float32), true


def likelihood(logits, true, temperature):
    probabilities = reference(logits.astype(np.float64) / temperature, axis=1)
    return np.log(probabilities[np.arange(len(true)), true]).mean()


@pytest.mark.parametrize("temperature", [0.01, 0.5, 1.0, 3.0, 40.0])
def test_the_temperature_is_recovered(temperature):
    logits, true = drawn(8000, 12, temperature)
    assert fit_temperature(logits, true) == pytest.approx(temperature, rel=0.05)


def test_it_is_the_likeliest():
    logits, true = drawn(500, 5, 2.0, seed=1)
    found = fit_temperature(logits, true)
    best = likelihood(logits, true, found)
    assert all(best > likelihood(logits, true, found * factor) for factor in (0.98, 1.02))


def test_a_common_offset_of_a_row_changes_nothing():
    logits, true = drawn(500, 5, 2.0)
    moved = logits + np.float32(512)
    assert fit_temperature(moved, true) == pytest.approx(fit_temperature(logits, true), rel=1e-3)


def test_rows_without_a_class_are_skipped():
    logits, true = drawn(600, 5, 2.0)
    partly = np.where(np.arange(600) % 3, true, -1)
    known = partly >= 0
    assert fit_temperature(logits, partly) == fit_temperature(logits[known], true[known])


def test_blocks_change_nothing(monkeypatch):
    logits, true = drawn(300, 7, 2.0)
    true[:40] = -1
    whole = fit_temperature(logits, true)
    for values in (1, 7 * 13):
        monkeypatch.setattr(module, "_BLOCK_VALUES", values)
        assert fit_temperature(logits, true) == pytest.approx(whole, rel=1e-6)


def test_a_head_that_is_never_wrong():
    logits = np.eye(4, dtype=np.float32)
    found = fit_temperature(logits, np.arange(4))
    assert TEMPERATURES[0] <= found < 0.1
    assert softmax(logits, found).diagonal().tolist() == [1.0] * 4


def test_calibration_lowers_the_error():
    logits, true = drawn(4000, 10, 4.0)
    errors = []
    for temperature in (1.0, fit_temperature(logits, true)):
        probabilities = softmax(logits, temperature)
        correct = probabilities.argmax(axis=1) == true
        bins = reliability(probabilities.max(axis=1), correct)
        errors.append(expected_calibration_error(bins))
    assert errors[0] > 0.2
    assert errors[1] < 0.03


@pytest.mark.parametrize("labels", [[], [-1, -1]])
def test_nothing_to_calibrate_on(labels):
    true = np.array(labels, np.int64)
    with pytest.raises(TrainingError, match="no labelled row to calibrate on"):
        fit_temperature(np.zeros((len(true), 3), np.float32), true)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite(value):
    logits = np.zeros((3, 2), np.float32)
    logits[1, 0] = value
    with pytest.raises(TrainingError, match="NaN or infinity"):
        fit_temperature(logits, np.array([0, 1, 0]))
    assert fit_temperature(logits, np.array([0, -1, 0])) > 0


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="2 rows of logits, but 3 classes"):
        fit_temperature(np.zeros((2, 2), np.float32), np.array([0, 1, 0]))


# Softmax.


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_softmax(temperature):
    logits = np.random.default_rng(0).normal(0, 30, (20, 6)).astype(np.float32)
    before = logits.copy()
    probabilities = softmax(logits, temperature)
    assert probabilities.dtype == np.float32
    expected = reference(logits.astype(np.float64) / temperature, axis=1)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(logits, before)


def test_softmax_of_large_logits():
    logits = np.array([[1e4, 0, -1e4], [-1e30, -1e30, -1e30]], np.float32)
    expected = [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(softmax(logits, 1.0), expected, rtol=1e-6)


def test_softmax_of_no_rows():
    assert softmax(np.empty((0, 3), np.float32), 1.0).shape == (0, 3)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperatures_that_make_no_sense(temperature):
    with pytest.raises(ValueError, match="a temperature must be positive"):
        softmax(np.zeros((1, 2), np.float32), temperature)


# Expected calibration error.


def error(confidence, correct, **options):
    found = reliability(np.array(confidence, np.float32), np.array(correct, np.bool_), **options)
    return expected_calibration_error(found)


def test_error_by_hand():
    # Of two bins the upper has 0.8 against 0.5 in two rows, the lower 0.3 against 1 in one.
    assert error([0.9, 0.7, 0.3], [True, False, True], bins=2) == pytest.approx((0.6 + 0.7) / 3)
    assert error([0.9, 0.7, 0.3], [True, False, True], bins=1) == pytest.approx(0.1 / 3)


def test_edges_of_bins():
    # One half belongs to the lower bin of two, together with 0: 0.25 against 0.5.
    assert error([0.5, 0.0], [True, False], bins=2) == pytest.approx(0.25)
    assert error([0.5, 0.75], [True, False], bins=2) == pytest.approx((0.5 + 0.75) / 2)
    assert error([1.0, 1.0], [True, True]) == 0
    assert error([1.0, 1.0], [False, False]) == 1


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([], [], "at least one row"),
        ([0.5], [True, False], "one value for each"),
        ([1.5], [True], "between 0 and 1"),
        ([-0.1], [True], "between 0 and 1"),
        ([np.nan], [True], "between 0 and 1"),
    ],
)
def test_values_that_make_no_error(confidence, correct, message):
    with pytest.raises(ValueError, match=message):
        error(confidence, correct)
