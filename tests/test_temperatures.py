"""Calibration by a mixture of two temperatures."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from vitrina.classifier.calibrate import (
    error_by_chance,
    expected_calibration_error,
    fit_temperature,
    reliability,
    softmax,
)
from vitrina.classifier.fusion import centred
from vitrina.classifier.temperatures import ONE, STARTS, Temperatures, _Fit

CLASSES = 8


def logits_of(rows, seed=0, spread=3.0):
    drawn = np.random.default_rng([seed, 1]).normal(0, spread, (rows, CLASSES))
    return centred(drawn.astype(np.float32))


def labels_of(shares, seed=0):
    drawn = np.random.default_rng([seed, 2]).random((len(shares), 1))
    return np.minimum((shares.cumsum(axis=1) < drawn).sum(axis=1), CLASSES - 1)


def error_of(shares, true):
    return expected_calibration_error(
        reliability(shares.max(axis=1).astype(np.float32), shares.argmax(axis=1) == true)
    )


@pytest.mark.slow
def test_the_mixture_that_labels_were_drawn_from_is_found():
    made = Temperatures(sharp=1.5, soft=0.3, sharp_share=0.7, soft_share=0.2)
    logits = logits_of(40_000)
    found = Temperatures.fit(logits, labels_of(np.exp(made.logits(logits))))
    rest = 1 - found.sharp_share - found.soft_share
    assert (found.sharp, found.soft, found.sharp_share, rest) == pytest.approx(
        (made.sharp, made.soft, made.sharp_share, 0.1), rel=0.15
    )


def test_wrong_labels_do_not_make_all_others_look_unsure():
    logits, others = logits_of(4000, spread=8.0), logits_of(4000, seed=5, spread=8.0)
    labels, unseen = (
        np.where(
            np.random.default_rng(number).random(4000) < 0.05,
            np.random.default_rng(number).integers(CLASSES, size=4000),
            labels_of(softmax(one, 1.0), number),
        )
        for number, one in enumerate((logits, others))
    )
    plain = softmax(others, fit_temperature(logits, labels))
    mixed = np.exp(Temperatures.fit(logits, labels).logits(others))
    assert error_of(mixed, unseen) < error_of(plain, unseen) / 2
    assert (mixed.argmax(axis=1) == plain.argmax(axis=1)).all()


def test_what_comes_of_it_are_probabilities():
    made = Temperatures(sharp=2.0, soft=0.5, sharp_share=0.5, soft_share=0.3)
    logits = logits_of(50)
    np.testing.assert_allclose(np.exp(made.logits(logits)).sum(axis=1), 1, rtol=1e-5)
    assert ONE.logits(logits) is logits
    # Nothing is impossible, and nothing is no number.
    sure = np.array([[0, -1e4]], dtype=np.float32)
    assert np.isfinite(Temperatures(sharp=50.0).logits(sure)).all()


def test_the_slope_is_the_slope():
    logits = logits_of(300)
    fit = _Fit(logits.astype(np.float64), labels_of(softmax(logits, 1.0)))
    for start in STARTS:
        slope = np.linalg.norm(fit.loss(np.array(start))[1])
        gap = check_grad(
            lambda x: fit.loss(x)[0], lambda x: fit.loss(x)[1], np.array(start), epsilon=1e-4
        )
        assert gap < 0.02 * max(1, slope)


def test_few_rows_say_little():
    nothing = Temperatures.fit(np.zeros((0, 3), np.float32), np.empty(0, np.int64))
    assert nothing.sharp == pytest.approx(1, abs=1e-3)
    assert nothing.sharp_share == pytest.approx(1, abs=1e-3)
    one = Temperatures.fit(np.array([[0, -4, -5]], np.float32), np.array([0]))
    assert 1 < one.sharp < 3
    wrong = Temperatures.fit(np.array([[0, -4, -5]], np.float32), np.array([1]))
    assert np.exp(wrong.logits(np.array([[0, -4, -5]], np.float32)))[0, 0] > 1 / 3


def test_of_very_many_rows_a_sample_is_fitted_by(monkeypatch):
    logits = logits_of(20_000)
    true = labels_of(softmax(logits, 0.5))
    whole = Temperatures.fit(logits, true)
    monkeypatch.setattr("vitrina.classifier.temperatures.FITTED_VALUES", 5000 * CLASSES)
    some = Temperatures.fit(logits, true)
    assert some != whole
    seen = logits_of(1000, seed=7)
    np.testing.assert_allclose(np.exp(some.logits(seen)), np.exp(whole.logits(seen)), atol=0.03)


def test_what_chance_makes_of_a_perfect_calibration():
    rng = np.random.default_rng(0)
    sure = rng.random(300).astype(np.float32)
    errors = [
        expected_calibration_error(reliability(sure, rng.random(300) < sure)) for _ in range(200)
    ]
    assert error_by_chance(sure) == pytest.approx(np.mean(errors), rel=0.1)
    assert error_by_chance(np.repeat(sure, 30)) < error_by_chance(sure) / 3
